"""One prompt with the stored lists of some runs, and the JSON twin of its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.http.errors import FieldError
from app.methods_text import method_order
from app.prompts.parameters import DEFAULT_METHODS
from app.prompts.views import output_of, prompt_fields
from backend.catalogue import prompts as catalogue
from backend.catalogue.models import Output, Prompt, Ranking
from backend.catalogue.prompts import RankedRow
from backend.catalogue.runs import RunSummary, current_runs, runs_by_id

MOST_PINNED = 20
"""Runs that one address pins."""


class MissingMethods(Exception):
    """Methods were asked for that have no run for this prompt."""

    def __init__(self, missing: Sequence[str], available: Sequence[str]) -> None:
        known = f"there are {', '.join(available)}" if available else "it has none yet"
        names = ", ".join(missing)
        self.error = FieldError("methods", f"{names}: no run ranks passages for this prompt; {known}")
        super().__init__(self.error.message)


class MissingRun(Exception):
    """A permalink names a run that is not there or does not rank passages for the prompt."""


@dataclass(frozen=True, slots=True)
class Rankings:
    """A prompt with the stored lists of some runs."""

    prompt: Prompt
    corpus_id: str
    query_set_id: str
    """The set whose runs answer: the prompt's own, or of a reader's question the one that was asked."""
    runs: list[RunSummary]
    rankings: dict[str, Ranking]
    """By run id."""
    lists: dict[str, list[RankedRow]]
    """By run id: opponents from -1 on, proponents from 1 on, each side in the order of its ranks."""
    entailing: set[int]
    output: Output | None

    def entails(self, passage_pk: int) -> bool | None:
        """Whether a passage states the fact; None where that has no meaning."""
        return None if self.prompt.frequency is None else passage_pk in self.entailing

    def side(self, run: RunSummary, side: str) -> list[RankedRow]:
        """The stored passages of a side, first ranks first."""
        return [row for row in self.lists[run.id] if (row.rank > 0) == (side == "proponents")]


def load_current(session: Session, slug: str) -> Rankings | None:
    """A prompt with the newest run of each method; None if there is no such prompt."""
    found = catalogue.prompt_by_slug(session, slug)
    if found is None:
        return None
    prompt, corpus_id = found
    runs = current_runs(session, catalogue.answering_set_of(session, prompt))
    return _load(session, prompt, corpus_id, runs, [prompt.output_model_id])


def load_pinned(session: Session, slug: str, run_ids: Sequence[str]) -> Rankings | None:
    """A prompt with exactly these runs; None if there is no such prompt. Raises MissingRun."""
    found = catalogue.prompt_by_slug(session, slug)
    if found is None:
        return None
    prompt, corpus_id = found
    runs = runs_by_id(session, run_ids)
    if missing := [run_id for run_id in run_ids if run_id not in runs]:
        raise MissingRun(f"There is no run {', '.join(missing)} here.")
    pinned = [runs[run_id] for run_id in run_ids]
    models = [*(run.model_id for run in pinned), prompt.output_model_id]
    loaded = _load(session, prompt, corpus_id, pinned, models)
    if len(loaded.runs) < len(run_ids):
        raise MissingRun("Not every run of this address ranks passages for this prompt.")
    return loaded


def _load(
    session: Session,
    prompt: Prompt,
    corpus_id: str,
    runs: Sequence[RunSummary],
    models: Sequence[str | None],
) -> Rankings:
    rankings = {
        ranking.run_id: ranking
        for ranking in catalogue.rankings_of_prompt(session, prompt.pk, [run.id for run in runs])
    }
    ranked = [run for run in runs if run.id in rankings]
    by_pk = {ranking.pk: run_id for run_id, ranking in rankings.items()}
    lists: dict[str, list[RankedRow]] = {run.id: [] for run in ranked}
    for row in sorted(catalogue.ranked_rows(session, list(by_pk)), key=lambda row: abs(row.rank)):
        lists[by_pk[row.ranking_pk]].append(row)
    return Rankings(
        prompt=prompt,
        corpus_id=corpus_id,
        query_set_id=catalogue.answering_set_of(session, prompt),
        runs=ranked,
        rankings=rankings,
        lists=lists,
        entailing=catalogue.entailing_passages(session, prompt.pk),
        output=output_of(catalogue.outputs_of(session, prompt.pk), models),
    )


def run_order(run: RunSummary) -> tuple[int, str]:
    """Sort key: runs in the order of their methods."""
    return method_order(run.method)


def choose(loaded: Rankings, chosen: tuple[str, ...] | None) -> list[RunSummary]:
    """The runs whose methods were asked for, or the default ones; raises MissingMethods."""
    by_method = {run.method: run for run in sorted(loaded.runs, key=run_order)}
    if chosen is None:
        usual = [by_method[method] for method in DEFAULT_METHODS if method in by_method]
        others = [run for run in by_method.values() if run not in usual]
        return (usual + others)[: len(DEFAULT_METHODS)]
    if missing := [method for method in chosen if method not in by_method]:
        raise MissingMethods(missing, list(by_method))
    return [by_method[method] for method in chosen]


def prompt_json(session: Session, loaded: Rankings, shown: Sequence[RunSummary], k: int) -> dict[str, Any]:
    """A prompt and the rankings of the shown runs, in the shape that programs rely on."""
    output = loaded.output
    return {
        **prompt_fields(loaded.prompt),
        "output": None
        if output is None
        else {
            "text": output.text,
            "probability": output.probability,
            "completion_probability": output.completion_probability,
            "correct": output.correct,
            "samples": output.samples,
        },
        "rankings": [
            {"run": run.id, "method": run.method, **{side: entries[run.id, side] for side in SIDES}}
            for entries in (_entries(session, loaded, shown, k),)
            for run in shown
        ],
    }


SIDES = ("proponents", "opponents")
EXPORT_COLUMNS = (
    *("slug", "prompt", "completion", "run", "method", "side"),
    *("rank", "score", "percentile", "passage_id", "source", "group", "entails", "tail_patch", "text"),
)


def export_rows(session: Session, loaded: Rankings, shown: Sequence[RunSummary], k: int | None) -> list[dict[str, Any]]:
    """The passages of the shown runs' lists, a row each."""
    prompt = loaded.prompt
    named = {"slug": prompt.slug, "prompt": prompt.prompt, "completion": prompt.completion}
    entries = _entries(session, loaded, shown, k)
    return [
        {**named, "run": run.id, "method": run.method, "side": side, **entry}
        for run in shown
        for side in SIDES
        for entry in entries[run.id, side]
    ]


def _entries(
    session: Session, loaded: Rankings, shown: Sequence[RunSummary], k: int | None
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(run id, side) -> its first k passages; None: all that are stored."""
    rows = {(run.id, side): loaded.side(run, side)[:k] for run in shown for side in SIDES}
    passages = catalogue.passages_by_pk(session, {row.passage_pk for some in rows.values() for row in some})

    def entry(row: RankedRow) -> dict[str, Any]:
        passage = passages[row.passage_pk]
        return {
            **catalogue.ranked_fields(row, passage),
            "group": passage.near_duplicates,
            "entails": loaded.entails(row.passage_pk),
            "tail_patch": row.tail_patch,
        }

    return {key: [entry(row) for row in some] for key, some in rows.items()}
