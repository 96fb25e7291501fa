"""The page of methods: what its template shows and what its JSON twin holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app.http.formats import address
from app.http.parameters import FieldError
from app.methods import ablation, breakdowns, measured, table
from app.methods.explained import TERMS, Explained, Term, explained
from app.methods.parameters import MOST_LINES, MethodsParameters
from app.methods_text import METHOD_TEXTS, MethodText, method_order, method_text
from app.prompts.highlight import prompt_pieces
from app.prompts.links import Choice
from backend.catalogue import method_tables as catalogue
from backend.catalogue.evaluation import retrieval_table
from backend.catalogue.measurements import Measured, newest_measurements
from backend.catalogue.method_tables import ListExample, MeasuredSet
from backend.catalogue.prompt_lists import MeanMetrics, PromptFilter, mean_metrics
from backend.catalogue.runs import RunSummary, current_runs

SECTIONS = {
    "checkpoints": "proponent evaluate checkpoints",
    "kinds": "proponent evaluate kinds",
    "fidelity": "proponent evaluate fidelity",
}
"""Measurement that a section shows -> the command that makes it."""


class UnknownQuerySet(Exception):
    """No method has been run over the query set asked for."""

    error = FieldError("query_set", "names no query set that a method has been run over")


@dataclass(frozen=True, slots=True)
class ShownList:
    """A link to a prompt that shows what a method does."""

    label: str
    pieces: tuple[str, str, str]
    url: str


@dataclass(frozen=True, slots=True)
class ShownMethod:
    """A method in words, with where to see it."""

    text: MethodText
    explained: Explained
    run_id: str | None
    command: str | None
    """What would make a run of it, where there is none."""
    lists: list[ShownList]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Everything measured over one query set."""

    query_set: MeasuredSet
    runs: list[RunSummary]
    retrieval: list[dict[str, Any]]
    measured: dict[str, Measured]
    right: dict[str, MeanMetrics]
    wrong: dict[str, MeanMetrics]
    table: table.PaperTable


@dataclass(frozen=True, slots=True)
class MethodsPage:
    """Everything that the page shows; without any run only the words."""

    numbers: Numbers | None
    query_sets: list[Choice]
    metrics: list[Choice]
    metric_title: str
    is_points: bool
    lines: list[Choice]
    lines_full: bool
    """As many lines are drawn as can be told apart: others only instead of them."""
    ablation: ablation.Ablation | None
    buckets: breakdowns.Grid | None
    tasks: breakdowns.Grid | None
    answers: breakdowns.Grid | None
    checkpoints: measured.Checkpoints | None
    kinds: measured.Kinds | None
    fidelity: measured.Fidelity | None
    missing: Mapping[str, str]
    methods: list[ShownMethod]
    terms: tuple[Term, ...]
    twin: str


def _numbers(session: Session, asked: MethodsParameters, home: Path) -> tuple[list[MeasuredSet], Numbers | None]:
    sets = catalogue.measured_sets(session)
    if not sets:
        if asked.query_set is not None:
            raise UnknownQuerySet
        return [], None
    chosen = sets[0] if asked.query_set is None else next((one for one in sets if one.id == asked.query_set), None)
    if chosen is None:
        raise UnknownQuerySet
    runs = current_runs(session, chosen.id)
    run_ids = [run.id for run in runs]
    retrieval = retrieval_table(session, query_set_id=chosen.id)
    found = newest_measurements(session, chosen.id)
    right, wrong = (
        mean_metrics(session, PromptFilter(task="facts", correct=correct, query_set=chosen.id), run_ids)
        for correct in (True, False)
    )
    numbers = Numbers(
        query_set=chosen,
        runs=runs,
        retrieval=retrieval,
        measured=found,
        right=right,
        wrong=wrong,
        table=table.paper_table(
            runs,
            retrieval,
            found,
            catalogue.tail_patch_baselines(session, chosen.id),
            catalogue.run_costs(session, run_ids),
            home,
        ),
    )
    return sets, numbers


def methods_page(session: Session, asked: MethodsParameters, home: Path) -> MethodsPage:
    """The page over the newest query set with facts, or the one asked for; raises UnknownQuerySet.

    ``home`` holds the gradient stores, whose manifests say what they cost.
    """
    sets, numbers = _numbers(session, asked, home)
    retrieval = numbers.retrieval if numbers else []
    known = sorted({row["method"] for row in retrieval if row["task"] == "facts"}, key=method_order)
    drawn = asked.lines(known)
    found = numbers.measured if numbers else {}
    links = _Links(asked)
    kinds = found.get("kinds")
    return MethodsPage(
        numbers=numbers,
        query_sets=[
            Choice(one.name, links.to(query_set=one.id), numbers is not None and one == numbers.query_set)
            for one in sets
            if one.facts
        ],
        metrics=[
            Choice(title, f"{links.to(metric=name)}#frequency", name == asked.metric)
            for name, title in (("mrr", "MRR"), ("tail-patch", "Tail-patch"))
        ],
        metric_title=breakdowns.METRIC_TITLES[asked.metric],
        is_points=asked.metric == "tail-patch",
        lines=[links.line(slug, known, drawn) for slug in known],
        lines_full=len(drawn) == MOST_LINES < len(known),
        ablation=ablation.ablation(retrieval, {run.method for run in numbers.runs}) if numbers else None,
        buckets=breakdowns.by_bucket(retrieval, asked.metric, drawn),
        tasks=breakdowns.by_task(retrieval, asked.metric),
        answers=breakdowns.by_answer(numbers.right, numbers.wrong, asked.metric) if numbers else None,
        checkpoints=measured.checkpoints(found["checkpoints"], asked.metric, drawn) if "checkpoints" in found else None,
        kinds=measured.kinds(kinds, _slugs(session, kinds)) if kinds else None,
        fidelity=measured.fidelity(found["fidelity"]) if "fidelity" in found else None,
        missing={what: command for what, command in SECTIONS.items() if what not in found},
        methods=_methods(session, numbers),
        terms=TERMS,
        twin=address("/methods.json", {"query_set": asked.query_set}),
    )


