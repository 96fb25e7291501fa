"""The stage of `proponent index`: a FAISS index of a run's search vectors, and what searching through it is worth.

The comparison is with the exact scan over a sample of the run's own queries: which share of its stored list (the first
100 proponents) the index's list has, and how long one query takes either way, in turns, in the process that builds it.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backend.catalogue.database import read_session
from backend.catalogue.runs import RunSummary, current_runs
from backend.core.artifacts import artifact_id, is_finished, read_manifest, seal
from backend.core.errors import UserError
from backend.core.files import load_array
from backend.core.records import Query
from backend.gradients.store import GradientStore
from backend.methods.projected import Geometry, Projected
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.methods.registry import method_of_run
from backend.pipeline.evaluated_runs import named_runs
from backend.pipeline.workspace import Workspace
from backend.search.index import IndexConfig, SearchIndex, estimate_size, set_threads, write_index
from backend.search.int8_scan import Int8Scan, approximate_scores, open_scan
from backend.search.reduce import OPPONENTS, PROPONENTS, reduce_query, ties_by_id
from backend.search.run_index import KIND, file_of

METHOD = "trackstar"
"""Whose current runs get an index where none is named."""
COMPARED = 100
"""Queries of a geometry that recall is measured over, at most."""
STAGE = "index"


@dataclass(frozen=True)
class _Subject:
    """A run with everything that it was made of."""

    run: RunSummary
    inputs: dict[str, str | None]
    method: Projected
    store: GradientStore
    queries: Sequence[Query]
    gradients: np.ndarray
    ties: np.ndarray


@dataclass(frozen=True)
class _Comparison:
    """Of one query: the share of the exact list that was found (None: the list is empty), and seconds either way."""

    recall: float | None
    index_seconds: float
    exact_seconds: float


def index_runs(work: Workspace, run_ids: Sequence[str], config: IndexConfig) -> list[dict[str, Any]]:
    """Index runs, or TrackStar's current ones; the rows of `proponent index --json`. A no-op where it is done."""
    torch.set_num_threads(work.threads)
    set_threads(work.threads)
    runs = _runs(work, run_ids)
    rows = []
    work.reporter.plan([(STAGE, "Indexing")])
    with work.reporter.stage(STAGE, "passages") as report:
        for run in runs:
            index_id = _index_run(work, run, config, report)
            work.catalogue(KIND, index_id)
            manifest = read_manifest(work.folder(KIND, index_id))
            rows.append({"index": index_id, "run": run.id, "factory": config.factory, **manifest.facts})
    return rows


def _runs(work: Workspace, run_ids: Sequence[str]) -> list[RunSummary]:
    with read_session(work.engine) as session:
        if not run_ids:
            found = [run for run in current_runs(session) if run.method == METHOD and _inputs(work, run)["store"]]
            if not found:
                raise UserError(f"There is no run of {METHOD} in {work.home.root} yet.", "Run `proponent rank` first.")
            return found
        chosen = named_runs(session, run_ids)
    for run in chosen:
        if not _inputs(work, run).get("store"):
            raise UserError(
                f"Run {run.id} has no vectors to index: {run.method} reads no gradient store.",
                "Name a run of a method over a gradient store, such as trackstar.",
            )
    return chosen


def _inputs(work: Workspace, run: RunSummary) -> dict[str, str | None]:
    inputs = read_manifest(work.folder("run", run.id)).inputs
    return {
        name: inputs.get(name) for name in ("corpus", "queries", "model", "store", "query_store", "evaluation_store")
    }


def _index_run(work: Workspace, run: RunSummary, config: IndexConfig, report: Callable[..., None]) -> str:
    inputs = {"run": run.id, **_inputs(work, run)}
    folder = work.home.folder(KIND, artifact_id(KIND, inputs, asdict(config), prefix=run.method))
    if is_finished(folder):
        return folder.name
    store = GradientStore.open(work.home, str(inputs["store"]))
    size = estimate_size(config, store.plan.dims, store.rows)
    started = time.monotonic()
    subject = _subject(work, run, inputs, store)
    used = sorted(set(subject.method.groups(subject.queries)))
    work.reporter.say(
        f"{len(used)} x {store.rows:,} vectors of {store.plan.dims:,} dimensions: about "
        f"{len(used) * size.disk / 1e6:,.0f} MB on disk, {size.memory / 1e6:,.0f} MB of memory."
    )
    work.require_disk(len(used) * size.disk)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scan = open_scan(store, subject.method.geometries[0].row_set)
    parts, compared = [], []
    for number in used:
        part, of_part = _index_geometry(folder, subject, number, config, scan, report)
        parts.append(part)
        compared += of_part
    seal(
        folder,
        kind=KIND,
        inputs=inputs,
        config=asdict(config),
        facts={
            "passages": store.rows,
            "dims": store.plan.dims,
            "bytes": sum(part["bytes"] for part in parts),
            **_means(compared),
            "index_seconds": round(statistics.median(one.index_seconds for one in compared), 6),
            "exact_seconds": round(statistics.median(one.exact_seconds for one in compared), 6),
            "geometries": parts,
        },
        seconds=time.monotonic() - started,
        command=f"proponent index --run {run.id} --factory '{config.factory}' --sample {config.sample} "
        f"--candidates {config.candidates}",
    )
    return folder.name


