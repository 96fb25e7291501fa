"""Tail-patch of whole runs: an immutable artifact of one step on each passage that some list of theirs begins with.

A step on a passage serves every query and every run that list it, so the distinct pairs of passage and query are
collected first and measured in the order of the passages. Beside the lists there are always, for each query, a random
passage and passages that state its fact.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import InputError, UserError
from backend.core.files import load_array, save_array, write_jsonl
from backend.core.metrics import TAIL_PATCH_DEPTHS, by_task_and_bucket, frequency_bucket, mean, tail_patch_means
from backend.core.records import Passage, Query, fact_queries
from backend.core.sampling import in_drawn_order
from backend.core.tokenizer import EncodedQuery
from backend.evaluation.tail_patch import TailPatch
from backend.models.loading import LoadedModel

Progress = Callable[[float, float, str], None]
"""(done, total, message), in pairs."""

PART_SECONDS = 3.0
"""Work between two files that a kill leaves standing."""

TRIED = 5
"""Passages that are measured for the estimate of time."""

BASELINES = {"random": "random passage", "entailing": "entailing passages"}
"""Field of a query's line -> what its rows of means are called."""


@dataclass(frozen=True)
class PatchConfig:
    """What is measured."""

    k: int = 10
    """Passages of a list, from its first; also the most entailing passages of a query."""
    seed: int = 0
    """Of the sample of queries, the random passages and the sample of entailing passages."""
    queries: int | None = None
    """How many fact queries are drawn; None: all that a passage entails."""

    def __post_init__(self) -> None:
        if self.k < 1 or (self.queries is not None and self.queries < 1):
            raise InputError("Tail-patch needs at least one passage of at least one query.", "Give positive numbers.")


@dataclass(frozen=True)
class PatchedRun:
    """A run whose lists are measured."""

    id: str
    method: str
    proponents: np.ndarray
    """Queries x any width: passage positions, best first, -1 behind the last."""


@dataclass(frozen=True)
class PatchSubject:
    """Runs over one query set and corpus, and the model that takes the steps."""

    loaded: LoadedModel
    corpus_id: str
    query_set_id: str
    passages: Sequence[Passage]
    queries: Sequence[Query]
    runs: Sequence[PatchedRun]


@dataclass(frozen=True, slots=True)
class _Lists:
    """What is measured for one query: passage positions, first passage first."""

    query: int
    random: list[int]
    entailing: list[int]
    of_runs: list[list[int]]


def measure_runs(
    home: Home,
    subject: PatchSubject,
    config: PatchConfig,
    progress: Progress,
    announce: Callable[[str], None],
    *,
    command: str = "",
) -> str:
    """Measure tail-patch for runs; returns the id of the patches artifact. A no-op where it is finished.

    Killed, it goes on after the last whole part. Its bytes depend on inputs and configuration alone (on one machine, at
    one thread count). ``announce`` is told how much there is to do and about how long it takes. Raises UserError where
    no fact query is entailed by a passage, InputError for a query that the model cannot take.
    """
    patch = TailPatch.open(home, subject.loaded)
    chosen = fact_queries(subject.queries)
    if not chosen:
        raise UserError(
            f"No fact of the query set {subject.query_set_id} is stated by a passage.",
            "Give facts with subject and object: `proponent corpus import PASSAGES --queries QUERIES`.",
        )
    sampled = config.queries is not None and config.queries < len(chosen)
    if sampled:
        ids = (subject.queries[row].id for row in chosen)
        drawn = set(in_drawn_order(ids, f"{config.seed}/query")[: config.queries])
        chosen = [row for row in chosen if subject.queries[row].id in drawn]
    inputs: dict[str, str | None] = {
        "model": subject.loaded.id,
        "corpus": subject.corpus_id,
        "queries": subject.query_set_id,
    }
    settings = {
        **asdict(config),
        "queries": config.queries if sampled else None,
        "runs": sorted(run.id for run in subject.runs),
        **asdict(patch.settings),
    }
    folder = home.folder("patches", artifact_id("patches", inputs, settings))
    if is_finished(folder):
        return folder.name
    started = time.monotonic()
    encoded = {row: subject.loaded.tokenizer.encode_named(subject.queries[row]) for row in chosen}
    lists = _lists(subject, chosen, config)
    pairs = _pairs(lists)
    changes = _measure(patch, subject, encoded, pairs, folder / "parts", progress, announce)
    save_array(folder / "pairs.i32.npy", pairs)
    save_array(folder / "changes.f64.npy", changes)
    base = {row: patch.probability(query) for row, query in encoded.items()}
    rows = (
        {
            "id": subject.queries[found.query].id,
            "position": found.query,
            "probability": base[found.query],
            "random": found.random,
            "entailing": found.entailing,
        }
        for found in lists
    )
    write_jsonl(folder / "queries.jsonl", rows)
    shutil.rmtree(folder / "parts", ignore_errors=True)
    seal(
        folder,
        kind="patches",
        inputs=inputs,
        config=settings,
        facts={
            "queries": len(lists),
            "pairs": len(pairs),
            "steps": len(np.unique(pairs[:, 0])),
            "base_probability": mean(base.values()),
            "state": patch.facts["state"],
            "step": patch.facts["step"],
            "means": _means(subject, lists, pairs, changes, config.k),
        },
        seconds=time.monotonic() - started,
        command=command,
    )
    return folder.name