def _slugs(session: Session, kinds: Measured) -> dict[str, str]:
    queries = [one["query"] for one in kinds.facts.get("examples", {}).values()]
    return catalogue.slugs_of(session, kinds.query_set_id, queries)


class _Links:
    """This page with something changed."""

    def __init__(self, asked: MethodsParameters) -> None:
        self._asked = asked

    def to(self, **changed: str) -> str:
        kept = {**self._asked.model_dump(exclude_defaults=True), **changed}
        if kept.get("metric") == "mrr":
            del kept["metric"]
        return address("/methods", kept)

    def line(self, slug: str, known: list[str], drawn: list[str]) -> Choice:
        """With a method's line taken out of the charts, or put into them."""
        rest = [other for other in known if other in drawn and other != slug]
        wanted = rest if slug in drawn else [other for other in known if other in {*drawn, slug}]
        return Choice(method_text(slug).title, f"{self.to(methods=','.join(wanted))}#frequency", slug in drawn)


def _methods(session: Session, numbers: Numbers | None) -> list[ShownMethod]:
    """Every method that is known or has a run; runs are of the query set shown, else the newest."""
    runs = {run.method: run for run in reversed(current_runs(session))}
    runs |= {run.method: run for run in numbers.runs} if numbers else {}
    examples_of = catalogue.list_examples(session, [run.id for run in runs.values()])
    shown = []
    for slug in sorted({*METHOD_TEXTS, *runs}, key=method_order):
        run = runs.get(slug)
        examples = examples_of.get(run.id) if run else None
        offered = run is None and slug not in table.NOT_OFFERED
        shown.append(
            ShownMethod(
                text=method_text(slug),
                explained=explained(slug),
                run_id=run.id if run else None,
                command=f"proponent rank --method {slug}" if offered else None,
                lists=_lists(slug, *examples) if examples else [],
            )
        )
    return shown


def _lists(slug: str, best: ListExample, worst: ListExample) -> list[ShownList]:
    """The example that it traces best and, unless it is another such one, the one that it traces worst."""
    named = [(f"first stated at rank {_rank(best)}", best)] if best.reciprocal_rank else []
    if worst.reciprocal_rank < 1:
        rank = f"first stated at rank {_rank(worst)}" if worst.reciprocal_rank else "not found at all"
        named.append((rank, worst))
    return [
        ShownList(
            label,
            prompt_pieces(one.prompt, one.completion),
            address(f"/prompts/{one.slug}", {"methods": slug}),
        )
        for label, one in named
    ]


def _rank(example: ListExample) -> int:
    return round(1 / example.reciprocal_rank)


def methods_json(session: Session, asked: MethodsParameters, home: Path) -> dict[str, Any]:
    """All numbers of the page, whatever its charts show; raises UnknownQuerySet."""
    sets, numbers = _numbers(session, asked, home)
    runs = {run.method for run in numbers.runs} if numbers else set()
    found = numbers.measured if numbers else {}
    grid = ablation.ablation(numbers.retrieval, runs) if numbers else None
    return {
        "query_set": numbers.query_set.id if numbers else None,
        "query_sets": [{"id": one.id, "name": one.name, "corpus": one.corpus_id, "facts": one.facts} for one in sets],
        "table": table.table_json(numbers.table) if numbers else None,
        "ablation": ablation.ablation_json(grid) if grid else [],
        "retrieval": numbers.retrieval if numbers else [],
        "answers": breakdowns.answers_json(numbers.right, numbers.wrong) if numbers else [],
        "measurements": {
            what: {
                "id": one.id,
                "created_at": one.created_at.isoformat(),
                "model": one.model_id,
                "command": one.command,
                "seconds": one.seconds,
                "facts": one.facts,
            }
            for what, one in sorted(found.items())
        },
        "missing": {
            **(numbers.table.missing if numbers else table.COMMANDS),
            **{what: command for what, command in SECTIONS.items() if what not in found},
        },
        "methods": [
            {
                "slug": one.text.slug,
                "title": one.text.title,
                "line": one.text.line,
                "formula": one.explained.formula,
                "caveat": one.text.caveat,
                "fails": one.explained.fails,
                "looks_at_model": one.text.looks_at_model,
                "run": one.run_id,
            }
            for one in _methods(session, numbers)
        ],
    }
