"""Geometry of charts. Templates only draw what is worked out here, in the units of the SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")
TABLE_ROWS = 13


@dataclass(frozen=True, slots=True)
class Bin:
    """A row of a histogram's table: passages with a score from low to high."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over equal steps of the score; heights are logarithmic, so that single passages stay visible."""

    width: float
    height: float
    path: str
    """All bars as the data of one SVG path."""
    rows: list[Bin]
    """At most TABLE_ROWS rows that add neighbouring bars up."""
    minimum: float
    maximum: float
    total: int
    zero_x: float | None
    """Where score 0 is, if it lies inside."""
    mark_x: float | None
    """Where the lowest shown proponent (or highest shown opponent) is."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A line over steps: points for SVG, axes, and a table of at most some rows."""

    width: float
    height: float
    points: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    left: float
    bottom: float


def histogram(
    counts: Sequence[int],
    minimum: float,
    maximum: float,
    mark: float | None = None,
    width: float = 640,
    height: float = 96,
) -> Histogram:
    """Bars for counts over equal steps from minimum to maximum."""
    span = maximum - minimum
    step = width / max(len(counts), 1)
    tallest = max([math.log1p(count) for count in counts], default=0.0) or 1.0
    bars = [
        f"M{index * step:.6g} {height:.6g}v{-height * math.log1p(count) / tallest:.1f}h{step * 0.86:.3g}V{height:.6g}"
        for index, count in enumerate(counts)
        if count
    ]
    together = max(1, math.ceil(len(counts) / TABLE_ROWS))
    rows = [
        Bin(
            low=minimum + span * start / len(counts),
            high=minimum + span * min(start + together, len(counts)) / len(counts),
            count=sum(counts[start : start + together]),
        )
        for start in range(0, len(counts), together)
    ]

    def place(score: float | None) -> float | None:
        if score is None or span <= 0 or not minimum <= score <= maximum:
            return None
        return round((score - minimum) / span * width, 2)

    return Histogram(width, height, "".join(bars), rows, minimum, maximum, sum(counts), place(0.0), place(mark))


def curve(
    xs: Sequence[float], ys: Sequence[float], width: float = 640, height: float = 220, most_points: int = 400
) -> Curve | None:
    """A line through (x, y), thinned to ``most_points``; None of fewer than two finite points."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if len(pairs) < 2:
        return None
    left, bottom, top, right = 44.0, 24.0, 8.0, 8.0
    pairs = thin(pairs, most_points)
    x_low, x_high = min(x for x, _ in pairs), max(x for x, _ in pairs)
    y_ticks = round_steps(min(y for _, y in pairs), max(y for _, y in pairs))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def to_x(x: float) -> float:
        return round(left + (width - left - right) * (x - x_low) / ((x_high - x_low) or 1), 1)

    def to_y(y: float) -> float:
        return round(top + (height - top - bottom) * (y_high - y) / ((y_high - y_low) or 1), 1)

    x_ticks = [x for x in round_steps(x_low, x_high) if x_low <= x <= x_high]
    return Curve(
        width=width,
        height=height,
        points=" ".join(f"{to_x(x)},{to_y(y)}" for x, y in pairs),
        x_ticks=[Tick(to_x(x), f"{x:,.6g}") for x in x_ticks],
        y_ticks=[Tick(to_y(y), f"{y:.6g}") for y in y_ticks],
        left=left,
        bottom=height - bottom,
    )


def thin(rows: Sequence[T], most: int) -> list[T]:
    """At most ``most`` rows, evenly chosen, with the first and the last."""
    if len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(index * step)] for index in range(most)]


def round_steps(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose low and high, about as many as asked for."""
    span = high - low
    if span < 1e-300:  # the same, or so near that no step between them is a number
        span = abs(high) if abs(high) > 1e-300 else 1.0
    raw = span / about
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True, slots=True)
class Line:
    """One of several lines: its path, the places of its points, and where its name stands at the end."""

    name: str
    style: int
    """Which of the dashes (and colours) of the style sheet."""
    path: str
    points: list[tuple[float, float]]
    label_y: float


@dataclass(frozen=True, slots=True)
class Lines:
    """Several lines over the same places, with axes."""

    width: float
    height: float
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    left: float
    right: float
    bottom: float


LABEL_GAP = 17.0
"""Between the names at the lines' ends, so that none lies on another."""


