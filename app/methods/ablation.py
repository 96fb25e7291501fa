"""The paper's ablation: what each part of TrackStar adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.methods.breakdowns import over_all_facts
from app.methods_text import MethodText, method_text

COLUMNS = ("no R", "R of the corpus (R_train)", "mixed R (corpus and task)")
LINES = (
    ("no V, no unit norm", ("gradient-dot", "logra", "trackstar-dot-no-v")),
    ("no V, unit norm", ("gradient-cosine", "trackstar-general-no-v", "trackstar-no-v")),
    ("V, no unit norm", ("gradient-dot-v", "logra-v", "trackstar-dot")),
    ("V, unit norm", ("gradient-cosine-v", "trackstar-general", "trackstar")),
)
"""Row -> the method of each cell, as backend/methods/README.md has them."""


@dataclass(frozen=True, slots=True)
class AblationCell:
    """A method of the grid; without a run here, its numbers are None."""

    text: MethodText
    has_run: bool
    mrr: float | None
    tail_patch: float | None


@dataclass(frozen=True, slots=True)
class Ablation:
    """The grid."""

    columns: tuple[str, ...]
    lines: list[tuple[str, list[AblationCell]]]


def ablation(retrieval: Sequence[Mapping[str, Any]], methods: set[str]) -> Ablation:
    """The grid over fact queries; ``methods`` are those with a run."""
    means = over_all_facts(retrieval)

    def cell(slug: str) -> AblationCell:
        row = means.get(slug, {})
        return AblationCell(method_text(slug), slug in methods, row.get("mrr"), row.get("tail_patch"))

    return Ablation(COLUMNS, [(title, [cell(slug) for slug in slugs]) for title, slugs in LINES])


def ablation_json(grid: Ablation) -> list[dict[str, Any]]:
    """The cells, row by row."""
    return [
        {
            "parts": title,
            "curvature": column,
            "method": cell.text.slug,
            "has_run": cell.has_run,
            "mrr": cell.mrr,
            "tail_patch": cell.tail_patch,
        }
        for title, cells in grid.lines
        for column, cell in zip(grid.columns, cells, strict=True)
    ]
