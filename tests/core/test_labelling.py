"""Agreement by the published example, by the definition, and by what must hold of it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.labelling import (
    NO_PAIRS,
    ONE_VALUE,
    Level,
    Sample,
    alpha,
    alpha_of_coincidences,
    coincidences,
    confusion,
    disagreement,
    mean_interval,
)
from tests.oracles import krippendorff_alpha as oracle

EXAMPLE = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
"""Data C of "Computing Krippendorff's Alpha-Reliability" (2011): four observers, twelve units, values 1 to 5."""
LEVELS: tuple[Level, Level] = ("nominal", "ordinal")


def counts_of(units: list[list[int]], values: int) -> np.ndarray:
    return np.array([[unit.count(value) for value in range(values)] for unit in units], dtype=np.int64)


def example() -> list[list[int]]:
    return [[row[unit] - 1 for row in EXAMPLE if (value := row[unit]) is not None and value] for unit in range(12)]


UNITS = st.lists(st.lists(st.integers(0, 3), min_size=0, max_size=4), min_size=1, max_size=12)


def test_the_published_example() -> None:
    counts = counts_of(example(), 5)
    assert alpha(counts, "nominal").value == pytest.approx(0.743, abs=5e-4)
    assert alpha(counts, "ordinal").value == pytest.approx(0.815, abs=5e-4)
    assert (alpha(counts, "nominal").units, alpha(counts, "nominal").judgements) == (11, 40)


@given(UNITS, st.sampled_from(LEVELS))
def test_it_is_what_the_definition_says(units: list[list[int]], level: Level) -> None:
    found = alpha(counts_of(units, 4), level)
    paired = [unit for unit in units if len(unit) > 1]
    if not paired:
        assert (found.value, found.reason) == (None, NO_PAIRS)
    elif len({value for unit in paired for value in unit}) == 1:
        assert (found.value, found.reason) == (None, ONE_VALUE)
    else:
        expected = float(oracle.alpha(units, ordinal=level == "ordinal", values=4))
        assert found.value == pytest.approx(expected, abs=1e-9)
        own = alpha_of_coincidences(coincidences(counts_of(units, 4)).sum(axis=0)[None], level)[0]
        assert own == pytest.approx(expected, abs=1e-9)
        if found.low is not None and found.high is not None:
            assert found.low <= found.high <= 1 + 1e-12


@given(UNITS, st.randoms())
def test_the_order_of_units_changes_nothing(units: list[list[int]], random: object) -> None:
    shuffled = sorted(units, key=lambda _: random.random())  # type: ignore[attr-defined]
    one, other = alpha(counts_of(units, 4), "ordinal"), alpha(counts_of(shuffled, 4), "ordinal")
    assert one.value == pytest.approx(other.value) if one.value is not None else other.value is None


def test_full_agreement_is_one_and_the_interval_narrows_with_more_units() -> None:
    agreed = counts_of([[0, 0], [1, 1], [2, 2]] * 5, 4)
    assert alpha(agreed, "nominal").value == pytest.approx(1)
    some = [[0, 0], [1, 1], [0, 1], [2, 2], [2, 0], [1, 1], [3, 3]]
    few, many = alpha(counts_of(some * 2, 4), "nominal"), alpha(counts_of(some * 20, 4), "nominal")
    assert (few.low or 0) < (many.value or 0) < (few.high or 0)
    assert 0 < (many.high or 0) - (many.low or 0) < (few.high or 0) - (few.low or 0)


def test_one_label_against_the_others_and_who_is_confused_with_whom() -> None:
    counts = counts_of([[0, 0, 1], [1, 2], [3]], 4)
    assert confusion(counts).tolist() == [[1, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert disagreement(counts).tolist() == pytest.approx([float(Fraction(2, 3)), 1, 0])


@given(UNITS, st.integers(0, 3))
def test_one_value_against_the_others_is_alpha_of_yes_and_no(units: list[list[int]], value: int) -> None:
    """The interval too: it is drawn from the same resamples."""
    found = Sample(counts_of(units, 4)).of_value(value)
    folded = alpha(counts_of([[int(one != value) for one in unit] for unit in units], 2), "nominal")
    assert found.reason == folded.reason
    for one, other in ((found.value, folded.value), (found.low, folded.low), (found.high, folded.high)):
        assert one == pytest.approx(other, abs=1e-9) if one is not None else other is None


def test_the_interval_of_a_mean() -> None:
    assert mean_interval([0.5]) is None
    found = mean_interval([0.0, 1.0] * 50)
    assert found is not None
    assert 0.35 < found[0] < 0.5 < found[1] < 0.65
