"""Quoted words are found again, also where the text has changed around them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.core.spans import find_again, find_span, span_at

TEXTS = st.text("ab c\n", min_size=1, max_size=60)


@given(TEXTS, st.data())
def test_a_span_is_found_where_it_was(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    span = span_at(text, start, end)
    assert text[span.start : span.end] == span.quote
    found = find_again(text, span.as_json())
    assert found == span


@given(TEXTS, TEXTS, TEXTS)
def test_text_added_around_moves_it(before: str, text: str, behind: str) -> None:
    marked = f"{text}<the very words>{text}"
    span = span_at(marked, len(text), len(text) + len("<the very words>"))
    found = find_again(before + marked + behind, span.as_json())
    assert found is not None
    assert (found.quote, found.start) == (span.quote, span.start + len(before))


def test_surroundings_choose_among_equal_words() -> None:
    text = "Lima is old. Quito is old. La Paz is old."
    chosen = find_span(text, "is old", prefix="Quito ")
    assert chosen is not None
    assert chosen.start == text.index("Quito ") + 6
    last = find_span(text, "is old", start=len(text))
    assert last is not None
    assert last.start == text.rindex("is old")
    first = find_span(text, "is old")
    assert first is not None
    assert first.start == text.index("is old")


def test_words_that_are_gone_are_not_found() -> None:
    assert find_span("Lima is old.", "is new") is None
    assert find_span("Lima is old.", "") is None
