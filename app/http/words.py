"""Numbers, times and sizes as people read them: the filters of the templates."""

from __future__ import annotations

import math
from datetime import datetime


def percent(share: float | None) -> str:
    """0.1234 -> "12.3 %"; tiny shares say that they are tiny, and only 1 is 100 %."""
    if share is None:
        return "–"
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{share * 100:.3g} %" if share < 0.1 else f"{share * 100:.1f} %".replace(".0 %", " %")


def number(value: float | None) -> str:
    """1234567 -> "1,234,567"."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def decimal(value: float | None, digits: int = 3) -> str:
    """A metric with a fixed number of digits."""
    return "–" if value is None else f"{value:.{digits}f}"


def score(value: float) -> str:
    """A score of any scale in four significant digits, with a true minus sign."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    text = f"{value:.4g}" if 1e-3 <= abs(value) < 1e6 else f"{value:.2e}"
    return text.replace("-", "−")


def duration(seconds: float | None) -> str:
    """Seconds as "48 s", "3 min 20 s" or "2 h 5 min"."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def size(count: float | None) -> str:
    """Bytes as "12.3 MB"."""
    if count is None:
        return "–"
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def moment(value: datetime) -> str:
    """A time stamp to the minute, in UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 passage", "2 passages"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percentile(value: float) -> str:
    """A percentile with two decimals that never claims to be the very top or bottom when it only rounds to it."""
    return f"{min(max(value, 0.01), 99.99):.2f}"