def _lists(subject: PatchSubject, rows: Sequence[int], config: PatchConfig) -> list[_Lists]:
    position = {passage.id: index for index, passage in enumerate(subject.passages)}
    found = []
    for row in rows:
        query = subject.queries[row]
        draw = hashlib.sha256(f"{config.seed}/random/{query.id}".encode()).digest()
        entailing = in_drawn_order(query.entails or (), f"{config.seed}/entailing/{query.id}")[: config.k]
        of_runs = [run.proponents[row, : config.k] for run in subject.runs]
        found.append(
            _Lists(
                query=row,
                random=[int.from_bytes(draw[:8], "little") % len(subject.passages)],
                entailing=[position[passage_id] for passage_id in entailing],
                of_runs=[places[places >= 0].tolist() for places in of_runs],
            )
        )
    return found


def _pairs(lists: Sequence[_Lists]) -> np.ndarray:
    """Distinct (passage position, query position) of all lists, int32, in the order of the passages."""
    wanted = {
        (passage, found.query)
        for found in lists
        for listed in (found.random, found.entailing, *found.of_runs)
        for passage in listed
    }
    return np.array(sorted(wanted), np.int32).reshape(-1, 2)


def _measure(
    patch: TailPatch,
    subject: PatchSubject,
    encoded: Mapping[int, EncodedQuery],
    pairs: np.ndarray,
    parts: Path,
    progress: Progress,
    announce: Callable[[str], None],
) -> np.ndarray:
    """Change of every pair, float64, in percentage points; finished parts are read instead."""

    def changes(start: int, end: int) -> list[float]:
        ids = subject.loaded.tokenizer.encode_passage(subject.passages[pairs[start, 0]].text).ids
        return patch.changes(ids, [encoded[row] for row in pairs[start:end, 1].tolist()])

    kept = _finished_parts(parts)
    done = sum(len(part) for part in kept)
    starts = np.flatnonzero(np.diff(pairs[:, 0], prepend=-1)).tolist()
    steps = [step for step in zip(starts, [*starts[1:], len(pairs)], strict=True) if step[0] >= done]
    if steps:
        progress(done, len(pairs), "estimating time")
        tried = steps[:: max(1, len(steps) // TRIED)][:TRIED]
        changes(*tried[0])  # the first step of a process takes longer
        begun = time.monotonic()
        measured = sum(len(changes(*step)) for step in tried)
        pair_seconds = (time.monotonic() - begun) / measured
        announce(
            f"{len(pairs) - done:,} pairs of passage and query, {len(steps):,} steps: "
            f"about {(len(pairs) - done) * pair_seconds:,.0f} s ({1000 * pair_seconds:.0f} ms a pair)."
        )
    part: list[float] = []
    since = time.monotonic()
    for start, end in steps:
        part += changes(start, end)
        progress(end, len(pairs), "one step on each passage")
        if end == len(pairs) or time.monotonic() - since >= PART_SECONDS:
            save_array(parts / f"{end - len(part):09d}.f64.npy", np.array(part))
            kept.append(np.array(part))
            part, since = [], time.monotonic()
    return np.concatenate(kept)


def _finished_parts(parts: Path) -> list[np.ndarray]:
    """Parts that an interrupted measurement left, without a gap from the first pair on; a file is named by its first.

    A part ends where a passage's pairs end.
    """
    found: list[np.ndarray] = []
    while (path := parts / f"{sum(len(part) for part in found):09d}.f64.npy").exists():
        found.append(np.array(load_array(path)))
    return found


def _means(
    subject: PatchSubject, lists: Sequence[_Lists], pairs: np.ndarray, changes: np.ndarray, k: int
) -> list[dict[str, Any]]:
    """Means of every run and baseline by task and bucket ("": all), runs in order of their ids."""
    change = dict(zip(map(tuple, pairs.tolist()), changes.tolist(), strict=True))
    listed: list[tuple[str | None, str, list[list[int]]]] = [
        (run.id, run.method, [found.of_runs[place] for found in lists]) for place, run in enumerate(subject.runs)
    ]
    listed.sort(key=lambda row: str(row[0]))
    listed.append((None, BASELINES["random"], [found.random for found in lists]))
    listed.append((None, BASELINES["entailing"], [found.entailing for found in lists]))
    rows = []
    for run_id, method, passages_of in listed:
        measured = []
        for found, passages in zip(lists, passages_of, strict=True):
            if passages:
                query = subject.queries[found.query]
                means = tail_patch_means([change[passage, found.query] for passage in passages], k)
                measured.append((query.task, frequency_bucket(query.frequency), means))
        for (task, bucket), of_queries in by_task_and_bucket(measured).items():
            row: dict[str, Any] = {
                "run": run_id,
                "method": method,
                "task": task,
                "bucket": bucket,
                "n": len(of_queries),
            }
            rows.append(row | {name: _mean_of(of_queries, name) for name in TAIL_PATCH_DEPTHS})
    return rows


def _mean_of(rows: Iterable[Mapping[str, float | None]], name: str) -> float | None:
    return mean(value for row in rows if (value := row[name]) is not None)