def _subject(work: Workspace, run: RunSummary, inputs: dict[str, str | None], store: GradientStore) -> _Subject:
    """Prepare the run's method again; raises UserError where this version would make another run of it."""
    method = method_of_run(run.id, run.method, read_manifest(work.folder("run", run.id)).config)
    passages = work.passages(run.corpus_id)
    evaluation = EvaluationQueries.open(work.home, inputs["evaluation_store"], work.queries)
    prepared = method.prepare(MethodInputs(passages, store, evaluation))
    if method.row_set is None or not isinstance(prepared, Projected):
        raise UserError(f"The scores of {run.method} are no inner products.", "Name a run of another method.")
    return _Subject(
        run=run,
        inputs=inputs,
        method=prepared,
        store=store,
        queries=work.queries(run.query_set_id),
        gradients=GradientStore.open(work.home, str(inputs["query_store"])).values(method.row_set),
        ties=ties_by_id([passage.id for passage in passages]),
    )


def _index_geometry(
    folder: Path,
    subject: _Subject,
    number: int,
    config: IndexConfig,
    scan: Int8Scan,
    report: Callable[..., None],
) -> tuple[dict[str, Any], list[_Comparison]]:
    """Write the index of one geometry and compare it over queries that have it."""
    geometry, name = subject.method.geometries[number], file_of(number)
    started = time.monotonic()

    def vectors(positions: np.ndarray) -> np.ndarray:
        report(int(positions[0]), subject.store.rows, f"vectors of {name}")
        return geometry.passage_search_vectors(positions)

    write_index(folder / name, config, subject.store.plan.dims, subject.store.rows, vectors)
    build_seconds = time.monotonic() - started
    members = np.flatnonzero(np.array(subject.method.groups(subject.queries)) == number)
    drawn = members[np.linspace(0, len(members) - 1, min(COMPARED, len(members))).astype(np.intp)]
    stored = load_array(folder.parents[1] / "runs" / subject.run.id / "proponents.i32.npy")
    report(0, 0, f"comparing {len(drawn)} queries with the exact scan")
    index = SearchIndex.read(folder / name, config, (subject.store.rows, subject.store.plan.dims))
    compared = [_compare(subject, geometry, index, scan, int(row), stored[row]) for row in drawn]
    facts = subject.method.score([subject.queries[int(members[0])]], subject.gradients[members[:1]]).query_facts
    part = {
        "file": name,
        "geometry": number,
        "weight": facts[0].get("lambda") if facts else None,
        "tasks": sorted({subject.queries[int(row)].task for row in members}),
        "bytes": (folder / name).stat().st_size,
        "build_seconds": round(build_seconds, 3),
        **_means(compared),
    }
    return part, compared


def _compare(
    subject: _Subject, geometry: Geometry, index: SearchIndex, scan: Int8Scan, row: int, stored: np.ndarray
) -> _Comparison:
    scorer = subject.method.score([subject.queries[row]], subject.gradients[row : row + 1]).scorer
    exact = partial(scorer.exact, 0)
    started = time.perf_counter()
    vector = geometry.query_search_vectors(subject.gradients[row : row + 1])[0]
    found = index.ranking(vector, exact, subject.ties).proponents
    after_index = time.perf_counter()
    scores = approximate_scores([scorer], lambda store, row_set: scan)[0]
    reduce_query(scores, exact, subject.ties, proponents=PROPONENTS, opponents=OPPONENTS, approximate=True)
    after_scan = time.perf_counter()
    wanted = stored[stored >= 0]
    recall = float(np.isin(wanted, found).mean()) if len(wanted) else None
    return _Comparison(recall, after_index - started, after_scan - after_index)


def _means(compared: Sequence[_Comparison]) -> dict[str, Any]:
    recalls = [one.recall for one in compared if one.recall is not None]
    return {"queries": len(recalls), "recall_at_100": round(statistics.fmean(recalls), 4) if recalls else None}
