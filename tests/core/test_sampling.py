"""Samples by key and name: an order that no other name and no order of the names changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.core.sampling import in_drawn_order

NAMES = st.lists(st.text(max_size=6), unique=True, max_size=12)


@given(NAMES, st.text(max_size=4), st.randoms())
def test_the_order_is_the_names_and_the_key_s(names, key, random):
    drawn = in_drawn_order(names, key)
    assert sorted(drawn) == sorted(names)
    random.shuffle(names)
    assert in_drawn_order(names, key) == drawn
    kept = names[::2]
    assert in_drawn_order(kept, key) == [name for name in drawn if name in kept]


def test_another_key_draws_another_order():
    names = [str(number) for number in range(50)]
    assert in_drawn_order(names, "0/query") != in_drawn_order(names, "1/query")
