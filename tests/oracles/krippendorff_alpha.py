"""Krippendorff's alpha by its definition: pairs of judgements, one after the other, in fractions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def alpha(units: Sequence[Sequence[int]], *, ordinal: bool, values: int) -> Fraction:
    """Alpha of units, each given as the values that its annotators gave."""
    paired = [unit for unit in units if len(unit) > 1]
    everything = [value for unit in paired for value in unit]
    n = len(everything)
    total = [everything.count(value) for value in range(values)]

    def distance(one: int, other: int) -> Fraction:
        if one == other:
            return Fraction(0)
        if not ordinal:
            return Fraction(1)
        low, high = min(one, other), max(one, other)
        return (Fraction(sum(total[low : high + 1])) - Fraction(total[low] + total[high], 2)) ** 2

    observed = Fraction(0)
    for unit in paired:
        for place, one in enumerate(unit):
            for other_place, other in enumerate(unit):
                if place != other_place:
                    observed += distance(one, other) / (len(unit) - 1)
    expected = sum(
        (distance(one, other) for a, one in enumerate(everything) for b, other in enumerate(everything) if a != b),
        Fraction(0),
    )
    return 1 - (observed / n) / (expected / (n * (n - 1)))
