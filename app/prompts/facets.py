"""Facets of the list of prompts: their choices with counts, what is chosen as removable chips, and presets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from app.http.formats import address
from app.prompts.parameters import LONGEST_RELATION, ListedParameters
from app.tasks_text import task_order, task_text
from backend.catalogue.prompt_lists import FACETS, FacetCount, PromptFilter
from backend.core.metrics import BUCKETS

MOST_OPTIONS = 200
"""Choices of a facet that the form lists, those with most prompts."""

YES_NO = {
    "correct": ("right", "wrong"),
    "confident": ("over 50 %", "50 % or less"),
    "annotated": ("annotated", "not annotated"),
    "opponents": ("with opponents", "without"),
}
LABELS = {
    "task": "Task",
    "relation": "Relation",
    "bucket": "Stated in the corpus",
    "correct": "The model’s answer",
    "confident": "Its confidence",
    "annotated": "Annotations",
    "opponents": "Opponents",
}
ANY = {
    "task": "any task",
    "relation": "any relation",
    "correct": "right or wrong",
    "confident": "any confidence",
    "annotated": "annotated or not",
    "opponents": "with or without",
}


@dataclass(frozen=True, slots=True)
class Option:
    """A choice of a facet and how many prompts choosing it would leave."""

    value: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet; of a multiple one several choices hold at once."""

    name: str
    label: str
    any: str
    options: list[Option]
    multiple: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """Something chosen, and the address of the list without it."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A usual filter."""

    label: str
    url: str
    chosen: bool


def total_of(counts: Iterable[FacetCount], asked: ListedParameters) -> int:
    """How many prompts pass every facet."""
    wanted = asked.wanted
    return sum(count.count for count in counts if _passes(count, wanted))


def _passes(count: FacetCount, wanted: PromptFilter, but: str = "") -> bool:
    return all(
        name == but
        or (
            (not wanted.bucket or count.bucket in wanted.bucket)
            if name == "bucket"
            else getattr(wanted, name) in (None, getattr(count, name))
        )
        for name in FACETS
    )


def facets_of(counts: list[FacetCount], asked: ListedParameters) -> list[Facet]:
    """The facets that can narrow the list; one that nothing differs in and that is not chosen is left out."""
    found = []
    wanted = asked.wanted
    for name in FACETS:
        tally: Counter[Any] = Counter()
        for count in counts:
            value = getattr(count, name)
            if value is not None and len(str(value)) <= LONGEST_RELATION:
                tally[value] += count.count if _passes(count, wanted, but=name) else 0
        given = getattr(asked, name)
        if len(tally) < 2 and given is None:
            continue
        found.append(_facet(name, tally, asked))
    return found


def _facet(name: str, tally: Counter[Any], asked: ListedParameters) -> Facet:
    chosen = asked.wanted.bucket if name == "bucket" else (getattr(asked, name),)
    values = set(tally) | ({value for value in chosen if value is not None})
    kept = sorted(values, key=lambda value: (value not in chosen, -tally[value], str(value)))[:MOST_OPTIONS]
    label, order = _words(name)
    return Facet(
        name=name,
        label=LABELS[name],
        any=ANY.get(name, ""),
        options=[
            Option(_parameter(value), label(value), tally[value], value in chosen) for value in sorted(kept, key=order)
        ],
        multiple=name == "bucket",
    )


def _parameter(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(name: str) -> tuple[Callable[[Any], str], Callable[[Any], Any]]:
    """How a facet's values are called, and the order they stand in."""
    if name in YES_NO:
        yes, no = YES_NO[name]
        return (lambda value: yes if value else no), (lambda value: not value)
    if name == "task":
        return (lambda value: task_text(value).title), task_order
    if name == "bucket":
        return bucket_label, BUCKETS.index
    return str, str


def bucket_label(bucket: str) -> str:
    """ "2-4" -> "2–4 times"."""
    return {"0": "never", "1": "once"}.get(bucket, f"{bucket.replace('-', '–')} times")


def chips_of(asked: ListedParameters) -> list[Chip]:
    """What is chosen, search first."""
    listed = asked.list_address
    chips = [Chip(f"“{asked.q}”", _without(listed, "q"))] if asked.q else []
    for name in FACETS:
        given = getattr(asked, name)
        if given is not None:
            label, _ = _words(name)
            words = ", ".join(map(label, asked.wanted.bucket)) if name == "bucket" else label(given)
            chips.append(Chip(f"{LABELS[name]}: {words}", _without(listed, name)))
    return chips


def _without(listed: dict[str, object], name: str) -> str:
    return address("/prompts", {key: value for key, value in listed.items() if key != name})


PRESETS: tuple[tuple[str, dict[str, object]], ...] = (
    ("correct", {"correct": True}),
    ("correct and confident", {"correct": True, "confident": True}),
    ("correct, confident and common", {"correct": True, "confident": True, "bucket": "5-9,10-49,50+"}),
    ("common", {"bucket": "5-9,10-49,50+"}),
    ("very common", {"bucket": "10-49,50+"}),
    ("most common", {"bucket": "50+"}),
    ("confident", {"confident": True}),
)
"""The filters that the paper's viewer offers, in our buckets: its three most common of six, two, and one."""


def presets(asked: ListedParameters) -> list[Preset]:
    """The usual filters; each replaces the facets that it is about and keeps search, task, relation and order."""
    about = ("correct", "confident", "bucket")
    kept = {name: value for name, value in asked.list_address.items() if name not in about}
    now = {name: value for name in about if (value := getattr(asked, name)) is not None}
    return [
        Preset(label, address("/prompts", {**kept, **({} if now == given else given)}), now == given)
        for label, given in PRESETS
    ]
