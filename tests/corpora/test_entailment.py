"""The index finds exactly the passages that a look at every passage finds."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from backend.core.records import Aliases, Passage, Query
from backend.core.text import holds_any
from backend.corpora.entailment import NameIndex, bucket_of, co_mentions, with_entailment


def fact(subject: str | None, object_: str | None, **more: object) -> Query:
    return Query("q", "facts", "p", "c", subject=subject, object=object_, **more)  # type: ignore[arg-type]


def test_whole_words_any_case_and_aliases() -> None:
    texts = ["NIGER and Niamey", "Nigeria and Niamey", "niger: NIAMEY!", "Niger alone", "Niger, Niamé"]
    passages = [Passage(f"p{number}", text) for number, text in enumerate(texts)]
    query = fact("Niger", "Niamey", aliases=Aliases(object=("Niamé",)))
    assert co_mentions([query], passages) == [("p0", "p2", "p4")]


def test_only_missing_entails_are_filled_in() -> None:
    passages = [Passage("p", "Paris, France")]
    given_, empty, missing, half = with_entailment(
        [
            fact("France", "Paris", entails=("x",)),
            fact("France", "Paris", entails=()),
            fact("France", "Paris"),
            fact("France", None),
        ],
        passages,
    )
    assert given_.entails == ("x",)
    assert empty.entails == ()
    assert missing.entails == ("p",)
    assert half.entails is None
    assert [bucket_of(query) for query in (empty, missing, half)] == ["0", "1", None]


LETTERS = st.sampled_from("aAbBıİiIſsSßẞKkKςσΣµμ09_ .-'+é")
NAMES = st.lists(st.text(LETTERS, max_size=5), max_size=3)


@given(st.lists(st.text(LETTERS, max_size=30), max_size=8), NAMES, NAMES)
def test_index_equals_brute_force(texts: list[str], left: list[str], right: list[str]) -> None:
    index = NameIndex([*left, *right], texts)
    expected = [position for position, text in enumerate(texts) if holds_any(left, text) and holds_any(right, text)]
    assert index.holding(left, right) == expected


def test_many_queries_over_many_passages_are_quick() -> None:
    passages = [
        Passage(str(number), f"The city{number % 900} lies in land{number % 800} " + "and more words " * 8)
        for number in range(20_000)
    ]
    queries = [fact(f"land{number}", f"city{number}") for number in range(800)]
    started = time.process_time()
    found = co_mentions(queries, passages)
    assert time.process_time() - started < 6
    assert found[5][0] == "5"
