"""The gradient store on disk: projected gradients of all passages of a corpus (or of a query set), in shards.

``plan.json`` comes first and fixes everything that determines the bytes. A shard is there once its ``shard.json``
is, which is written last; the manifest seals the whole. A row is fp16 times a power-of-two scale for each layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.artifacts import Home, read_manifest
from backend.core.errors import CorruptArtifact, IncompatibleStores
from backend.core.files import load_array, read_json, save_array, sha256_of, write_json

PLAN = "plan.json"
SHARD = "shard.json"
FP16_MAX = 65_504.0


@dataclass(frozen=True)
class LayerSlice:
    """Where a layer lies in a row: ``[start, start + outputs x inputs)``, row-major (p_out, p_in)."""

    name: str
    start: int
    outputs: int
    inputs: int

    @property
    def dims(self) -> int:
        """Length of the slice."""
        return self.outputs * self.inputs

    @property
    def span(self) -> slice:
        """The slice itself."""
        return slice(self.start, self.start + self.dims)


@dataclass(frozen=True)
class StorePlan:
    """Everything that determines a store's bytes."""

    fingerprint: dict[str, Any]
    """Model, tokenisation, projections (a hash for each row set) and layers: equal for comparable stores."""
    row_sets: tuple[str, ...]
    layers: tuple[LayerSlice, ...]
    scales: dict[str, list[float]]
    """Row set -> a power of two for each layer; the stored value times it is the projected gradient."""
    dtype: str
    rows: int
    shards: tuple[tuple[int, int], ...]
    """(first row, end row) of each shard."""
    batching: dict[str, Any]
    """How a shard's rows are put into batches: part of what makes a resumed build bit-equal."""

    @property
    def dims(self) -> int:
        """Length of a row."""
        return sum(layer.dims for layer in self.layers)

    def scale_vector(self, row_set: str) -> np.ndarray:
        """The scales spread over a row, (dims,) float64."""
        return np.repeat(np.asarray(self.scales[row_set]), [layer.dims for layer in self.layers])

    def write(self, folder: Path) -> None:
        """Write plan.json."""
        write_json(folder / PLAN, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> StorePlan:
        """Read plan.json; raises CorruptArtifact."""
        raw = read_json(folder / PLAN)
        try:
            return cls(
                **{
                    **raw,
                    "row_sets": tuple(raw["row_sets"]),
                    "layers": tuple(LayerSlice(**layer) for layer in raw["layers"]),
                    "shards": tuple((start, end) for start, end in raw["shards"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifact(
                f"{folder / PLAN} does not have the form of a plan ({error}).",
                "Delete its folder and encode again.",
            ) from error


def check_comparable(passages: StorePlan, queries: StorePlan) -> None:
    """Raise IncompatibleStores, naming what differs, unless both were made with the same projections."""
    left, right = passages.fingerprint, queries.fingerprint
    different = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    if different:
        raise IncompatibleStores(
            f"The two gradient stores differ in their {', '.join(different)}.",
            "Encode both with the same model, tokenizer and projection settings.",
        )


def shard_folder(folder: Path, index: int) -> Path:
    """Folder of a shard."""
    return folder / "shards" / f"{index:05d}"


def row_file(row_set: str, dtype: str) -> str:
    """File name of a row set in a shard."""
    return f"{row_set}.{'f16' if dtype == 'float16' else 'f32'}.npy"


def write_shard(folder: Path, plan: StorePlan, index: int, rows: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Write one shard: arrays first, then the shard.json that makes it count."""
    target = shard_folder(folder, index)
    hashes = {}
    for row_set, array in rows.items():
        name = row_file(row_set, plan.dtype)
        save_array(target / name, array)
        hashes[name] = sha256_of(target / name)
    write_json(target / SHARD, {"rows": list(plan.shards[index]), "sha256": hashes, **facts})


def missing_shards(folder: Path, plan: StorePlan) -> list[int]:
    """Shards that are not there yet, or whose files do not have the stated hashes (a disk that lied)."""
    return [index for index in range(len(plan.shards)) if not _shard_is_whole(shard_folder(folder, index))]


def _shard_is_whole(folder: Path) -> bool:
    if not (folder / SHARD).exists():
        return False
    expected = read_json(folder / SHARD)["sha256"]
    return all((folder / name).exists() and sha256_of(folder / name) == sha for name, sha in expected.items())


class GradientStore:
    """A finished store, memory-mapped; reading it never holds more than a block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self.plan = StorePlan.read(folder)
        self._arrays: dict[tuple[int, str], np.ndarray] = {}

    @classmethod
    def open(cls, home: Home, store_id: str) -> GradientStore:
        """Open a finished store by id; raises MissingArtifact."""
        return cls(home.find("store", store_id))

    @property
    def rows(self) -> int:
        """Number of examples."""
        return self.plan.rows

    def shard(self, index: int, row_set: str) -> np.ndarray:
        """A shard's rows as stored, (n, dims), memory-mapped."""
        key = index, row_set
        if key not in self._arrays:
            path = shard_folder(self.folder, index) / row_file(row_set, self.plan.dtype)
            array = load_array(path)
            start, end = self.plan.shards[index]
            if array.shape != (end - start, self.plan.dims):
                raise CorruptArtifact(
                    f"{path} has shape {array.shape}, its plan says {(end - start, self.plan.dims)}.",
                    "Run `proponent verify`, delete the store's folder and encode again.",
                )
            self._arrays[key] = array
        return self._arrays[key]

    def blocks(self, row_set: str, rows: int = 4096) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, stored rows) in order, at most ``rows`` at a time and never across shards."""
        for index, (start, end) in enumerate(self.plan.shards):
            array = self.shard(index, row_set)
            for at in range(0, end - start, rows):
                yield start + at, array[at : at + rows]

    def gather(self, row_set: str, positions: np.ndarray) -> np.ndarray:
        """Stored rows at some positions, (n, dims), in the order asked for."""
        starts = np.array([start for start, _ in self.plan.shards])
        owners = np.searchsorted(starts, positions, side="right") - 1
        result = np.empty((len(positions), self.plan.dims), dtype=self.plan.dtype)
        for index in np.unique(owners):
            mine = owners == index
            result[mine] = self.shard(int(index), row_set)[positions[mine] - starts[index]]
        return result

    def values(self, row_set: str) -> np.ndarray:
        """All projected gradients with their scales undone, (rows, dims) float64: for query sets."""
        scale = self.plan.scale_vector(row_set)
        return np.concatenate([block * scale for _, block in self.blocks(row_set)])
