"""Fills a catalogue with as many passages, prompts and ranked lists as a large installation has.

Nothing is computed by the engine: text comes from a vocabulary in Zipf's proportions, facts are stated by as many
passages as their frequency says, and lists hold passages that state the fact near their top, passages of the same
relation below, and popular passages that turn up in thousands of lists. Equal arguments give equal rows.

    python benchmarks/large_catalogue.py FOLDER [--passages 100000] [--prompts 5000] [--seed 0]
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from large_text import Fact, Writer, make_facts, make_passages, near_duplicate_groups
from sqlalchemy import insert
from sqlalchemy.orm import Session

from backend.catalogue import models as m
from backend.catalogue.database import migrate, open_catalogue, write_session
from backend.catalogue.prompt_summaries import summarize_prompts
from backend.catalogue.search import search_text_of
from backend.core.metrics import RetrievalMetrics, frequency_bucket, retrieval_metrics
from backend.core.records import Passage

MADE = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
CORPUS, MODEL, QUERIES, STORE = "c0ffee0000aa", "5eed000000aa", "9ae5000000aa", "570e000000aa"
BATCH = 20_000
PROPONENTS, OPPONENTS, BINS = 100, 20, 64
LEAST_PASSAGES, LEAST_PROMPTS = 300, 40

LEARNT = {"0": 0.03, "1": 0.2, "2-4": 0.55, "5-9": 0.85, "10-49": 0.97, "50+": 0.99, None: 0.5}
"""Share of right answers by bucket."""


@dataclass(frozen=True, slots=True)
class Method:
    """How a method's scores look: their scale, what stating the fact adds, and whose popular passages it shares."""

    scale: float
    lift: float
    crowd: int
    uses_model: bool = True


METHODS = {
    "trackstar": Method(0.06, 3.0, 0),
    "trackstar-general": Method(0.06, 2.4, 0),
    "gradient-cosine": Method(0.07, 1.6, 0),
    "gradient-dot": Method(41.5, 0.5, 0),
    "bm25": Method(2.4, 2.6, 1, uses_model=False),
}


def passage_rows(passages: Iterable[Passage]) -> Iterator[dict[str, Any]]:
    """Rows of ``passages``."""
    for position, passage in enumerate(passages):
        values = {name: getattr(passage, name) for name in ("text", "source", "title", "url", "license")}
        yield {
            **values,
            "pk": position + 1,
            "corpus_id": CORPUS,
            "position": position,
            "passage_id": passage.id,
            "content_hash": passage.content_hash,
            "near_duplicates": passage.group,
        }


def prompt_rows(facts: list[Fact]) -> Iterator[dict[str, Any]]:
    """Rows of ``prompts``."""
    for position, fact in enumerate(facts):
        frequency = None if fact.entails is None else len(fact.entails)
        names = [name for known in fact.aliases.values() for name in known]
        values = {name: getattr(fact, name) for name in ("task", "prompt", "completion", "relation", "subject")}
        parts = (fact.prompt, fact.completion, fact.subject, fact.object, fact.relation)
        yield {
            **values,
            "pk": position + 1,
            "query_set_id": QUERIES,
            "position": position,
            "query_id": fact.id,
            "slug": fact.id,
            "object": fact.object,
            "aliases": fact.aliases,
            "frequency": frequency,
            "bucket": frequency_bucket(frequency),
            "search_text": search_text_of(*parts, *names),
        }


def output_rows(writer: Writer, facts: list[Fact]) -> Iterator[dict[str, Any]]:
    """Rows of ``outputs``: the more passages state a fact, the likelier is its answer."""
    rng = writer.rng
    for position, fact in enumerate(facts):
        share = LEARNT[frequency_bucket(None if fact.entails is None else len(fact.entails))]
        right = bool(rng.random() < share) and fact.task != "wrong-predictions"
        guesses = [writer.name("town") for _ in range(4)]
        text = f"{fact.completion if right else guesses[0]}."
        probability = float(rng.beta(6, 2) if right else rng.beta(1.3, 5))
        sampled = [text if rng.random() < probability else writer.pick(guesses) for _ in range(5)]
        yield {
            "prompt_pk": position + 1,
            "model_id": MODEL,
            "text": text,
            "probability": probability,
            "completion_probability": probability if right else probability * float(rng.random()) ** 3,
            "correct": None if fact.task in ("open-generation", "controls") else right,
            "samples": [{"text": one, "probability": float(rng.beta(2, 6))} for one in sampled if position % 10 < 7],
        }


