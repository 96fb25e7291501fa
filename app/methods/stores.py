"""Cost of gradient stores, from their manifests: the catalogue knows them only by their ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from backend.core.artifacts import Home, read_manifest
from backend.core.errors import UserError


@dataclass(frozen=True, slots=True)
class StoreCost:
    """What encoding a corpus took, and how large one row set of it is."""

    seconds: float
    bytes: int | None
    """Of the row set's files; None where the store lists none of that name."""
    rank: int | None


def store_cost(home: Path, store_id: str | None, row_set: str | None) -> StoreCost | None:
    """The cost of a row set; None without a store, or where its folder is not (any more) on this machine."""
    if store_id is None:
        return None
    try:
        manifest = read_manifest(Home(home).folder("store", store_id))
    except (UserError, OSError):
        return None
    own = [
        file["bytes"] for name, file in manifest.files.items() if PurePosixPath(name).name.partition(".")[0] == row_set
    ]
    return StoreCost(manifest.seconds, sum(own) if own else None, manifest.config.get("rank"))
