"""A FAISS index of search vectors: candidates for the best passages without reading the store.

What an index returns is only where to look: candidates are scored again from the stored rows (``rank_candidates``), so
an index changes which passages are listed and never their scores or order. An index file is a copy of the vectors in
fewer bits; it is in memory while it is made, and memory-mapped where FAISS can when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from backend.core.errors import CorruptArtifact, UserError
from backend.core.files import sha256_of, sync_folder
from backend.search.reduce import OPPONENTS, PROPONENTS, Exact, Listed, rank_candidates

DEFAULT_FACTORY = "HR,RaBitQ2"
"""A random rotation, then two bits a dimension: docs/explanation/results.md has what else was measured."""
SAMPLE = 8192
"""Vectors that an index is trained on, at most."""
CANDIDATES = 1000
"""Passages that are scored again for a list of 100."""
ADDED_AT_ONCE = 1024
"""Vectors in memory at one time beside the index."""
PROBED_SHARE = 0.25
"""Cells of an inverted file that are searched."""
QUERY_BITS = 8
"""To which RaBitQ rounds a query: a hundred times as fast as floats here, for the same candidates."""
REFINED = 4
"""Of an index with a refinement stage, how many times the wanted candidates its first stage hands over."""
FASTSCAN_DIMS = 2000
"""FastScan adds up in 16 bits; above about so many dims its results are wrong without a word (recall .02 at 4,096)."""
REBUILD = "Delete its folder and build it again: `proponent index`."

Vectors = Callable[[np.ndarray], np.ndarray]
"""Search vectors (n, dims) float32 of some passages (positions)."""


@dataclass(frozen=True)
class IndexConfig:
    """What determines an index."""

    factory: str = DEFAULT_FACTORY
    """FAISS's factory string."""
    sample: int = SAMPLE
    candidates: int = CANDIDATES
    seed: int = 0
    """Of the training sample."""

    @property
    def opponents(self) -> int:
        """Candidates for the list of opponents: as many for each place."""
        return max(OPPONENTS, self.candidates * OPPONENTS // PROPONENTS)


@dataclass(frozen=True)
class IndexSize:
    """What an index will take, in bytes."""

    disk: int
    memory: int


def estimate_size(config: IndexConfig, dims: int, rows: int) -> IndexSize:
    """About what an index of one geometry takes; raises UserError as ``empty_index`` does."""
    index = empty_index(config.factory, dims)
    try:
        code = int(index.sa_code_size())
    except RuntimeError:  # graphs have none: vectors, and links beside them
        code = 4 * dims + 512
    cells = max((int(part.nlist) for part in _parts(index) if hasattr(part, "nlist")), default=0)
    disk = rows * (code + 8) + 4 * dims * (cells + 64)
    working = 4 * dims * (min(config.sample, rows) + 6 * ADDED_AT_ONCE)
    return IndexSize(disk, disk + working)


def empty_index(factory: str, dims: int) -> Any:
    """An untrained index for inner products.

    Raises UserError if FAISS does not know the factory string, or knows it and would be wrong at so many dims.
    """
    try:
        index = faiss.index_factory(dims, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UserError(
            f"FAISS makes no index {factory!r} of {dims} dimensions ({_reason(error)}).",
            f"Give another with --factory, such as {DEFAULT_FACTORY!r}, 'SQ8' or 'Flat'.",
        ) from error
    if any("FastScan" in type(part).__name__ and part.d > FASTSCAN_DIMS for part in _parts(index)):
        raise UserError(
            f"{factory!r} is a FastScan index: above {FASTSCAN_DIMS} dimensions, and here are {dims}, its results are "
            "wrong.",
            "Take its form without `fs`.",
        )
    return index


def write_index(path: Path, config: IndexConfig, dims: int, rows: int, vectors: Vectors) -> None:
    """Train an index on a sample, add all passages block by block, and write it; it appears only when it is whole.

    Raises UserError if FAISS cannot train it or the file cannot be written.
    """
    index = empty_index(config.factory, dims)
    try:
        if not index.is_trained:
            drawn = np.random.default_rng(config.seed).permutation(rows)[: config.sample]
            index.train(vectors(np.sort(drawn)))
        for start in range(0, rows, ADDED_AT_ONCE):
            index.add(vectors(np.arange(start, min(rows, start + ADDED_AT_ONCE))))
    except RuntimeError as error:
        raise UserError(
            f"FAISS cannot make {config.factory!r} of {rows:,} passages ({_reason(error)}).",
            "Give another with --factory, or a larger --sample.",
        ) from error
    part = path.with_name(path.name + ".part")
    try:
        faiss.write_index(index, str(part))
        with part.open("rb+") as stream:
            os.fsync(stream.fileno())
    except RuntimeError as error:
        part.unlink(missing_ok=True)
        raise UserError(f"{path} could not be written ({_reason(error)}).", "Free some space and try again.") from error
    part.replace(path)
    sync_folder(path.parent)


class SearchIndex:
    """An index that was written, ready to be searched."""

    def __init__(self, index: Any, config: IndexConfig) -> None:
        self._index, self.config = index, config
        for part in _parts(index):
            if hasattr(part, "qb"):
                part.qb = QUERY_BITS
            if hasattr(part, "nprobe"):
                part.nprobe = max(1, round(part.nlist * PROBED_SHARE))
            if hasattr(part, "k_factor"):
                part.k_factor = REFINED

    @classmethod
    def open(cls, path: Path, sha256: str, config: IndexConfig, shape: tuple[int, int]) -> SearchIndex:
        """Read an index after checking its SHA-256; ``shape`` is (rows, dims).

        Raises CorruptArtifact if bytes, form or shape are not what they should be.
        """
        if not path.is_file() or sha256_of(path) != sha256:
            raise CorruptArtifact(f"{path} is missing or does not have the SHA-256 of its manifest.", REBUILD)
        return cls.read(path, config, shape)

    @classmethod
    def read(cls, path: Path, config: IndexConfig, shape: tuple[int, int]) -> SearchIndex:
        """The same of a file that this process has just written: no SHA-256 is known yet."""
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as error:
            raise CorruptArtifact(f"{path} is no index that FAISS can read ({_reason(error)}).", REBUILD) from error
        if (index.ntotal, index.d) != shape:
            raise CorruptArtifact(
                f"{path} holds {index.ntotal} x {index.d} numbers, not {shape[0]} x {shape[1]}.", REBUILD
            )
        return cls(index, config)

    def candidates(self, vector: np.ndarray, count: int) -> np.ndarray:
        """Positions of about the ``count`` passages with the highest inner product with a vector (dims,) float32."""
        found = self._index.search(vector[None], min(count, self._index.ntotal))[1][0]
        positions: np.ndarray = found[found >= 0].astype(np.intp)
        return positions

    def ranking(self, vector: np.ndarray, exact: Exact, tie_order: np.ndarray) -> Listed:
        """A query's proponents, and its opponents as those of the negated query; each query is searched alone.

        ``vector`` (dims,) float32 is its search vector, ``exact`` gives its scores in float64 from the stored rows.
        """
        return rank_candidates(
            self.candidates(vector, self.config.candidates),
            self.candidates(-vector, self.config.opponents),
            exact,
            tie_order,
            proponents=PROPONENTS,
            opponents=OPPONENTS,
        )


def set_threads(threads: int) -> None:
    """Let FAISS use so many threads, in this process."""
    faiss.omp_set_num_threads(threads)


def _parts(index: Any) -> list[Any]:
    """An index and what is nested in it, each as its own class."""
    found, inner = [], index
    while inner is not None:
        own = faiss.downcast_index(inner)
        found.append(own)
        inner = getattr(own, "index", None) or getattr(own, "base_index", None)
    return found


def _reason(error: BaseException) -> str:
    """The last line of FAISS's message, without where in its source it arose."""
    return str(error).strip().splitlines()[-1].split(": ", 1)[-1][-200:]
