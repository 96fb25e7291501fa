"""Train a model again without some passages, and compare what both models say: `proponent train --without`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backend.catalogue.comparisons import (
    Wanted,
    cells,
    cells_by_stated,
    find_comparison,
    list_changes,
    rows_of,
    stated_rows,
)
from backend.catalogue.database import read_session
from backend.core.artifacts import Manifest, read_manifest
from backend.core.errors import UserError
from backend.core.left_out import LeftOut, is_of_part, leave_out, read_ids
from backend.models.generation import GenerationConfig
from backend.models.training import TrainingConfig
from backend.pipeline import stages
from backend.pipeline.own_data import IMPORT_FIRST, query_sets_of
from backend.pipeline.tables import aligned
from backend.pipeline.viewer_artifacts import is_imported
from backend.pipeline.workspace import Workspace

CHANGED = 10
"""So many prompts are named: those that changed most."""

STATED_WORDS = {"all": "all left out", "some": "in part left out", "none": "all kept"}

CHOOSE = "Give the id of a model that `proponent train` made of a whole corpus."


def train_without(work: Workspace, listed: Path, corpus_id: str | None, base_id: str | None) -> dict[str, Any]:
    """Train on all passages but the listed ones, let both models answer every query set, and say what changed.

    Raises UserError, before anything is made, for a list or a model that will not do.
    """
    ids = read_ids(listed)
    base_id, base = _base_model(work, corpus_id, base_id)
    corpus_id = str(base.inputs["corpus"])
    left_out = leave_out(base_id, ids, work.passages(corpus_id), corpus_id)
    count = f"{len(ids):,} {'passage' if len(ids) == 1 else 'passages'}"
    settings = TrainingConfig.of_model(base.config)
    config = replace(settings, name=f"{settings.name} without {count}")
    work.reporter.plan(
        [
            ("train/without", f"Training the model without {count}"),
            ("train/answers", "Letting both models answer"),
        ]
    )
    with work.reporter.stage("train/without", "tokens") as report:
        command = f"proponent train --without without.txt --model {base_id}"
        model_id = stages.train_model(work, corpus_id, config, report, left_out, command)
    with work.reporter.stage("train/answers", "prompts") as report:
        work.catalogue("model", base_id)
        for query_set_id in query_sets_of(work, corpus_id):
            for answering in (base_id, model_id):
                stages.answer_queries(work, answering, query_set_id, GenerationConfig(kind="greedy"), report)
    return _result(work, model_id, left_out, corpus_id)


def _base_model(work: Workspace, corpus_id: str | None, model_id: str | None) -> tuple[str, Manifest]:
    """The named model, or the newest that was trained on the whole corpus."""
    models = {found: read_manifest(work.folder("model", found)) for found in work.home.finished("model")}
    if model_id is None:
        corpus_id = corpus_id or work.newest("corpus", IMPORT_FIRST)
        whole = [found for found, model in models.items() if _is_whole(model) and model.inputs["corpus"] == corpus_id]
        if not whole:
            raise UserError(
                f"No model was trained on the whole corpus {corpus_id} yet, so there is none to compare with.",
                "Run `proponent train` first.",
            )
        return whole[-1], models[whole[-1]]
    if model_id not in models:
        raise UserError(f"There is no model {model_id!r} in {work.home.root}.", CHOOSE)
    model = models[model_id]
    if is_of_part(model.config):
        raise UserError(f"Model {model_id} was itself trained without some passages.", CHOOSE)
    if not _is_whole(model):
        raise UserError(f"Model {model_id} was not trained here, so it cannot be trained again.", CHOOSE)
    if corpus_id not in (None, model.inputs["corpus"]):
        raise UserError(f"Model {model_id} was trained on corpus {model.inputs['corpus']}, not {corpus_id}.", CHOOSE)
    return model_id, model


def _is_whole(model: Manifest) -> bool:
    return model.inputs.get("corpus") is not None and not is_imported(model) and not is_of_part(model.config)


def _result(work: Workspace, model_id: str, left_out: LeftOut, corpus_id: str) -> dict[str, Any]:
    """What the command prints; rows as `/comparisons/{model}.json` has them."""
    with read_session(work.engine) as session:
        found = find_comparison(session, model_id)
        assert found is not None, "the model has just been loaded"
        by_cell, by_stated = cells(session, found), cells_by_stated(session, found)
        changed = list_changes(session, found, Wanted(most_changed=True), 1, CHANGED)
    return {
        "model": model_id,
        "base": left_out.base,
        "corpus": corpus_id,
        "left_out": len(left_out.ids),
        "sha256": left_out.settings["sha256"],
        "url": f"{_origin(work)}/comparisons/{model_id}",
        "rows": rows_of(by_cell),
        "stated": stated_rows(by_stated),
        "changed": [asdict(change) for change in changed],
    }


def _origin(work: Workspace) -> str:
    """Where `proponent serve` shows pages under these settings."""
    settings = work.settings
    return (settings.public_url or f"http://{settings.host}:{settings.port or 8000}").rstrip("/")


def comparison_text(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    header = ("n", "right before", "after", "change", "95% interval", "probability before", "after")
    rows = [(row["task"] or "all", row["bucket"] or "all", *_numbers(row)) for row in result["rows"]]
    stated = [(STATED_WORDS[row["left_out"]], *_numbers(row)) for row in result["stated"]]
    changed = [
        (row["query_id"], _or_dash(row["probability_before"], "{:.4f}"), _or_dash(row["probability_after"], "{:.4f}"))
        for row in result["changed"]
    ]
    parts = [
        f"model {result['model']}: {result['base']} trained again without {result['left_out']:,} passages",
        aligned([("task", "bucket", *header), *rows]),
    ]
    if stated:
        parts.append(aligned([("prompts whose stating passages were", *header), *stated]))
    parts.append(aligned([("changed most", "probability before", "after"), *changed]))
    parts.append(f"Compare prompt by prompt at {result['url']} while `proponent serve` runs.")
    return "\n\n".join(parts)


def _numbers(row: dict[str, Any]) -> tuple[str, ...]:
    interval = "-" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
    return (
        str(row["n"]),
        _or_dash(row["accuracy_before"], "{:.3f}"),
        _or_dash(row["accuracy_after"], "{:.3f}"),
        _or_dash(row["difference"], "{:+.3f}"),
        interval,
        _or_dash(row["probability_before"], "{:.4f}"),
        _or_dash(row["probability_after"], "{:.4f}"),
    )


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
