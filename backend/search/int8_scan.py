"""Approximate scores of all rows of a store: products of int8 rows with queries in two int8 parts, exact in int32.

Sums of integers do not depend on their order, and everything after them is done element by element in float64. So a
query's scores are the same bits alone or among others, in blocks of any size, on any processor, and on CUDA.

Shapes: Q queries, n rows, D dims (padded to K), N columns: two parts for each query, padded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from backend.core.errors import UserError
from backend.gradients.store import GradientStore
from backend.search.int8_rows import Int8Rows
from backend.search.scoring import ProjectedScorer, Scorer

QUERY_LEVELS = 64
"""Largest absolute value in a query's parts. Processors without VNNI add pairs of (row + 128) x part in int16, which
255 x 64 x 2 just fits into; 127 would saturate there, without a word."""
EXACT_DIMS = 1 << 17
"""Dims whose products surely fit in int32 (up to 133,000 at 127 x 127); longer rows are added up in int64."""
ROW_BLOCK = 4096
SMALLEST_ROW_BLOCK = 256
COLUMNS = 8
"""``torch._int_mm`` on CUDA wants a multiple of so many columns."""
DIMS = 16
"""... and of 8 dims; 16 keep every block aligned to 256 bytes."""
ROWS = 32
"""... and more than 16 rows."""
SPARE_SHARE = 0.2
"""Of a device's free memory, what is left for the products and for others."""


@dataclass(frozen=True)
class Device:
    """How rows come onto a device, and how much room there is."""

    put: Callable[[Tensor], Tensor]
    free_bytes: Callable[[], int]
    release: Callable[[], None] = lambda: None
    """Give memory that is no longer used back."""


def cuda_device(name: str) -> Device:
    """A CUDA device."""
    return Device(lambda rows: rows.to(name), lambda: torch.cuda.mem_get_info(name)[0], torch.cuda.empty_cache)


@dataclass(frozen=True)
class Reading:
    """What a scan read."""

    bytes: int
    seconds: float

    @property
    def gigabytes_per_second(self) -> float:
        """10^9 bytes a second."""
        return self.bytes / 1e9 / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class _Parts:
    """Queries as ``high_scales x high + low_scales x low``."""

    columns_NK: Tensor
    """int8: the high parts of all queries, then the low parts, then zeros."""
    high_scales_Q: Tensor
    low_scales_Q: Tensor


