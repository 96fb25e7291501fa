"""Methods."""

from __future__ import annotations

from typing import Literal

from app.api.schemas.base import Answer, Page
from app.api.schemas.prompts import MeanMetrics
from app.api.schemas.runs import RunSummary


class Method(Answer):
    """A method in plain words, and its current runs."""

    slug: str
    """Name of the method in addresses and fields."""
    title: str
    """Its name as pages show it."""
    line: str
    """What it ranks by, in one sentence."""
    caveat: str
    """What its lists must not be taken for."""
    looks_at_model: bool
    """Whether its scores depend on the model at all."""
    runs: list[RunSummary]
    """Its newest run for each set of prompts; empty where it has not run."""
    metrics: dict[Literal["facts"], MeanMetrics]
    """Means of those runs over the facts; empty where nothing was measured."""


class MethodList(Page[Method]):
    """Methods in the order of pages; always one page."""
