"""The bundled demonstration: real prose, planted facts, arithmetic, stories; and the queries about them.

Everything is made from installed packages (see sources.py) and templates by seeded generators, so that the
same versions and seed give the same bytes in any process.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from backend.core.metrics import BUCKETS
from backend.core.records import Passage, Query
from backend.corpora.demonstration import (
    arithmetic,
    commonsense,
    controls,
    facts,
    planting,
    prose,
    sources,
    stories,
)

NAME = "demonstration"
DEFAULT_SEED = 20


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything there is."""

    entries: int | None
    """Entries of the Factbook that are read; None for all."""
    prose: int | None
    """Prose passages that are kept; None for all."""
    facts_per_relation: tuple[int, int, int, int, int, int]
    """Facts of a relation in each frequency bucket, from "0" to "50+"."""
    relations_with_most: int
    """How many of the relations have facts in the bucket "50+"."""
    contradicted: int
    sums: int
    asked_sums: int
    procedures: int
    word_problems: int
    asked_word_problems: int
    stories: int
    openings: int
    commonsense: int
    asked_commonsense: int
    controls: int


FULL = Size(
    entries=None,
    prose=None,
    facts_per_relation=(11, 11, 11, 11, 11, 7),
    relations_with_most=len(facts.RELATIONS),
    contradicted=24,
    sums=1000,
    asked_sums=54,
    procedures=600,
    word_problems=800,
    asked_word_problems=52,
    stories=850,
    openings=48,
    commonsense=900,
    asked_commonsense=48,
    controls=48,
)

TINY = Size(
    entries=3,
    prose=50,
    facts_per_relation=(1, 1, 1, 1, 1, 1),
    relations_with_most=1,
    contradicted=2,
    sums=14,
    asked_sums=6,
    procedures=6,
    word_problems=8,
    asked_word_problems=4,
    stories=8,
    openings=4,
    commonsense=10,
    asked_commonsense=4,
    controls=4,
)
"""For tests: seconds instead of minutes downstream, with every task and every bucket."""


def build(*, tiny: bool = False, seed: int = DEFAULT_SEED) -> tuple[list[Passage], list[Query]]:
    """The demonstration's passages and queries; raises InputError where a data package is missing.

    Passages have no near-duplicate groups yet: `backend.corpora.artifact.build_corpus` finds them.
    """
    size = TINY if tiny else FULL

    def rng(part: str) -> random.Random:
        return random.Random(f"{seed}/{part}")

    everything = sources.factbook()
    text = prose.factbook_passages(everything[: size.entries])[: size.prose]
    candidates = facts.candidate_facts(everything, sources.countries(), sources.elements(), _ordinary_words(text))
    quota = {}
    for place, relation in enumerate(facts.RELATIONS):
        counts = dict(zip(BUCKETS, size.facts_per_relation, strict=True))
        if place >= size.relations_with_most:
            counts[BUCKETS[-1]] = 0
        quota[relation] = counts
    if tiny:
        quota = {relation: quota[relation] for relation in facts.RELATIONS[:4]}
    planted = planting.plant_facts(candidates, text, quota, size.contradicted, rng("facts"))

    asked = arithmetic.asked_sums(size.asked_sums, rng("asked sums"))
    sums = arithmetic.arithmetic_passages(size.sums, asked, rng("sums"))
    procedures = arithmetic.procedure_passages(size.procedures, rng("procedures"))
    problems, problem_queries = arithmetic.word_problems(
        size.word_problems, size.asked_word_problems, rng("word problems")
    )
    passages = [
        *text,
        *planted.passages,
        *sums,
        *procedures,
        *problems,
        *stories.story_passages(size.stories, rng("stories")),
        *commonsense.commonsense_passages(size.commonsense, rng("commonsense")),
    ]
    queries = [
        *planted.queries,
        *arithmetic.arithmetic_queries(asked, passages),
        *problem_queries,
        *commonsense.commonsense_queries(size.asked_commonsense, rng("asked commonsense")),
        *stories.open_generation_queries(size.openings, rng("openings")),
        *controls.control_queries(size.controls, rng("controls")),
    ]
    return passages, queries


def _ordinary_words(passages: list[Passage]) -> set[str]:
    return {word for passage in passages for word in re.findall(r"(?<!\w)[a-z]+(?!\w)", passage.text)}
