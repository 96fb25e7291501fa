"""Time as the limits count it, stopped: a test that crosses a minute's end would otherwise find other counts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass
class Clock:
    """Stands still until a test moves it."""

    now: float = 1_800_000_000.0  # the start of a minute

    def time(self) -> float:
        return self.now

    def rule(self, patch: pytest.MonkeyPatch) -> None:
        """Put it in place of the real one."""
        patch.setattr("app.http.limits.time", self)
        patch.setattr("limits.storage.memory.time", self)
