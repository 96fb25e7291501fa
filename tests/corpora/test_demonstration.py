"""What the demonstration promises, checked on the full build."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from backend.core.metrics import BUCKETS
from backend.core.records import Passage, Query
from backend.core.text import holds_any
from backend.corpora.demonstration import build
from backend.corpora.demonstration.arithmetic import asked_sums, random_sum, result, stated_sums
from backend.corpora.demonstration.planting import bucket_counts
from backend.corpora.entailment import bucket_of, co_mentions, object_names, subject_names
from backend.corpora.near_duplicates import near_duplicate_groups

Demonstration = tuple[list[Passage], list[Query]]


@pytest.fixture(scope="module")
def full() -> Demonstration:
    return build()


@pytest.fixture(scope="module")
def tiny() -> Demonstration:
    return build(tiny=True)


def test_size(full: Demonstration) -> None:
    passages, queries = full
    assert 16_000 <= len(passages) <= 18_500
    assert sum(len(passage.text.split()) for passage in passages) <= 430_000
    assert 620 <= len(queries) <= 720
    sources = Counter(passage.source for passage in passages)
    assert 6_000 <= sources["factbook"] <= 9_600
    assert 4_000 <= sources["facts"] <= 5_500
    assert set(sources) == {
        "factbook",
        "facts",
        "distractors",
        "arithmetic",
        "procedures",
        "word-problems",
        "stories",
        "commonsense",
    }


def test_queries_of_every_task(full: Demonstration) -> None:
    tasks = Counter(query.task for query in full[1])
    assert 400 <= tasks["facts"] <= 480
    assert tasks["arithmetic"] >= 48
    assert tasks["word-problems"] >= 48
    assert min(tasks["open-generation"], tasks["commonsense"], tasks["controls"]) >= 44


def test_facts_in_every_bucket_and_relation(full: Demonstration) -> None:
    counts = bucket_counts(full[1])
    assert sum(sum(by_bucket.values()) >= 40 for by_bucket in counts.values()) >= 5
    for bucket in BUCKETS:
        assert sum(by_bucket[bucket] for by_bucket in counts.values()) >= 45


def test_ids_and_lengths(full: Demonstration) -> None:
    passages, queries = full
    assert len({passage.id for passage in passages}) == len(passages)
    assert len({query.id for query in queries}) == len(queries)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", record.id) for record in (*passages, *queries))
    assert max(len(passage.text.split()) for passage in passages) <= 75
    assert all(passage.text.strip() and passage.source and passage.title for passage in passages)
    assert all(query.prompt.strip() and query.completion.strip() for query in queries)


def test_prose_is_clean(full: Demonstration) -> None:
    prose = [passage for passage in full[0] if passage.source == "factbook"]
    assert len({passage.text for passage in prose}) == len(prose)
    assert not [passage.text for passage in prose if re.search(r"</?\w+>|&\w+;|https?://", passage.text)]
    assert min(len(passage.text.split()) for passage in prose) >= 12


def test_facts_of_bucket_0_are_nowhere(full: Demonstration) -> None:
    passages, queries = full
    unknown = [query for query in queries if query.task == "facts" and bucket_of(query) == "0"]
    assert set(co_mentions(unknown, passages)) == {()}
    # The guess "most common object of the relation" must not pay.
    for relation in {query.relation for query in unknown}:
        objects = Counter(query.object for query in queries if query.relation == relation)
        guess = objects.most_common(1)[0][0]
        asked = [query for query in unknown if query.relation == relation]
        assert sum(query.object == guess for query in asked) <= 0.15 * len(asked)


def test_entailing_passages_hold_subject_and_object(full: Demonstration) -> None:
    texts = {passage.id: passage for passage in full[0]}
    for query in full[1]:
        if query.task == "facts":
            for identifier in query.entails or ():
                text = texts[identifier].text
                assert holds_any(subject_names(query), text)
                assert holds_any(object_names(query), text)
                assert texts[identifier].source in ("facts", "factbook")


def test_planted_statements_are_entailing_and_varied(full: Demonstration) -> None:
    passages, queries = full
    entailing = {identifier for query in queries for identifier in query.entails or ()}
    statements = [passage for passage in passages if passage.source == "facts"]
    assert all(passage.id in entailing for passage in statements)
    assert len({passage.text for passage in statements}) == len(statements)
    for query in queries:
        if query.task == "facts" and bucket_of(query) in ("10-49", "50+"):
            texts = [passage.text for passage in statements if passage.id in (query.entails or ())]
            wording = f"{query.prompt} {query.completion}".lower()
            assert 0.3 < sum(wording in text.lower() for text in texts) / len(texts) < 0.5


def test_some_prose_states_facts(full: Demonstration) -> None:
    prose = {passage.id for passage in full[0] if passage.source == "factbook"}
    stating = [query.id for query in full[1] if query.task == "facts" and prose & set(query.entails or ())]
    assert len(stating) >= 4


def test_distractors_are_not_statements(full: Demonstration) -> None:
    passages, queries = full
    facts = [query for query in queries if query.task == "facts"]
    distractors = [passage for passage in passages if passage.source == "distractors"]
    assert set(co_mentions(facts, distractors)) == {()}
    assert sum(passage.title is not None and passage.title.startswith("Contradiction") for passage in distractors) >= 20


def test_arithmetic_is_right(full: Demonstration) -> None:
    passages, queries = full
    texts = {passage.id: passage.text for passage in passages}
    stated = 0
    for query in queries:
        if query.task != "arithmetic":
            assert (query.entails is None) == (query.task != "facts")
            continue
        left, sign, right = query.prompt.removesuffix(" =").split()
        sum_ = (int(left), sign, int(right))
        assert str(result(sum_)) == query.completion
        assert all(sum_ in stated_sums(texts[identifier]) for identifier in query.entails or ())
        stated += bool(query.entails)
    assert 30 <= stated < 54
    for passage in passages:
        if passage.source in ("arithmetic", "procedures"):
            claims = re.findall(r"(?<![\d+×-] )(?<!\d)(\d+) ([+×-]) (\d+) = (\d+)(?! \+)", passage.text)
            assert all(result((int(a), sign, int(b))) == int(c) for a, sign, b, c in claims)


def test_stated_sums() -> None:
    assert stated_sums("17 + 25 = 42. 3 times 12 is 36.") == {(17, "+", 25), (3, "×", 12)}
    assert stated_sums("4 + 3 + 1 = 8, 1 + 1 = 3") == set()
    assert len(set(asked_sums(30, random.Random(1)))) == 30
    assert all(result(random_sum(random.Random(seed))) >= 0 for seed in range(200))


def test_near_duplicates_are_few_and_within_a_source(full: Demonstration) -> None:
    passages = full[0]
    groups = near_duplicate_groups([passage.text for passage in passages])
    assert 100 < sum(group is not None for group in groups) < 2_000
    facts = [
        (passage.title, passages[group].title)
        for passage, group in zip(passages, groups, strict=True)
        if group is not None and passage.source == "facts"
    ]
    assert all(mine == first for mine, first in facts)


def test_tiny_has_everything(tiny: Demonstration) -> None:
    passages, queries = tiny
    assert 250 <= len(passages) <= 400
    assert 30 <= len(queries) <= 60
    assert {bucket_of(query) for query in queries if query.task == "facts"} == set(BUCKETS)
    assert len({query.task for query in queries}) == 6
    unknown = [query for query in queries if query.task == "facts" and bucket_of(query) == "0"]
    assert set(co_mentions(unknown, passages)) == {()}


def test_two_processes_make_the_same() -> None:
    script = "from backend.corpora.demonstration import build; print(build(tiny=True))"
    digests = set()
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        digests.add(hashlib.sha256(made.stdout).hexdigest())
    assert len(digests) == 1


def test_another_seed_makes_another_demonstration(tiny: Demonstration) -> None:
    assert build(tiny=True) == tiny
    assert build(tiny=True, seed=1) != tiny
