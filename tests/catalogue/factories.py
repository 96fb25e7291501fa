"""Artifacts as the engine writes them, made by numpy: for every test that needs a home with something in it.

``tiny_home`` is the usual start: a corpus, queries of several tasks, a model, its outputs, two runs, loaded.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from backend.catalogue.database import migrate, open_catalogue
from backend.catalogue.loading import load_home
from backend.core.artifacts import Home, artifact_id, seal
from backend.core.files import save_array, write_json, write_jsonl
from backend.core.records import Aliases, Passage, Query

CAPITALS = (
    ("France", "Paris"),
    ("Japan", "Tokyo"),
    ("Kenya", "Nairobi"),
    ("Peru", "Lima"),
    ("Norway", "Oslo"),
    ("Egypt", "Cairo"),
)
STATEMENTS = (
    "The capital of {country} is {city}.",
    "{city} is the capital of {country}.",
    "{country} is governed from its capital, {city}.",
)
STATED = (0, 1, 3, 6, 12, 54)
"""How many passages state each of CAPITALS: one for every frequency bucket."""


def started(home: Home, kind: str, inputs: dict[str, str | None], config: dict[str, Any], prefix: str = "") -> Path:
    """The folder of an artifact with these inputs and this configuration, made and empty."""
    folder = home.folder(kind, artifact_id(kind, inputs, config, prefix))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def finish(folder: Path, kind: str, inputs: dict[str, Any], config: dict[str, Any], **facts: Any) -> Path:
    """Write the manifest."""
    seal(folder, kind=kind, inputs=inputs, config=config, facts=facts, seconds=0.1, command="proponent demo")
    return folder


def write_corpus(home: Home, passages: Sequence[Passage], name: str = "Tiny corpus") -> Path:
    """A corpus of these passages."""
    config = {"name": name, "texts": len(passages)}
    folder = started(home, "corpus", {}, config)
    write_jsonl(folder / "passages.jsonl", (asdict(passage) for passage in passages))
    sources = {source: 0 for source in sorted({passage.source for passage in passages})}
    for passage in passages:
        sources[passage.source] += 1
    return finish(folder, "corpus", {}, config, passages=len(passages), sources=sources)


def write_query_set(
    home: Home, corpus: Path, queries: Sequence[Query], name: str = "Tiny queries", model: str | None = None
) -> Path:
    """A query set over a corpus; ``model`` where its queries are made of a model's answers."""
    inputs = {"corpus": corpus.name, "model": model, "outputs": None}
    config = {"name": name}
    folder = started(home, "queries", inputs, config)
    write_jsonl(folder / "queries.jsonl", (asdict(query) for query in queries))
    return finish(folder, "queries", inputs, config, queries=len(queries))


def write_model(home: Home, corpus: Path | None, name: str = "Tiny model") -> Path:
    """A model's folder: its manifest and, where it was trained on a corpus, its learning curve."""
    inputs = {"corpus": None if corpus is None else corpus.name}
    config = {"name": name, "hidden_size": 8}
    folder = started(home, "model", inputs, config)
    write_json(folder / "config.json", {"model_type": "llama"})
    if corpus is not None:
        steps = [{"step": s, "epoch": s / 10, "tokens": s * 100, "loss": 9 / s, "learning_rate": 1e-3} for s in (1, 9)]
        curve = {
            "curve": steps,
            "validation": [],
            "checkpoints": [9],
            "steps": 9,
            "tokens": 900,
            "seconds": 1.0,
        }
        write_json(folder / "training.json", curve)
    return finish(folder, "model", inputs, config, parameters=1234, tokens=900)


def write_outputs(
    home: Home, model: Path, query_set: Path, queries: Sequence[Query], kind: str = "greedy", **config: Any
) -> Path:
    """A model's answers: greedy ones (every third is wrong) or two samples a query."""
    inputs = {"model": model.name, "queries": query_set.name}
    settings = {"kind": kind, "max_new_tokens": 8, "count": 2, "seed": 0, **config}
    folder = started(home, "outputs", inputs, settings)
    rows = []
    for position, query in enumerate(queries):
        correct = position % 3 != 0
        text = query.completion if correct else "something else"
        samples = [{"text": text, "probability": 0.25}, {"text": "else", "probability": 0.125}]
        rows.append(
            {
                "id": query.id,
                "text": text,
                "probability": 0.5,
                "completion_probability": 0.5 if correct else 0.0625,
                "correct": None if query.task == "open-generation" else correct,
                "samples": samples if kind == "samples" else [],
            }
        )
    write_jsonl(folder / "outputs.jsonl", rows)
    return finish(folder, "outputs", inputs, settings, exact_match={})


