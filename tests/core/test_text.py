"""Joining a query, matching names, slugs."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.text import holds_any, join_query, name_spans, shared_ngrams, slugify, words


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [
        ("The capital of France is", "Paris", "The capital of France is Paris"),
        ("The capital of France is ", "Paris", "The capital of France is Paris"),
        ("The capital of France is", " Paris", "The capital of France is Paris"),
        ("17 + 25 =", "42", "17 + 25 = 42"),
        ("Hello", "!", "Hello!"),
        ("", "alone", "alone"),
        ("nothing follows", "", "nothing follows"),
        ("cafe\u0301 is", "cafe\u0301", "café is café"),
    ],
)
def test_join(prompt, completion, text):
    joined, boundary = join_query(prompt, completion)
    assert joined == text
    assert joined[:boundary] == unicodedata.normalize("NFC", prompt)


@given(st.text(), st.text())
def test_join_keeps_both_sides(prompt, completion):
    joined, boundary = join_query(prompt, completion)
    left, right = unicodedata.normalize("NFC", prompt), unicodedata.normalize("NFC", completion)
    assert joined[:boundary] == left
    assert joined[boundary:] in (right, " " + right)


def test_names_are_whole_words_in_any_case():
    assert name_spans("Niger", "Nigeria borders Niger; NIGER-Congo") == [(16, 21), (23, 28)]
    assert name_spans("St. John's", "in St. John's, Antigua") == [(3, 13)]
    assert not holds_any(["Oman", " "], "Roman history")
    assert name_spans("", "anything") == []


@given(st.text(min_size=1), st.text())
def test_spans_hold_the_name(name, text):
    for start, end in name_spans(name, text):
        assert len(text[start:end]) >= 1
        assert re.fullmatch(re.escape(name), text[start:end], re.IGNORECASE)


def test_words_and_ngrams():
    assert words("Don't stop, Émile: 42!") == ["don't", "stop", "émile", "42"]
    assert shared_ngrams("the capital of France", "The capital of Spain", 3) == {("the", "capital", "of")}
    assert shared_ngrams("a b", "a b", 3) == set()


@given(st.text())
def test_slugs_are_safe_in_urls(text):
    assert re.fullmatch(r"[a-z0-9]*(?:-[a-z0-9]+)*", slugify(text))