class Int8Scan:
    """Scans of one row set of a store on one device.

    On the CPU rows are read where they are mapped. On another device they are put there once if they fit; if not, or
    if memory runs out later, blocks of them are sent at every scan.
    """

    def __init__(self, rows: Int8Rows, device: Device | None = None, *, row_block: int = ROW_BLOCK) -> None:
        """``device`` is None for the CPU. ``row_block`` is a multiple of 16."""
        if row_block <= 0 or row_block % DIMS:
            raise ValueError(f"row_block must be a multiple of {DIMS}, not {row_block}")
        self.rows = rows
        self.last: Reading | None = None
        """What the last scan read, and in which time."""
        self._device, self._row_block = device, row_block
        self._resident: list[tuple[int, Tensor, Tensor]] | None = None
        self._fits = device is not None

    @property
    def resident(self) -> bool:
        """True once all rows are on a device of their own."""
        return self._resident is not None

    def scores(self, vectors: np.ndarray, progress: Callable[[int, int], None] = lambda done, rows: None) -> np.ndarray:
        """About ``stored row . vector``, (Q, rows) float32, for vectors (Q, dims) float64.

        ``progress`` gets (rows, of rows) after each block. Raises UserError if a vector is not finite, and
        torch.OutOfMemoryError if a device has not even room for a small block.
        """
        started = time.monotonic()
        parts = _split(vectors)
        result = np.empty((len(vectors), self.rows.store.rows), np.float32)
        while True:
            try:
                self._scan(parts, result, progress)
                break
            except torch.OutOfMemoryError:
                if not self._make_room():
                    raise
        self.last = Reading(self.rows.bytes, time.monotonic() - started)
        return result

    def _scan(self, parts: _Parts, result: np.ndarray, progress: Callable[[int, int], None]) -> None:
        parts = _Parts(self._put(parts.columns_NK), self._put(parts.high_scales_Q), self._put(parts.low_scales_Q))
        for start, rows_nD, scales_n in self._shards():
            for at in range(0, len(scales_n), self._row_block):
                block = slice(at, at + self._row_block)
                rows, scales = self._put(_padded(rows_nD[block])), self._put(scales_n[block])
                scores_Qn = _products(rows, scales, parts)
                end = start + at + scores_Qn.shape[1]
                result[:, start + at : end] = scores_Qn.cpu().numpy()
                progress(end, result.shape[1])

    def _shards(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """(first row, rows (n, D or K), scales (n,)) in order; on the device where they fit."""
        if self._device is not None and self._fits and self._resident is None:
            self._place(self._device)
        yield from self._resident if self._resident is not None else self._mapped()

    def _mapped(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        for start, (rows, scales) in self.rows:
            yield start, torch.from_numpy(rows), torch.from_numpy(scales)

    def _place(self, device: Device) -> None:
        """Put all rows on the device, or note that they do not fit."""
        if self.rows.bytes > device.free_bytes() * (1 - SPARE_SHARE):
            self._fits = False
            return
        placed = []
        try:
            for start, rows, scales in self._mapped():
                placed.append((start, device.put(_padded(rows)), device.put(scales)))
        except torch.OutOfMemoryError:
            placed.clear()
            device.release()
            self._fits = False
            return
        self._resident = placed

    def _make_room(self) -> bool:
        """Take less of the device's memory; False where that is not possible."""
        if self._resident is None and self._row_block <= SMALLEST_ROW_BLOCK:
            return False
        if self._resident is not None:
            self._resident, self._fits = None, False
        else:
            self._row_block = max(SMALLEST_ROW_BLOCK, self._row_block // 2 // DIMS * DIMS)
        if self._device is not None:
            self._device.release()
        return True

    def _put(self, tensor: Tensor) -> Tensor:
        return tensor if self._device is None else self._device.put(tensor)


def open_scan(store: GradientStore, row_set: str, device: str = "cpu") -> Int8Scan:
    """A scan of a store's row set on a device by its name; all but CUDA devices leave it to the CPU."""
    return Int8Scan(Int8Rows(store, row_set), cuda_device(device) if device.startswith("cuda") else None)


def approximate_scores(
    scorers: Sequence[Scorer],
    scan_of: Callable[[GradientStore, str], Int8Scan],
    progress: Callable[[int, int], None] = lambda done, rows: None,
) -> np.ndarray:
    """Scores of all passages for the queries of several scorers of one method, (Q, rows) float32.

    Those of projected scorers, all of one row set, come from one scan for all; those of others are exact. ``scan_of``
    gives the scan of a store and row set; ``progress`` is that of ``Int8Scan.scores``.
    """
    projected = [scorer for scorer in scorers if isinstance(scorer, ProjectedScorer)]
    if projected:
        first, vectors = projected[0], np.concatenate([scorer.vectors for scorer in projected])
        scores = scan_of(first.store, first.row_set).scores(vectors, progress)
        owners = [(scorer, query) for scorer in projected for query in range(len(scorer.vectors))]
        for row, (scorer, query) in zip(scores, owners, strict=True):
            row *= scorer.inverse_norms(query)
        return scores
    return np.concatenate([_exact_rows(scorer) for scorer in scorers])


def _exact_rows(scorer: Scorer) -> np.ndarray:
    tiles = list(scorer.tiles())
    scores = np.empty((max(t.queries.stop for t in tiles), max(t.passages.stop for t in tiles)), np.float32)
    for tile in tiles:
        scores[tile.queries, tile.passages] = tile.scores
    return scores


def _split(vectors: np.ndarray) -> _Parts:
    """Vectors (Q, D) float64 in two int8 parts each: what the first leaves over is in the second."""
    if not np.isfinite(vectors).all():
        raise UserError("A query's gradient is not a finite number.", "Check the model's weights and this query.")
    high, high_scales = _part(vectors)
    low, low_scales = _part(vectors - high * high_scales[:, None])
    columns = np.concatenate([high, low]).astype(np.int8)
    # On every device, so that what the CPU computes is what the tests have seen.
    columns_NK = functional.pad(
        torch.from_numpy(columns), (0, -columns.shape[1] % DIMS, 0, -len(columns) % COLUMNS)
    ).contiguous()
    return _Parts(columns_NK, torch.from_numpy(high_scales), torch.from_numpy(low_scales))


def _part(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scales = np.abs(vectors).max(axis=1, initial=0.0) / QUERY_LEVELS
    levels = np.rint(vectors / np.where(scales > 0, scales, np.inf)[:, None])
    return levels.clip(-QUERY_LEVELS, QUERY_LEVELS), scales


def _padded(rows_nD: Tensor) -> Tensor:
    """Rows with zeros up to a multiple of DIMS dims and to ROWS rows; the same tensor where nothing is missing."""
    missing = -rows_nD.shape[1] % DIMS, max(0, ROWS - len(rows_nD))
    return functional.pad(rows_nD, (0, missing[0], 0, missing[1])) if any(missing) else rows_nD


def _products(rows_nK: Tensor, scales_n: Tensor, parts: _Parts) -> Tensor:
    """(Q, n) float32, n the number of scales: padded rows fall away."""
    queries = len(parts.high_scales_Q)
    sums_nN = _integer_products(rows_nK, parts.columns_NK)[: len(scales_n), : 2 * queries]
    sums_Nn = sums_nN.T.double()
    scores = parts.high_scales_Q[:, None] * sums_Nn[:queries] + parts.low_scales_Q[:, None] * sums_Nn[queries:]
    return (scores * scales_n.double()).float()


def _integer_products(rows_nK: Tensor, columns_NK: Tensor, exact_dims: int = EXACT_DIMS) -> Tensor:
    """``rows columns^T`` in int32, or in int64 where int32 could overflow."""
    if rows_nK.shape[1] <= exact_dims:
        return torch._int_mm(rows_nK, columns_NK.T)
    total = torch.zeros(len(rows_nK), len(columns_NK), dtype=torch.int64, device=rows_nK.device)
    for at in range(0, rows_nK.shape[1], exact_dims):
        span = slice(at, at + exact_dims)
        total += torch._int_mm(rows_nK[:, span].contiguous(), columns_NK[:, span].contiguous().T)
    return total
