"""Kinds of proponents: each rule on passages made by hand, their order, and that every passage has exactly one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.records import Aliases, Passage, Query
from backend.evaluation.kinds import KINDS, ProponentKinds


def fact(relation: str | None, subject: str | None, object_: str | None, prompt: str, *entails: str) -> Query:
    names = Aliases(subject=("Hellas",), object=("Athina",)) if subject == "Greece" else Aliases()
    name = f"{relation}-{subject}"
    return Query(name, "facts", prompt, object_ or "x", relation, subject, object_, names, entails)


GREECE = fact("capital", "Greece", "Athens", "The capital of Greece is", "states")
PERU = fact("capital", "Peru", "Lima", "The capital of Peru is", "lima", "both")
NETHERLANDS = fact("capital", "Netherlands", "Amsterdam", "The capital of the Netherlands is")
CODE = fact("calling-code", "Peru", "51", "The calling code of Peru is", "code")
YEAR = fact("discovery-year", "radium", "1898", "The element radium was discovered in")
BARE = fact(None, None, None, "The capital of Greece is")
SET = [GREECE, PERU, NETHERLANDS, CODE, YEAR, BARE]


def kind(query: Query, text: str, passage_id: str = "p") -> str:
    return ProponentKinds(SET).kind(query, Passage(passage_id, text))


@pytest.mark.parametrize(
    ("query", "passage_id", "text", "expected"),
    [
        (GREECE, "states", "Whatever it says.", "states the fact"),
        (GREECE, "lima", "Peru is governed from Lima.", "relation prior"),
        (GREECE, "p", "They say the capital of Mount Athos is Karyes.", "relation prior"),
        (GREECE, "p", "The capital of the Netherlands is Amsterdam.", "relation prior"),
        (NETHERLANDS, "p", "The capital of the Netherlands is Utrecht, says a leaflet.", "subject entity"),
        (GREECE, "p", "The capital of Hellas is Sparta.", "subject entity"),
        (GREECE, "p", "The flag of GREECE hangs there.", "subject entity"),
        (GREECE, "p", "The Greeces and Grease of Athensville.", "other"),
        (GREECE, "p", "A train to Athina was late.", "object entity"),
        (GREECE, "p", "A road from Greece to Athens.", "subject entity"),
        (GREECE, "code", "The calling code of Peru is 51.", "template"),
        (GREECE, "p", "The end of it all is near.", "template"),
        (GREECE, "p", "The end of it. All is near.", "other"),
        (GREECE, "p", "", "other"),
        (CODE, "lima", "Lima is in Peru, its capital.", "subject entity"),
        (YEAR, "p", "The element neon was discovered in 1898.", "relation prior"),
        (YEAR, "p", "The number of the day is 7.", "other"),
        (BARE, "lima", "The capital of Peru is Lima, of Greece Athens.", "other"),
    ],
)
def test_each_rule(query: Query, passage_id: str, text: str, expected: str) -> None:
    assert kind(query, text, passage_id) == expected


def test_the_first_rule_that_is_met_counts() -> None:
    text = "The capital of Peru is not in Greece, and Athens is not in it."
    assert kind(GREECE, text, "states") == KINDS[0]
    assert kind(GREECE, text, "both") == KINDS[1]
    without = ("capital", "land"), ("Greece", "Spain"), ("Athens", "Madrid"), ("is", "was")
    for expected, (old, new) in zip(KINDS[2:], without, strict=True):
        text = text.replace(old, new)
        assert kind(GREECE, text) == expected


WORDS = st.sampled_from(
    [
        "The",
        "capital",
        "of",
        "is",
        "Greece",
        "Peru",
        "Athens",
        "Lima",
        "code",
        "calling",
        "the",
        ".",
        "element",
        "é",
        "",
    ]
)


@given(st.lists(WORDS, max_size=14), st.sampled_from(["p", "states", "lima", "code"]), st.sampled_from(SET))
def test_every_passage_has_exactly_one_kind_whatever_was_asked_before(
    words: list[str], passage_id: str, query: Query
) -> None:
    passage = Passage(passage_id, " ".join(words))
    rules = ProponentKinds(SET)
    found = [rules.kind(query, passage) for _ in range(2)]
    assert found == [ProponentKinds(SET[::-1]).kind(query, passage)] * 2
    assert found[0] in KINDS
