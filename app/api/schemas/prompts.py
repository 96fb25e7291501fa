"""Prompts and their lists of passages."""

from __future__ import annotations

from app.api.schemas.base import Answer, Count, Page, Rank


class MeanMetrics(Answer):
    """Means of one method over some prompts."""

    mrr: float | None
    """Mean reciprocal rank of the first passage that states the fact, from 0 to 1; null where `n` is 0."""
    recall_at_10: float | None
    """Mean share of prompts with a stating passage among the first 10, from 0 to 1; null where `n` is 0."""
    precision_at_1: float | None
    """Mean share of stating passages at rank 1, from 0 to 1; null where `n` is 0."""
    precision_at_10: float | None
    """Mean share of stating passages among the first 10, from 0 to 1; null where `n` is 0."""
    n: Count
    """How many prompts the four means are over: those whose fact at least one passage states."""
    tail_patch: float | None
    """Mean tail-patch score of the first 10 passages, in percentage points; null where it was not measured."""
    tail_patch_n: Count
    """How many prompts `tail_patch` is the mean over."""


class PromptMetrics(Answer):
    """How one run did on one prompt."""

    run: str
    """Id of the run."""
    reciprocal_rank: float | None
    """1 / rank of the first passage that states the fact, 0 if none is stored; null where no passage states it."""
    recall_at_10: float | None
    """1 if a stating passage is among the first 10, else 0; null where no passage states the fact."""
    precision_at_1: float | None
    """1 if the first passage states the fact, else 0; null where no passage states it."""
    precision_at_10: float | None
    """Share of stating passages among the first 10, from 0 to 1; null where no passage states the fact."""
    tail_patch: float | None
    """Mean tail-patch score of the first 10 passages, in percentage points; null where it was not measured."""


class Output(Answer):
    """The model's own answer to a prompt."""

    text: str
    """What the model says after the prompt."""
    probability: float | None
    """Probability of that text under the model, from 0 to 1 (of an imported answer the confidence that came with it);
    null if unknown."""
    correct: bool | None
    """Whether the answer is right; null where no answer is right or wrong."""


class Sample(Answer):
    """One sampled answer."""

    text: str
    """What was sampled."""
    probability: float | None
    """Its probability under the model, from 0 to 1; null if unknown."""


class SampledOutput(Output):
    """The model's own answer, with others that were sampled."""

    completion_probability: float | None
    """Probability of the prompt's completion under the model, from 0 to 1; null where it was not measured."""
    samples: list[Sample]
    """Sampled answers; empty until some are drawn."""


class PromptFields(Answer):
    """A prompt and its completion."""

    slug: str
    """Name of the prompt in addresses; it stays."""
    task: str | None
    """`facts`, `wrong-predictions`, `arithmetic`, `word-problems`, `commonsense`, `open-generation` or `controls`; null
    for a reader's question that was asked without one."""
    prompt: str
    """What the model is given."""
    completion: str
    """The text whose sources are looked for; it follows the prompt directly."""
    relation: str | None
    """Kind of fact, such as `capital`; null where there is none."""
    subject: str | None
    """What the fact is about; null where there is none."""
    object: str | None
    """What the fact says of the subject; null where there is none."""
    frequency: Count | None
    """How many passages state the fact; null where that has no meaning."""
    bucket: str | None
    """The frequency as `0`, `1`, `2-4`, `5-9`, `10-49` or `50+`; null where that has no meaning."""


class PromptItem(PromptFields):
    """A prompt in a list."""

    url: str
    """Address of the prompt's page, relative to this host."""
    output: Output | None
    """The model's own answer; null if there is none."""
    metrics: dict[str, PromptMetrics]
    """How the current run of each method did, by the method's slug."""


class PromptList(Page[PromptItem]):
    """Prompts of a filter, and the means over all of them."""

    metrics: dict[str, MeanMetrics]
    """Means over every prompt of the filter, by method slug; methods that were measured on none are left out."""


class RankedPassage(Answer):
    """A passage in a run's list for a prompt."""

    rank: Rank
    """1 for the highest score; in the list of opponents 1 for the lowest."""
    score: float
    """The method's score: comparable within one list, not between methods."""
    percentile: float | None
    """Percent of the scored passages with a lower score, ties by half; null for imported lists."""
    passage_id: str
    """Id of the passage in its corpus."""
    text: str
    """The whole passage."""
    source: str
    """Where it is from; may be empty."""
    group: str | None
    """Id of the first passage of its group of near-copies; null if it has none."""
    entails: bool | None
    """Whether the passage states the fact; null where that has no meaning."""
    tail_patch: float | None
    """Rise of the completion's probability after one training step on the passage, in percentage points; null where
    it was not measured."""


class PromptRanking(Answer):
    """One run's lists for a prompt."""

    run: str
    """Id of the run."""
    method: str
    """Slug of the run's method."""
    proponents: list[RankedPassage]
    """Passages behind the completion, highest score first."""
    opponents: list[RankedPassage]
    """Passages against it, lowest score first; at most 20 are stored."""


class Prompt(PromptFields):
    """One prompt, the model's answer, and the passages behind the completion."""

    output: SampledOutput | None
    """The model's own answer; null if there is none."""
    rankings: list[PromptRanking]
    """The lists of the current run of each method."""
