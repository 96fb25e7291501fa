"""Runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from app.api.schemas.base import Answer, Count, Moment, Page


class RunSummary(Answer):
    """What a run is made of."""

    id: str
    """Id of the run: its method and a hash of everything that went into it."""
    url: str
    """Address of the run's page, relative to this host."""
    method: str
    """Slug of the method."""
    model: str | None
    """Id of the model; null for a method that looks at none."""
    corpus: str
    """Id of the corpus whose passages are ranked."""
    queries: str
    """Id of the set of prompts that passages are ranked for."""
    created_at: Moment
    """When it was made, with its time zone."""


class FactMetrics(Answer):
    """Means over a run's prompts of the task `facts`."""

    mrr: float | None
    """Mean reciprocal rank of the first passage that states the fact, from 0 to 1."""
    recall_at_10: float | None
    """Mean share of prompts with a stating passage among the first 10, from 0 to 1; null where it is not stored."""
    n: Count
    """How many prompts the means are over."""


class RunItem(RunSummary):
    """A run in a list."""

    current: bool
    """Whether it is the newest run of its method over its prompts."""
    metrics: dict[Literal["facts"], FactMetrics]
    """Means over the facts; empty where nothing was measured."""


class RunList(Page[RunItem]):
    """Runs, newest first."""


class MetricLine(BaseModel):
    """A run's means over one task and bucket: a field for each metric beside the three below."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, float | None]

    task: str | None
    """Slug of the task; null for all tasks."""
    bucket: str | None
    """How many passages state the fact; null for all."""
    n: Count
    """How many prompts the means are over."""


class RunInputs(Answer):
    """Manifests of what the run was made from."""

    corpus: dict[str, Any]
    """The corpus's manifest."""
    queries: dict[str, Any]
    """The manifest of the set of prompts."""
    model: dict[str, Any] | None
    """The model's manifest; null for a method that looks at none."""


class IndexPart(Answer):
    """The index of one geometry: of the queries with the same R."""

    file: str
    """Name of its file in the index's folder."""
    geometry: int
    """Number of the geometry; for TrackStar 0 is R_train, 1 the mixed R."""
    tasks: list[str]
    """Slugs of the tasks whose prompts have it."""
    weight: float | None
    """How much of R_eval is in its R; null for a method that mixes nothing."""
    bytes: Count
    """Size of the file."""
    build_seconds: float
    """How long it took to make."""
    queries: Count
    """How many prompts its recall is over."""
    recall_at_100: float | None
    """Mean share of the exact list's passages that it finds; null where every list is empty."""


class RunIndex(Answer):
    """An index of the run's vectors, and how searching through it compared with the exact scan."""

    id: str
    """Id of the index."""
    created_at: Moment
    """When it was made, with its time zone."""
    factory: str
    """FAISS's factory string."""
    candidates: Count
    """How many passages of it are scored exactly for a list of 100."""
    queries: Count
    """How many prompts the comparison is over."""
    recall_at_100: float | None
    """Mean share of the exact list's passages that it finds; null where every list is empty."""
    index_seconds: float
    """Median seconds of a prompt through the index, its backward pass not counted."""
    exact_seconds: float
    """The same by the exact scan, in turns with the index."""
    bytes: Count
    """Size of all its files."""
    geometries: list[IndexPart]
    """A part for each geometry that the run's prompts have."""


class Run(RunSummary):
    """One run: what it was made from, its metrics, and how its model learnt."""

    store: str | None
    """Id of the store of gradients that it scores; null for a method without one."""
    passages: Count
    """How many passages its corpus has."""
    prompts: Count
    """How many prompts it ranks passages for."""
    manifest: dict[str, Any]
    """The run's whole manifest: configuration, facts, versions, seconds, bytes of memory."""
    inputs: RunInputs
    """Manifests of what went into it."""
    metrics: list[MetricLine]
    """Means by task and bucket."""
    index: RunIndex | None
    """Its newest index; null where there is none."""
    training: dict[str, Any] | None
    """Its model's training record with every step of the learning curve; null for a model that was not trained here."""
