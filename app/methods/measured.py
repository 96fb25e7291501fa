"""What measurements say of methods: along training, by kinds of proponents, and of the store's projections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.charts import Lines, lines
from app.methods.breakdowns import METRICS
from app.methods_text import MethodText, method_order, method_text
from backend.catalogue.measurements import Measured

BAR = 600.0
"""Width of a stacked bar, in units of its view box."""

ROW_SETS = {"raw": "raw gradients", "v": "V-corrected gradients"}
PROJECTIONS = {"random": "random", "pca": "PCA"}


@dataclass(frozen=True, slots=True)
class Course:
    """One model along its training."""

    name: str
    parameters: int
    chart: Lines | None
    rows: list[Mapping[str, Any]]
    """Rows of the measurement, by step, then method."""


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """All models, and how many facts each answers along the way."""

    courses: list[Course]
    learnt: Lines | None


def checkpoints(measured: Measured, metric: str, drawn: Sequence[str]) -> Checkpoints:
    """Numbers at every checkpoint; ``drawn`` are the methods whose lines keep their style from other charts."""
    facts = measured.facts
    learnt = []
    courses = []
    for number, model in enumerate(facts["models"]):
        own = [row for row in facts["rows"] if row["model"] == model["model"]]
        steps = sorted({row["step"] for row in own})
        cells = {(row["method"], row["step"]): row for row in own}
        methods = sorted({row["method"] for row in own}, key=method_order)
        styles = _styles(methods, drawn)
        series = [
            (method_text(slug).title, styles[slug], [_value(cells, slug, step, METRICS[metric]) for step in steps])
            for slug in methods
        ]
        courses.append(
            Course(
                name=model["name"],
                parameters=model["parameters"],
                chart=lines(series, [str(step) for step in steps], xs=steps),
                rows=sorted(own, key=lambda row: (row["step"], method_order(row["method"]))),
            )
        )
        right = {row["step"]: row["exact_match"] for row in own}
        learnt.append((model["name"], number, right))
    every = sorted({step for _, _, right in learnt for step in right})
    return Checkpoints(
        courses=courses,
        learnt=lines(
            [(name, style, [right.get(step) for step in every]) for name, style, right in learnt],
            [str(step) for step in every],
            xs=every,
            height=180,
        ),
    )


def _value(cells: Mapping[tuple[str, int], Mapping[str, Any]], slug: str, step: int, key: str) -> float | None:
    value = cells.get((slug, step), {}).get(key)
    return None if value is None else float(value)


def _styles(methods: Sequence[str], drawn: Sequence[str]) -> dict[str, int]:
    """The style of each method's line: as in the other charts, others take what is left."""
    styles = {slug: drawn.index(slug) for slug in methods if slug in drawn}
    free = iter(style for style in range(len(methods) + len(drawn)) if style not in styles.values())
    return {slug: styles[slug] if slug in styles else next(free) for slug in methods}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stacked bar."""

    kind: str
    style: int
    x: float
    width: float
    share: float


@dataclass(frozen=True, slots=True)
class KindRow:
    """A method's proponents by kind."""

    text: MethodText
    n: int
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class KindExample:
    """A passage of a kind."""

    kind: str
    query_id: str
    slug: str | None
    passage_id: str


@dataclass(frozen=True, slots=True)
class Kinds:
    """Shares of the kinds, by method."""

    k: int
    queries: int
    kinds: list[str]
    rows: list[KindRow]
    examples: list[KindExample]
    corpus_id: str | None


def kinds(measured: Measured, slugs: Mapping[str, str]) -> Kinds:
    """Stacked shares; ``slugs`` are the addresses of the example queries, by query id."""
    facts = measured.facts
    rows = []
    for row in facts["rows"]:
        pieces, x = [], 0.0
        for style, kind in enumerate(facts["kinds"]):
            share = row["shares"].get(kind, 0.0)
            pieces.append(Piece(kind, style, round(x, 2), round(BAR * share, 2), share))
            x += BAR * share
        rows.append(KindRow(method_text(row["method"]), row["n"], pieces))
    return Kinds(
        k=facts["k"],
        queries=facts["queries"],
        kinds=facts["kinds"],
        rows=rows,
        examples=[
            KindExample(kind, one["query"], slugs.get(one["query"]), one["passage"])
            for kind in facts["kinds"]
            if (one := facts.get("examples", {}).get(kind))
        ],
        corpus_id=measured.inputs.get("corpus"),
    )


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How well projected gradients keep the products of whole ones."""

    queries: int
    passages: int
    store_rank: int | None
    chart: Lines | None
    rows: list[Mapping[str, Any]]
    here: list[tuple[str, float]]
    """(row set in words, Pearson) at the store's own rank, random projections."""


def fidelity(measured: Measured) -> Fidelity:
    """Correlation by rank for each row set and way to project."""
    facts = measured.facts
    ranks = sorted({row["rank"] for row in facts["rows"]})
    series = []
    for style, (row_set, projection) in enumerate(
        dict.fromkeys((row["row_set"], row["projection"]) for row in facts["rows"])
    ):
        cells = {
            row["rank"]: row["pearson"]
            for row in facts["rows"]
            if (row["row_set"], row["projection"]) == (row_set, projection)
        }
        name = f"{ROW_SETS.get(row_set, row_set).split()[0]}, {PROJECTIONS.get(projection, projection)}"
        series.append((name, style, [cells.get(rank) for rank in ranks]))
    store_rank = facts.get("store_rank")
    return Fidelity(
        queries=facts["queries"],
        passages=facts["passages"],
        store_rank=store_rank,
        chart=lines(series, [str(rank) for rank in ranks]),
        rows=facts["rows"],
        here=[
            (ROW_SETS.get(row["row_set"], row["row_set"]), row["pearson"])
            for row in facts["rows"]
            if row["rank"] == store_rank and row["projection"] == "random"
        ],
    )