class Lists:
    """Ranked lists of every prompt."""

    def __init__(self, rng: np.random.Generator, passages: int, facts: list[Fact]) -> None:
        self.rng = rng
        self.passages = passages
        self.facts = facts
        self.crowds = [rng.permutation(passages) for _ in range(3)]
        """Passages from most to least popular: of gradients, of BM25, and among opponents."""
        weights = 1 / (np.arange(passages) + 20)
        self.cumulative = np.cumsum(weights / weights.sum())
        of_relation: dict[str | None, list[int]] = defaultdict(list)
        for fact in facts:
            of_relation[fact.relation] += fact.entails or ()
        self.near = []
        for fact in facts:
            topic = np.array(of_relation[fact.relation] if fact.relation else [], dtype=np.int64)
            anywhere = rng.integers(passages, size=30 if len(topic) else 100)
            topical = topic[rng.integers(len(topic), size=70)] if len(topic) else topic
            self.near.append(np.unique(np.concatenate([topical, anywhere])))

    def popular(self, crowd: int, count: int) -> np.ndarray:
        places = np.searchsorted(self.cumulative, self.rng.random(count))
        return self.crowds[crowd][np.minimum(places, self.passages - 1)]

    def proponents(self, position: int, method: Method) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the first passages, and their scores in standard deviations."""
        stating = np.array((self.facts[position].entails or [])[:120], dtype=np.int64)
        found = np.unique(np.concatenate([stating, self.near[position], self.popular(method.crowd, 90)]))
        if len(found) < PROPONENTS:
            found = np.union1d(found, self.rng.permutation(self.passages)[: 2 * PROPONENTS])
        heights = 2.5 + self.rng.exponential(0.45, len(found))
        heights[np.isin(found, stating)] += self.rng.normal(method.lift, 1.0, len(stating))
        order = np.argsort(-heights)[:PROPONENTS]
        return found[order], heights[order]

    def opponents(self, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of the last passages, lowest first."""
        found = np.setdiff1d(self.popular(2, 60), taken)
        if len(found) < OPPONENTS:
            found = np.setdiff1d(np.arange(self.passages), taken)
        chosen = self.rng.permutation(found)[:OPPONENTS]
        return chosen, np.sort(-2.5 - self.rng.exponential(0.4, OPPONENTS))

    def histogram(self, low: float, high: float, *, falling: bool) -> list[int]:
        """Counts of all passages over equal steps from the lowest to the highest score."""
        middles = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
        shares = np.exp(-3 * (middles - low)) if falling else np.exp(-(middles**2) / 2)
        counts = self.rng.multinomial(self.passages - 2, shares / shares.sum())
        counts[[0, -1]] += 1  # the lowest and the highest score themselves
        return counts.tolist()


RETRIEVAL = {
    "mrr": "reciprocal_rank",
    "recall_at_10": "recall_at_10",
    "precision_at_1": "precision_at_1",
    "precision_at_10": "precision_at_10",
}