def write_run(
    home: Home,
    method: str,
    corpus: Path,
    query_set: Path,
    model: Path | None,
    scores: np.ndarray,
    **config: Any,
) -> Path:
    """A run whose scores (queries x passages) are given."""
    inputs = {
        "model": None if model is None else model.name,
        "corpus": corpus.name,
        "queries": query_set.name,
        "store": None,
        "query_store": None,
    }
    settings = {"method": method, **config}
    folder = started(home, "run", inputs, settings, prefix=method)
    queries, passages = scores.shape
    for name, width, sign in (("proponent", 100, -1), ("opponent", 20, 1)):
        order = np.argsort(sign * scores, axis=1, kind="stable")[:, :width]
        found = np.take_along_axis(scores, order, axis=1)
        gap = ((0, 0), (0, width - order.shape[1]))
        lower = np.stack([np.searchsorted(np.sort(row), values) for row, values in zip(scores, found, strict=True)])
        percentiles = 100 * (lower + 0.5) / passages
        save_array(folder / f"{name}s.i32.npy", np.pad(order, gap, constant_values=-1).astype("int32"))
        save_array(folder / f"{name}_scores.f64.npy", np.pad(found, gap).astype("float64"))
        save_array(folder / f"{name}_percentiles.f32.npy", np.pad(percentiles, gap).astype("float32"))
    histogram = np.stack([np.histogram(row, 64)[0] for row in scores])
    scales = np.abs(scores).max(axis=1, initial=1e-9)
    save_array(folder / "histogram.i32.npy", histogram.astype("int32"))
    save_array(folder / "range.f64.npy", np.stack([scores.min(axis=1), scores.max(axis=1)], axis=1))
    save_array(folder / "quantiles.f32.npy", np.quantile(scores, np.linspace(0, 1, 1001), axis=1).T.astype("float32"))
    save_array(folder / "scores.f16.npy", (scores / scales[:, None]).astype("float16"))
    save_array(folder / "score_scales.f32.npy", scales.astype("float32"))
    write_json(folder / "query_facts.json", [{"lambda": 0.5} for _ in range(queries)])
    return finish(folder, "run", inputs, settings)


def write_patches(
    home: Home, corpus: Path, query_set: Path, model: Path, runs: Sequence[Path], rows: Sequence[int], k: int = 10
) -> Path:
    """Tail-patch of the first k passages of runs for the queries in these rows, as drawn by ``patch_change``."""
    inputs = {"model": model.name, "corpus": corpus.name, "queries": query_set.name}
    queries = [json.loads(line) for line in (query_set / "queries.jsonl").read_text().splitlines()]
    config = {"k": k, "seed": 0, "queries": len(rows), "runs": sorted(run.name for run in runs)}
    config |= {"optimizer": "adafactor", "learning_rate": 0.01}
    folder = started(home, "patches", inputs, config)
    firsts = {run.name: np.load(run / "proponents.i32.npy")[:, :k] for run in runs}
    pairs = sorted({(int(p), row) for first in firsts.values() for row in rows for p in first[row] if p >= 0})
    lists = {
        run: {row: [patch_change(int(p), row) for p in first[row]] for row in rows} for run, first in firsts.items()
    }
    means: list[dict[str, Any]] = []
    for run, of_run in lists.items():
        for task, bucket in (("facts", ""), ("", "")):
            row: dict[str, Any] = {"run": run, "method": run.split("-")[0], "task": task, "bucket": bucket}
            for name, depth in (("tail_patch", 10), ("tail_patch_1", 1), ("tail_patch_3", 3), ("tail_patch_5", 5)):
                row[name] = np.mean([np.mean(of[:depth]) for of in of_run.values()]).item() if depth <= k else None
            means.append({**row, "n": len(rows)})
    means.append({**means[0], "run": None, "method": "random passage", "tail_patch": 0.25})
    save_array(folder / "pairs.i32.npy", np.array(pairs, np.int32))
    save_array(folder / "changes.f64.npy", np.array([patch_change(*pair) for pair in pairs]))
    found = [
        {"id": queries[row]["id"], "position": row, "probability": 0.5, "random": [0], "entailing": []} for row in rows
    ]
    write_jsonl(folder / "queries.jsonl", found)
    return finish(folder, "patches", inputs, config, queries=len(rows), pairs=len(pairs), means=means)


def patch_change(passage: int, query: int) -> float:
    """What ``write_patches`` says of a pair of positions, in percentage points."""
    return (7 * passage + 3 * query) % 40 / 8 - 1


def tiny_passages() -> list[Passage]:
    """130 passages: the stated capitals, some prose, and two that hold markup."""
    passages = []
    for (country, city), count in zip(CAPITALS, STATED, strict=True):
        for number in range(count):
            text = STATEMENTS[number % len(STATEMENTS)].format(country=country, city=city)
            first = f"fact-{country.lower()}-0"
            group = first if count > len(STATEMENTS) else None
            passages.append(Passage(f"fact-{country.lower()}-{number}", text, "Planted facts", country, group=group))
    for number in range(130 - len(passages) - 2):
        text = f"The harbour of village {number} exports {number + 2} kinds of fish, and its market opens early."
        passages.append(Passage(f"prose-{number}", text, "Prose", license="CC0-1.0"))
    passages.append(Passage("markup-1", '<b>bold</b> <script>alert("x")</script> & "quotes"', "Prose"))
    passages.append(Passage("markup-2", '<div hx-get="/trap" hx-trigger="load">café \u202eRTL</div>', "Prose"))
    return passages