def lines(
    series: Sequence[tuple[str, int, Sequence[float | None]]],
    labels: Sequence[str],
    xs: Sequence[float] | None = None,
    width: float = 640,
    height: float = 260,
) -> Lines | None:
    """Lines of (name, style, values) over places with labels; a None leaves a gap.

    ``xs`` are the places where they are numbers: then the axis has round ones, else each place has its label. None
    where there is nothing to draw.
    """
    places = list(range(len(labels))) if xs is None else list(xs)
    values = [value for _, _, ys in series for value in ys if value is not None]
    if not values or not places:
        return None
    left, right, top, bottom = 52.0, 150.0, 12.0, 28.0
    y_steps = round_steps(min(0.0, *values), max(0.0, *values))
    x_low, x_high, y_low, y_high = min(places), max(places), y_steps[0], y_steps[-1]

    def to_x(x: float) -> float:
        share = 0.5 if x_high == x_low else (x - x_low) / (x_high - x_low)
        return round(left + 12 + (width - left - right - 24) * share, 1)

    def to_y(y: float) -> float:
        return round(top + (height - top - bottom) * (y_high - y) / (y_high - y_low), 1)

    found = []
    for name, style, ys in series:
        points = [None if y is None else (to_x(x), to_y(y)) for x, y in zip(places, ys, strict=True)]
        drawn = [point for point in points if point is not None]
        if drawn:
            found.append(Line(name, style, _path(points), drawn, drawn[-1][1]))
    if xs is None:
        x_ticks = [Tick(to_x(place), label) for place, label in zip(places, labels, strict=True)]
    else:
        x_ticks = [Tick(to_x(x), f"{x:,.6g}") for x in round_steps(x_low, x_high, 4) if x_low <= x <= x_high]
    return Lines(
        width=width,
        height=height,
        lines=_apart(found, top, height - bottom),
        x_ticks=x_ticks,
        y_ticks=[Tick(to_y(y), f"{y:.6g}".replace("-", "−")) for y in y_steps],
        left=left,
        right=width - right,
        bottom=height - bottom,
    )


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """The data of an SVG path through the points, begun anew after a gap."""
    parts, open_ = [], False
    for point in points:
        if point is not None:
            parts.append(f"{'L' if open_ else 'M'}{point[0]} {point[1]}")
        open_ = point is not None
    return "".join(parts)


def _apart(found: Sequence[Line], top: float, bottom: float) -> list[Line]:
    """The lines from the highest end to the lowest, names moved so far apart that all can be read."""
    ordered = sorted(found, key=lambda line: line.label_y)
    floor = top
    moved = []
    for line in ordered:
        floor = max(floor, line.label_y)
        moved.append(floor)
        floor += LABEL_GAP
    ceiling = bottom
    for index in range(len(moved) - 1, -1, -1):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - LABEL_GAP
    return [replace(line, label_y=round(y, 1)) for line, y in zip(ordered, moved, strict=True)]


@dataclass(frozen=True, slots=True)
class BarPair:
    """Two bars side by side over one label: x and top of each, in the height of the chart."""

    label: str
    label_x: float
    before_x: float
    before_y: float
    after_x: float
    after_y: float


@dataclass(frozen=True, slots=True)
class PairedBars:
    """Shares before and after, a pair of bars a label."""

    width: float
    height: float
    bar: float
    """Width of a bar."""
    pairs: list[BarPair]
    y_ticks: list[Tick]
    left: float
    bottom: float


def paired_bars(rows: Sequence[tuple[str, float, float]], width: float = 640, height: float = 220) -> PairedBars:
    """Bars for (label, share before, share after); the axis is from 0 to 100 %, so that charts can be compared."""
    left, right, top, bottom = 52.0, 8.0, 12.0, 28.0
    step = (width - left - right) / max(len(rows), 1)
    bar = min(34.0, step * 0.32)

    def to_y(share: float) -> float:
        return round(top + (height - top - bottom) * (1 - share), 1)

    pairs = []
    for index, (label, before, after) in enumerate(rows):
        middle = left + step * (index + 0.5)
        pairs.append(
            BarPair(
                label=label,
                label_x=round(middle, 1),
                before_x=round(middle - bar - 2, 1),
                before_y=to_y(before),
                after_x=round(middle + 2, 1),
                after_y=to_y(after),
            )
        )
    ticks = [Tick(to_y(share), f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return PairedBars(width, height, round(bar, 1), pairs, ticks, left, height - bottom)
