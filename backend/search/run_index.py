"""The artifact of kind "index": a FAISS file for each geometry that a run's queries have, opened for searching.

    indexes/<id>/geometry-0.faiss, geometry-1.faiss, ...

The number is that of the geometry in the prepared method: for TrackStar, 0 is R_train and 1 the mixed R. What the
manifest's facts say of each: file, geometry, tasks, weight (lambda), bytes, queries, recall_at_100.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.core.artifacts import Home, Manifest, read_manifest
from backend.search.index import IndexConfig, SearchIndex

KIND = "index"


def file_of(geometry: int) -> str:
    """Name of the file of a geometry."""
    return f"geometry-{geometry}.faiss"


@dataclass(frozen=True)
class RunIndexes:
    """A finished index of a run."""

    id: str
    by_geometry: dict[int, SearchIndex]
    """Number of a geometry -> its index; a geometry that no query of the run has is not there."""


def config_of(manifest: Manifest) -> IndexConfig:
    """The configuration that an index was made with."""
    return IndexConfig(**{name: manifest.config[name] for name in ("factory", "sample", "candidates", "seed")})


def open_indexes(home: Home, index_id: str) -> RunIndexes:
    """Open an index; raises MissingArtifact, or CorruptArtifact where a file is not what its manifest says."""
    folder = home.find(KIND, index_id)
    manifest = read_manifest(folder)
    config, facts = config_of(manifest), manifest.facts
    shape = facts["passages"], facts["dims"]
    geometries: list[dict[str, Any]] = facts["geometries"]
    return RunIndexes(
        index_id,
        {
            part["geometry"]: SearchIndex.open(
                folder / part["file"], manifest.files.get(part["file"], {}).get("sha256", ""), config, shape
            )
            for part in geometries
        },
    )


def newest_index(home: Home, run_id: str) -> str | None:
    """Id of the newest finished index of a run; None where there is none."""
    finished = reversed(home.finished(KIND))
    return next((name for name in finished if read_manifest(home.folder(KIND, name)).inputs["run"] == run_id), None)