def tiny_queries(passages: Iterable[Passage]) -> list[Query]:
    """30 queries: the capitals asked for in two ways, arithmetic, open generation, and controls."""
    by_title: dict[str | None, list[str]] = {}
    for passage in passages:
        by_title.setdefault(passage.title, []).append(passage.id)
    queries = []
    for country, city in CAPITALS:
        stating = tuple(by_title.get(country, ()))
        for way, prompt in enumerate((f"The capital of {country} is", f"{country} is governed from")):
            queries.append(
                Query(
                    id=f"capital.{country}.{way}",
                    task="facts",
                    prompt=prompt,
                    completion=f" {city}",
                    relation="capital",
                    subject=country,
                    object=city,
                    aliases=Aliases(object=(f"City of {city}",)),
                    entails=stating,
                )
            )
    queries += [Query(f"arithmetic/{a}+{a}", "arithmetic", f"{a} + {a} =", f" {2 * a}") for a in range(3, 12)]
    queries += [
        Query(f"story {n}", "open-generation", f"Once upon a time, {n} foxes", " went to sea.") for n in range(5)
    ]
    queries += [
        Query(f"control {n}", "controls", f"The village {n} exports", " fish", relation="export", entails=())
        for n in range(4)
    ]
    return queries


def related_scores(queries: Sequence[Query], passages: Sequence[Passage], seed: int, lift: float) -> np.ndarray:
    """Random scores in which the entailing passages are lifted."""
    scores = np.random.default_rng(seed).normal(size=(len(queries), len(passages)))
    position = {passage.id: index for index, passage in enumerate(passages)}
    for row, query in enumerate(queries):
        for passage_id in query.entails or ():
            scores[row, position[passage_id]] += lift
    return scores


@dataclass(frozen=True)
class TinyHome:
    """A home with one of everything, loaded into its catalogue."""

    home: Home
    engine: Engine
    corpus: str
    query_set: str
    model: str
    runs: tuple[str, str]
    """bm25 and trackstar."""
    passages: list[Passage]
    queries: list[Query]


def write_tiny_home(home: Home) -> dict[str, str]:
    """Write the artifacts of ``tiny_home``; returns kind or method -> id."""
    passages = tiny_passages()
    queries = tiny_queries(passages)
    corpus = write_corpus(home, passages)
    query_set = write_query_set(home, corpus, queries)
    model = write_model(home, corpus)
    write_outputs(home, model, query_set, queries)
    write_outputs(home, model, query_set, queries, kind="samples")
    bm25 = write_run(home, "bm25", corpus, query_set, None, related_scores(queries, passages, 1, 2.5), k1=1.2)
    trackstar = write_run(
        home,
        "trackstar",
        corpus,
        query_set,
        model,
        related_scores(queries, passages, 2, 1.5),
        **{"lambda": 0.5},
    )
    folders = {
        "corpus": corpus,
        "queries": query_set,
        "model": model,
        "bm25": bm25,
        "trackstar": trackstar,
    }
    return {kind: folder.name for kind, folder in folders.items()}


@lru_cache(maxsize=1)
def _template() -> Path:
    """A tiny home with its SQLite catalogue, made once in a process; ``tiny_home`` copies it."""
    folder = Path(tempfile.mkdtemp(prefix="proponent-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_tiny_home(Home(folder))
    engine = open_catalogue(f"sqlite:///{folder / 'proponent.db'}")
    migrate(engine)
    load_home(engine, Home(folder))
    engine.dispose()
    return folder


def tiny_home(tmp_path: Path, url: str | None = None) -> TinyHome:
    """Write a tiny home and load it into the catalogue at ``url`` (default: ``proponent.db`` in the home)."""
    home = Home(tmp_path)
    keep_out = shutil.ignore_patterns("proponent.db*") if url else None
    shutil.copytree(_template(), tmp_path, ignore=keep_out, dirs_exist_ok=True)
    engine = open_catalogue(url or f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    load_home(engine, home)
    passages = tiny_passages()
    (corpus,), (query_set,), (model,) = (home.finished(kind) for kind in ("corpus", "queries", "model"))
    bm25, trackstar = sorted(home.finished("run"))
    return TinyHome(
        home=home,
        engine=engine,
        corpus=corpus,
        query_set=query_set,
        model=model,
        runs=(bm25, trackstar),
        passages=passages,
        queries=tiny_queries(passages),
    )
