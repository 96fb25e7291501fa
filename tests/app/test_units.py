"""Small parts: highlighting, charts, numbers in words, addresses, texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.charts import curve, histogram, round_steps, thin
from app.http import words
from app.http.formats import address, passage_address, prompt_address, web_link
from app.methods_text import METHOD_TEXTS, method_order, method_text
from app.prompts.highlight import excerpt, find_marks, prompt_pieces
from backend.core.text import join_query

TEXT = st.text(alphabet="ab <&.é ", max_size=300)
NAMES = st.lists(st.tuples(st.sampled_from(["subject", "object"]), st.lists(st.text("ab <", max_size=4))), max_size=3)


@given(TEXT, NAMES)
def test_pieces_of_a_short_text_are_the_text(text: str, names: list[tuple[str, list[str]]]) -> None:
    shown = excerpt(text, names)
    assert "".join(piece.text for piece in shown.segments) == text
    assert not shown.cut_before
    assert not shown.cut_behind


@given(TEXT, NAMES, st.integers(5, 60))
def test_an_excerpt_is_a_part_of_the_text(text: str, names: list[tuple[str, list[str]]], limit: int) -> None:
    shown = excerpt(text, names, limit=limit)
    joined = "".join(piece.text for piece in shown.segments)
    assert joined in text
    assert shown.cut_before or text.startswith(joined)
    assert shown.cut_behind or text.endswith(joined)
    if find_marks(text, names):
        assert any(piece.kind for piece in shown.segments)


def test_marks_prefer_the_longer_name() -> None:
    names = [("subject", ["York"]), ("object", ["New York"])]
    assert find_marks("In New York, not York.", names) == [(3, 11, "object"), (17, 21, "subject")]


@given(st.text(max_size=20), st.text(max_size=20))
def test_pieces_of_a_query_are_its_text(prompt: str, completion: str) -> None:
    assert "".join(prompt_pieces(prompt, completion)) == join_query(prompt, completion)[0]


def test_histogram_holds_every_count() -> None:
    chart = histogram([0, 1, 100], -1.0, 2.0, mark=1.5)
    assert [row.count for row in chart.rows] == [0, 1, 100]
    assert chart.path.count("M") == 2, "a bar for each count but zero"
    assert f"v-{chart.height:.1f}" in chart.path, "the tallest fills the height"
    assert chart.zero_x is not None
    assert chart.mark_x is not None
    assert histogram([], 0.0, 0.0).rows == []
    wide = histogram(list(range(64)), 0.0, 64.0)
    assert sum(row.count for row in wide.rows) == wide.total == sum(range(64))
    assert (len(wide.rows), wide.rows[0].high, wide.rows[-1].high) == (13, 5.0, 64.0)
    assert histogram([5], 1.0, 1.0).zero_x is None


def test_curve_needs_two_points() -> None:
    assert curve([1], [2.0]) is None
    assert curve([1, 2], [float("nan"), 1.0]) is None
    made = curve(list(range(1000)), [1 / (step + 1) for step in range(1000)])
    assert made is not None
    assert len(made.points.split()) == 400
    flat = curve([0, 1], [3.0, 3.0])
    assert flat is not None


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_round_steps_enclose(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    steps = round_steps(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert steps[0] <= low + slack
    assert steps[-1] >= high - slack
    assert 2 <= len(steps) <= 9


def test_thin_keeps_both_ends() -> None:
    assert thin([1, 2, 3], 5) == [1, 2, 3]
    rows = thin(list(range(100)), 10)
    assert (rows[0], rows[-1], len(rows)) == (0, 99, 10)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0 %"),
        (0.0001, "< 0.1 %"),
        (0.1234, "12.3 %"),
        (0.99999, "> 99.9 %"),
        (1, "100 %"),
        (0.5, "50 %"),
    ],
)
def test_percent(value: float | None, expected: str) -> None:
    assert words.percent(value) == expected


def test_numbers_in_words() -> None:
    assert words.number(1234567) == "1,234,567"
    assert words.number(None) == "–"
    assert words.score(-0.0000123) == "−1.23e−05"
    assert words.score(0) == "0"
    assert words.duration(200) == "3 min 20 s"
    assert words.duration(7500) == "2 h 5 min"
    assert words.duration(None) == "–"
    assert words.size(12_300_000) == "12.3 MB"
    assert words.size(5e13) == "50 TB"
    assert words.size(None) == "–"
    assert words.plural(1, "passage") == "1 passage"
    assert words.plural(2, "copy", "copies") == "2 copies"


def test_addresses_are_canonical() -> None:
    assert address("/prompts", {"limit": 5, "task": "facts", "bucket": "50+", "after": None}) == (
        "/prompts?task=facts&bucket=50%2B&limit=5"
    )
    assert passage_address("a b/c?#") == "/passages/a%20b/c%3F%23"
    assert passage_address("a/../b") == "/passages/a%2F..%2Fb"
    assert prompt_address("x", ("r1", "r2"), ".json", k=3) == "/r/r1+r2/x.json?k=3"


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://example.org", "https://example.org"),
        (" HTTP://example.org ", "HTTP://example.org"),
        ("javascript:alert(1)", None),
        ("\x01javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//example.org", None),
        (None, None),
    ],
)
def test_only_web_addresses_become_links(url: str | None, link: str | None) -> None:
    assert web_link(url) == link


def test_methods_have_texts() -> None:
    assert method_text("bm25").looks_at_model is False
    assert method_text("gradient-dot-v").title == "Gradient dot product, with optimizer correction"
    assert method_text("trackstar-no-v").title == "TrackStar, without optimizer correction"
    assert method_text("logra-pca").title == "LoGra, PCA projections"
    assert method_text("logra-v-pca").title == "LoGra, with optimizer correction, PCA projections"
    assert method_text("own-pca").title == "own-pca"
    assert method_text("house-blend").title == "house-blend"
    assert all(text.caveat and text.line for text in METHOD_TEXTS.values())
    slugs = ["zeta", "bm25", "trackstar-no-v-pca", "trackstar", "trackstar-no-v", "alpha"]
    ordered = ["trackstar", "trackstar-no-v", "trackstar-no-v-pca", "bm25", "alpha", "zeta"]
    assert sorted(slugs, key=method_order) == ordered


@pytest.mark.parametrize(("value", "expected"), [(99.997, "99.99"), (100.0, "99.99"), (0.0, "0.01"), (83.456, "83.46")])
def test_percentiles_never_claim_the_very_end(value: float, expected: str) -> None:
    assert words.percentile(value) == expected
