"""The int8 rows of a gradient store: a quarter to a half of its bytes, made from it and made again when lost.

Beside the rows of a shard lie ``{row_set}.i8.npy`` (n, dims) int8 and ``{row_set}.scale.f32.npy`` (n,) float32, one
scale a row: a stored row is about ``scale x int8 row``. They belong to no manifest, and their bytes follow from the
rows alone. Where they cannot be written they are kept in memory.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backend.core.errors import CorruptArtifact, UserError
from backend.core.files import save_array
from backend.gradients.store import GradientStore, shard_folder

LEVELS = 127
"""Largest absolute value in an int8 row; the smallest int8, -128, is not used."""
QUANTISED_AT_ONCE = 1024
"""Rows that are float32 in memory at one time."""


class Int8Shard(NamedTuple):
    """The rows of a shard."""

    rows: np.ndarray
    """(n, dims) int8."""
    scales: np.ndarray
    """(n,) float32; 0 for a row of zeros."""


def quantise(rows: np.ndarray) -> Int8Shard:
    """Rows (n, dims) as int8 with ``max|row| / 127`` as scale; a row that is not finite gets a scale that is not."""
    values = rows.astype(np.float32)
    scales = np.abs(values).max(axis=1, initial=0.0) / np.float32(LEVELS)
    with np.errstate(invalid="ignore"):
        values /= np.where(scales > 0, scales, np.float32(np.inf))[:, None]
        return Int8Shard(np.rint(values, out=values).clip(-LEVELS, LEVELS, out=values).astype(np.int8), scales)


class Int8Rows:
    """One row set of a store in int8, shard by shard."""

    def __init__(self, store: GradientStore, row_set: str) -> None:
        self.store, self.row_set = store, row_set
        self.in_memory: set[int] = set()
        """Shards whose int8 rows could not be written beside them."""
        self._shards: dict[int, Int8Shard] = {}

    @property
    def bytes(self) -> int:
        """What a scan of all shards reads."""
        return self.store.rows * (self.store.plan.dims + np.dtype(np.float32).itemsize)

    def prepare(self, progress: Callable[[int, int], None] = lambda done, rows: None) -> None:
        """Have every shard, making those that are missing; ``progress`` gets (rows, of rows)."""
        for index, (_, end) in enumerate(self.store.plan.shards):
            self.shard(index)
            progress(end, self.store.rows)

    def shard(self, index: int) -> Int8Shard:
        """A shard's int8 rows, memory-mapped (or from memory), made first where they are missing or wrong.

        Raises CorruptArtifact if a stored row is not finite.
        """
        if index not in self._shards:
            self._shards[index] = self._read(index) or self._make(index)
        return self._shards[index]

    def __iter__(self) -> Iterator[tuple[int, Int8Shard]]:
        """(first row, shard) in order."""
        for index, (start, _) in enumerate(self.store.plan.shards):
            yield start, self.shard(index)

    def _paths(self, index: int) -> tuple[Path, Path]:
        folder = shard_folder(self.store.folder, index)
        return folder / f"{self.row_set}.i8.npy", folder / f"{self.row_set}.scale.f32.npy"

    def _read(self, index: int) -> Int8Shard | None:
        """What is on disk, or None where it is missing, has another form, or was made of other rows."""
        start, end = self.store.plan.shards[index]
        try:
            # Copy-on-write, since torch wants arrays that could be written to; nothing writes, so nothing is copied.
            found = Int8Shard(*(np.load(path, mmap_mode="c", allow_pickle=False) for path in self._paths(index)))
        except (OSError, ValueError, EOFError):
            return None
        rows, scales = found
        if rows.shape != (end - start, self.store.plan.dims) or rows.dtype != np.int8:
            return None
        if scales.shape != (end - start,) or scales.dtype != np.float32:
            return None
        sample = np.unique([0, len(rows) // 2, max(0, len(rows) - 1)])[: len(rows)]
        expected = quantise(self.store.shard(index, self.row_set)[sample])
        same = np.array_equal(rows[sample], expected.rows) and np.array_equal(scales[sample], expected.scales)
        return found if same else None

    def _make(self, index: int) -> Int8Shard:
        paths = self._paths(index)
        with _one_at_a_time(paths[0].parent):
            made_meanwhile = self._read(index)
            if made_meanwhile is not None:
                return made_meanwhile
            made = self._quantise_shard(index)
            try:
                for path, array in zip(paths, made, strict=True):
                    save_array(path, array)
            except (OSError, UserError):
                self.in_memory.add(index)
                return made
        return self._read(index) or made

    def _quantise_shard(self, index: int) -> Int8Shard:
        stored = self.store.shard(index, self.row_set)
        made = Int8Shard(np.empty(stored.shape, np.int8), np.empty(len(stored), np.float32))
        for at in range(0, len(stored), QUANTISED_AT_ONCE):
            part = slice(at, at + QUANTISED_AT_ONCE)
            made.rows[part], made.scales[part] = quantise(stored[part])
        bad = np.flatnonzero(~np.isfinite(made.scales))
        if len(bad):
            raise CorruptArtifact(
                f"Row {self.store.plan.shards[index][0] + int(bad[0])} of store {self.store.folder.name} is not a "
                "finite number.",
                "Check the store with `proponent verify`.",
            )
        return made


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process make a shard's int8 rows while others wait; no lock where the file system has none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
