"""Parts of a corpus: all that states their facts is in them, and they are drawn by the seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import InputError, UserError
from backend.core.records import Passage, Query
from backend.evaluation.part import PartConfig, choose_part

PASSAGES = [Passage(f"p{number:03d}", f"Text {number}.") for number in range(200)]


def fact(name: str, first: int, times: int) -> Query:
    stating = tuple(passage.id for passage in PASSAGES[first : first + times])
    return Query(name, "facts", "The capital is", " here", entails=stating)


QUERIES = [
    *(fact(f"f{number}", 5 * number, 1 + number % 5) for number in range(20)),
    fact("often", 100, 30),
    fact("never", 0, 0),
    Query("other", "commonsense", "All roads", " lead", entails=("p001",)),
]


@given(
    st.builds(
        PartConfig,
        passages=st.integers(70, 300),
        queries=st.integers(1, 30),
        most_stated=st.integers(1, 9),
        seed=st.integers(0, 5),
    )
)
def test_a_part_is_in_order_and_holds_all_that_states_its_facts(config: PartConfig) -> None:
    passages, queries = choose_part(PASSAGES, QUERIES, config)
    ids = [passage.id for passage in passages]
    assert len(ids) == min(config.passages, len(PASSAGES))
    assert ids == sorted(set(ids))
    assert [query for query in QUERIES if query in queries] == queries
    assert {passage_id for query in queries for passage_id in query.entails or ()} <= set(ids)
    assert all(0 < len(query.entails or ()) <= config.most_stated for query in queries)
    assert 1 <= len(queries) <= config.queries
    assert choose_part(PASSAGES, QUERIES, config) == (passages, queries)
    more = choose_part(PASSAGES, QUERIES, replace(config, queries=config.queries + 3))[1]
    assert {query.id for query in queries} <= {query.id for query in more}


def test_parts_that_cannot_be_say_why() -> None:
    with pytest.raises(UserError, match="No fact is stated by 1 to 9 passages"):
        choose_part(PASSAGES, QUERIES[20:], PartConfig())
    with pytest.raises(InputError, match="more than the part's 10"):
        choose_part(PASSAGES, QUERIES, PartConfig(passages=10))
    with pytest.raises(InputError, match="at least one"):
        PartConfig(queries=0)
