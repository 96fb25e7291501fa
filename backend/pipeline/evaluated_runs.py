"""Which runs an evaluation is about, and the model that is behind them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from backend.catalogue.database import read_session
from backend.catalogue.runs import RunSummary, current_runs, runs_by_id
from backend.core.artifacts import read_manifest
from backend.core.errors import UserError
from backend.core.records import fact_queries
from backend.pipeline.viewer_artifacts import is_imported
from backend.pipeline.workspace import Workspace

RANK_FIRST = "Run `proponent rank` or `proponent demo` first."


def evaluated_runs(work: Workspace, run_ids: Sequence[str] = ()) -> tuple[list[RunSummary], str]:
    """The named runs, or the current ones of the newest query set that can be evaluated; and their model.

    Raises UserError where there are none, or the named ones are not of one query set and one model with weights.
    """
    return _chosen(work, run_ids) if run_ids else _current(work)


def named_runs(session: Session, run_ids: Sequence[str]) -> list[RunSummary]:
    """The runs of these ids, each once, in their order; raises UserError for one that is not there."""
    found = runs_by_id(session, run_ids)
    unknown = [run_id for run_id in run_ids if run_id not in found]
    if unknown:
        raise UserError(f"There is no run {unknown[0]!r}.", "`proponent status` lists the runs.")
    return [found[run_id] for run_id in dict.fromkeys(run_ids)]


def store_behind(work: Workspace, runs: Sequence[RunSummary]) -> str:
    """The gradient store that the first run which looks at one is of; raises UserError where none does."""
    for run in runs:
        store_id = read_manifest(work.folder("run", run.id)).inputs.get("store")
        if store_id is not None:
            return store_id
    raise UserError("No run of a gradient store is there.", RANK_FIRST)


def _current(work: Workspace) -> tuple[list[RunSummary], str]:
    """The current runs of the newest query set with stated facts and a run of a model that has weights; that model."""
    with read_session(work.engine) as session:
        every = current_runs(session)
    has_model = False
    for query_set_id in reversed(work.home.finished("queries")):
        runs = [run for run in every if run.query_set_id == query_set_id]
        model_id = _model_of(work, runs)
        has_model = has_model or model_id is not None
        if model_id is not None and fact_queries(work.queries(query_set_id)):
            return [run for run in runs if run.model_id in (None, model_id)], model_id
    if has_model:
        raise UserError(
            "No query set with a run of a model has facts that a passage states.",
            "Give facts with subject and object: `proponent corpus import PASSAGES --queries QUERIES`.",
        )
    raise UserError(f"There is no run of a model in {work.home.root} yet, so no model to take the steps.", RANK_FIRST)


def _chosen(work: Workspace, run_ids: Sequence[str]) -> tuple[list[RunSummary], str]:
    """The named runs, and the model that they, or else other runs over the same queries, are of."""
    with read_session(work.engine) as session:
        runs = named_runs(session, run_ids)
        beside = current_runs(session, runs[0].query_set_id)
    for name, values in (
        ("query sets", {run.query_set_id for run in runs}),
        ("models", {run.model_id for run in runs} - {None}),
    ):
        if len(values) > 1:
            raise UserError(f"The runs are of different {name}.", "Give a command of its own for each.")
    if len({run.method for run in runs}) < len(runs):
        raise UserError("Two of the runs are of one method.", "Give a command of its own for each.")
    own = [run for run in runs if run.model_id is not None]
    model_id = _model_of(work, own or beside)
    if model_id is None:
        raise UserError(
            f"No model with weights is behind the run {(own or runs)[0].id}, so none can take the steps.", RANK_FIRST
        )
    return runs, model_id


def _model_of(work: Workspace, runs: Sequence[RunSummary]) -> str | None:
    """The model with weights that the newest of the runs is of (they come newest first); None where none is."""
    models = dict.fromkeys(run.model_id for run in runs if run.model_id is not None)
    return next(
        (model_id for model_id in models if not is_imported(read_manifest(work.folder("model", model_id)))), None
    )
