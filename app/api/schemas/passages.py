"""Passages and the prompts they stand behind."""

from __future__ import annotations

from app.api.schemas.base import Answer, Count, Page, Rank, Side


class PassageFields(Answer):
    """What every answer says of a passage."""

    id: str
    """Id of the passage in its corpus."""
    corpus: str
    """Id of the corpus."""
    position: Count
    """Row of the passage in its corpus, from 0."""
    source: str
    """Where it is from; may be empty."""
    title: str | None
    """Title that came with it, if any."""
    url: str | None
    """Where it was published, as its corpus says; not checked to be a web address."""
    license: str | None
    """License of the text, if its corpus says."""
    text: str
    """The whole passage."""


class PassageItem(PassageFields):
    """A passage in a list."""

    group: str | None
    """Id of the first passage of its group of near-copies; null if it has none."""


class PassageList(Page[PassageItem]):
    """Passages of a corpus, in its order."""


class NearDuplicates(Answer):
    """A group of near-copies."""

    group: str
    """Id of the group's first passage."""
    size: Count
    """How many passages the group has, this one too."""
    others: list[str]
    """Ids of up to 20 others."""


class Share(Answer):
    """In how many of a task's prompts the passage is a stored proponent."""

    task: str
    """Slug of the task."""
    influenced: Count
    """Prompts that list the passage as a proponent."""
    prompts: Count
    """All prompts of the task."""


class InfluencedPrompt(Answer):
    """A prompt whose list holds the passage."""

    slug: str
    """Name of the prompt in addresses."""
    run: str
    """Id of the run that ranks it."""
    rank: Rank
    """Rank of the passage in that list."""
    score: float
    """The method's score of the passage."""
    percentile: float | None
    """Percent of the scored passages with a lower score, ties by half; null for imported lists."""
    tail_patch: float | None
    """Change of the completion's probability by one training step on the passage, in percentage points; null: not
    measured.
    """
    prompt: str
    """What the model is given."""
    completion: str
    """The completion that the list is about."""
    task: str
    """Slug of the prompt's task."""


class Influence(Answer):
    """The prompts of one method that hold the passage on one side."""

    method: str
    """Slug of the method."""
    side: Side
    """Whether the passage stands behind these completions or against them."""
    total: Count
    """How many such prompts there are."""
    prompts: list[InfluencedPrompt]
    """The first of them, best rank first; `limit` says how many."""


class Passage(PassageFields):
    """One passage, its near-copies, and the prompts it stands behind or against."""

    content_hash: str | None
    """SHA-256 of the text as UTF-8, in hexadecimal digits."""
    near_duplicates: NearDuplicates | None
    """Its group of near-copies; null if it has none."""
    previous: str | None
    """Id of the passage before it in its source; null for the first."""
    next: str | None
    """Id of the passage behind it in its source; null for the last."""
    shares: list[Share]
    """By task, for the first method that looks at the model; empty where the passage is no proponent."""
    influences: list[Influence]
    """By method and side, for the current runs over its corpus."""
