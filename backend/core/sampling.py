"""Samples that depend on a key and names alone, on no library's random numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def in_drawn_order(names: Iterable[str], key: str) -> list[str]:
    """Names in an order drawn by the key and each name alone: a smaller sample is the beginning of a larger one."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{key}/{name}".encode()).digest())