def run_rows(lists: Lists, name: str, number: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """For each prompt its row of ``rankings`` and its rows of ``ranked_passages``."""
    method, count = METHODS[name], lists.passages
    lambdas = {"trackstar": 0.75, "trackstar-general": 0.0}
    for position, fact in enumerate(lists.facts):
        pk = number * len(lists.facts) + position + 1
        places, heights = lists.proponents(position, method)
        columns = [(1, places, heights)]
        low = 0.0
        if method.uses_model:
            below, depths = lists.opponents(places)
            columns.append((-1, below, depths))
            low = float(depths[0])
        measured = method.lift > 2.5 and position % 5 == 0
        ranked = [
            {
                "ranking_pk": pk,
                "rank": sign * rank,
                "passage_pk": place + 1,
                "score": height * method.scale,
                "percentile": 100 * ((rank - 0.5) / count if sign < 0 else 1 - (rank - 0.5) / count),
                "tail_patch": round(4.0 / rank - 0.5, 3) if measured and 0 < rank <= 10 else None,
            }
            for sign, side, values in columns
            for rank, (place, height) in enumerate(zip(side.tolist(), values.tolist(), strict=True), start=1)
        ]
        metrics = retrieval_metrics(places.tolist(), frozenset(fact.entails or ()))
        recorded = {"damping_factor": 0.1, "k": 63, "lambda": lambdas.get(name)}
        yield (
            {
                "pk": pk,
                "run_id": f"{name}-{0xABC0000000AA + number:012x}",
                "prompt_pk": position + 1,
                "scored": count,
                "minimum": low * method.scale,
                "maximum": float(heights[0]) * method.scale,
                "histogram": lists.histogram(low, float(heights[0]), falling=not method.uses_model),
                "facts": {**recorded, "r_eval": {"n": 3000, "query_set": QUERIES}} if name in lambdas else {},
                **dict.fromkeys(RETRIEVAL.values()),
                **(asdict(metrics) if metrics else {}),
                "tail_patch": float(np.mean([4.0 / rank - 0.5 for rank in range(1, 11)])) if measured else None,
            },
            ranked,
        )


def mean_rows(facts: list[Fact], rankings: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of ``metrics``: means over the prompts that some passage states, by task and bucket or all ("")."""
    cells: dict[tuple[str, str], list[RetrievalMetrics]] = defaultdict(list)
    for fact, row in zip(facts, rankings, strict=True):
        if row["reciprocal_rank"] is not None:
            found = RetrievalMetrics(*(row[column] for column in RETRIEVAL.values()))
            for task in (fact.task, ""):
                for bucket in (frequency_bucket(len(fact.entails or ())) or "", ""):
                    cells[task, bucket].append(found)
    for (task, bucket), of_cell in sorted(cells.items()):
        for name, column in RETRIEVAL.items():
            value = float(np.mean([getattr(metrics, column) for metrics in of_cell]))
            yield {
                "run_id": rankings[0]["run_id"],
                "task": task,
                "bucket": bucket,
                "name": name,
                "value": value,
                "n": len(of_cell),
            }


def artifact(
    kind: str, artifact_id: str, minutes: int, inputs: dict[str, Any], config: dict[str, Any]
) -> dict[str, Any]:
    """The columns that every artifact has."""
    made = MADE + timedelta(minutes=minutes)
    manifest = {
        "kind": kind,
        "id": artifact_id,
        "inputs": inputs,
        "config": config,
        "facts": {"prepare_seconds": 1.958, "r_train": {"n": 100_000}},
        "command": f"proponent {kind}",
        "versions": {"numpy": np.__version__, "proponent": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        "created_at": made.isoformat(),
        "seconds": 48.25,
        "peak_memory_bytes": 812_000_000,
    }
    return {"id": artifact_id, "created_at": made, "manifest": manifest}


def training() -> dict[str, Any]:
    """A training.json."""
    steps = range(16, 6401, 16)
    curve = [
        {
            "step": step,
            "epoch": step / 2000,
            "tokens": step * 4096,
            "loss": 2.1 + 5.6 * float(np.exp(-step / 900)) + 0.08 * float(np.sin(step)),
            "learning_rate": 0.003 * min(1, step / 300) * (1 - step / 7000),
        }
        for step in steps
    ]
    checkpoints = list(range(800, 6401, 800))
    return {"curve": curve, "validation": [], "checkpoints": checkpoints, "steps": 6400, "tokens": 6400 * 4096}


def add(session: Session, table: type[m.Base], rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows in large batches."""
    waiting = iter(rows)
    while batch := list(islice(waiting, BATCH)):
        session.connection().execute(insert(table.__table__), batch)


def fill(home: Path, passages: int = 100_000, prompts: int = 5_000, seed: int = 0) -> None:
    """Make the catalogue of a home that has none."""
    if passages < LEAST_PASSAGES or prompts < LEAST_PROMPTS:
        raise SystemExit(f"At least {LEAST_PASSAGES} passages and {LEAST_PROMPTS} prompts are needed.")
    file = home.absolute() / "proponent.db"
    if file.exists():
        raise SystemExit(f"{file} is there already.")
    rng = np.random.default_rng(seed)
    writer = Writer(rng)
    groups = near_duplicate_groups(rng, passages)
    facts = make_facts(writer, prompts, passages, groups)
    engine = open_catalogue(f"sqlite:///{file}")
    migrate(engine)
    with write_session(engine) as session:
        corpus = artifact("corpus", CORPUS, 0, {}, {"name": "large"})
        add(session, m.Corpus, [{**corpus, "name": "Large", "passage_count": passages}])
        model = artifact("model", MODEL, 1, {"corpus": CORPUS}, {"name": "large", "layers": 6, "epochs": 3})
        own = {"name": "Small Llama", "corpus_id": CORPUS, "parameter_count": 1_412_096, "training": training()}
        add(session, m.Model, [{**model, **own}])
        queries = artifact("queries", QUERIES, 2, {"corpus": CORPUS}, {"name": "large"})
        add(session, m.QuerySet, [{**queries, "name": "Large", "corpus_id": CORPUS, "model_id": None}])
        add(session, m.Passage, passage_rows(make_passages(writer, passages, groups, facts)))
        add(session, m.Prompt, prompt_rows(facts))
        pairs = ((place + 1, at + 1) for place, fact in enumerate(facts) for at in fact.entails or ())
        add(session, m.Entailment, ({"prompt_pk": prompt, "passage_pk": passage} for prompt, passage in pairs))
        for number, kind in enumerate(("greedy", "samples")):
            inputs = {"model": MODEL, "queries": QUERIES}
            made = artifact("outputs", f"0a5{number:09x}", 3 + number, inputs, {"kind": kind})
            add(session, m.OutputSet, [{**made, "query_set_id": QUERIES, "model_id": MODEL, "kind": kind}])
        add(session, m.Output, output_rows(writer, facts))
    lists = Lists(rng, passages, facts)
    for number, name in enumerate(METHODS):
        with write_session(engine) as session:
            add_run(session, lists, name, number)
    with write_session(engine) as session:
        summarize_prompts(session, QUERIES)
        session.connection().exec_driver_sql("ANALYZE")
    engine.dispose()


def add_run(session: Session, lists: Lists, name: str, number: int) -> None:
    """One method's run: its rankings, ranked passages and means."""
    model = MODEL if METHODS[name].uses_model else None
    store = STORE if model else None
    inputs = {"corpus": CORPUS, "model": model, "queries": QUERIES, "store": store}
    row = artifact("run", f"{name}-{0xABC0000000AA + number:012x}", 10 + number, inputs, {"method": name})
    of = {"method": name, "corpus_id": CORPUS, "query_set_id": QUERIES, "model_id": model, "store_id": store}
    add(session, m.Run, [{**row, **of}])
    rankings: list[dict[str, Any]] = []
    rows = run_rows(lists, name, number)
    while block := list(islice(rows, 200)):
        add(session, m.Ranking, (ranking for ranking, _ in block))
        add(session, m.RankedPassage, (ranked for _, some in block for ranked in some))
        rankings += [ranking for ranking, _ in block]
    add(session, m.Metric, mean_rows(lists.facts, rankings))


def main() -> None:
    """Fill the catalogue of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="home of the catalogue; it must not have one")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--prompts", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    fill(arguments.folder, arguments.passages, arguments.prompts, arguments.seed)
    size = (arguments.folder / "proponent.db").stat().st_size
    print(f"{arguments.folder}: {size / 1e6:.0f} MB in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
