"""What pages say about each task, and about frequency buckets."""

from __future__ import annotations

from dataclasses import dataclass

from backend.core.records import TASKS


@dataclass(frozen=True, slots=True)
class TaskText:
    """A task in words."""

    slug: str
    title: str
    line: str


_TEXTS = {
    text.slug: text
    for text in (
        TaskText("facts", "Facts", "A fact about a country, an element and so on, to be completed."),
        TaskText("wrong-predictions", "Wrong predictions", "What the model said instead of the truth."),
        TaskText("arithmetic", "Arithmetic", "A sum or product to be worked out."),
        TaskText("word-problems", "Word problems", "Arithmetic told as a little story."),
        TaskText("commonsense", "Commonsense", "A sentence with one sensible ending."),
        TaskText("open-generation", "Open generation", "Free continuation: nothing is right or wrong."),
        TaskText("controls", "Controls", "Look-alikes of other prompts, to see what resemblance alone does."),
    )
}


def task_text(slug: str) -> TaskText:
    """The text of a task; an unknown one gets its slug as its title."""
    return _TEXTS.get(slug) or TaskText(slug, slug, "")


def task_order(slug: str) -> tuple[int, str]:
    """Sort key: tasks in the order of ``TASKS``."""
    return (TASKS.index(slug) if slug in TASKS else len(TASKS)), slug
