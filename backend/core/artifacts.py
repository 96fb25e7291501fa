"""Immutable, content-addressed artifacts under PROPONENT_HOME.

A stage is a function of (its inputs' ids + its config) to an artifact whose id is the hash of those, so the same
stage run again finds its result. A folder holds an artifact once its ``MANIFEST.json`` is there; the manifest is
written last and names every file with its size and SHA-256.
"""

from __future__ import annotations

import hashlib
import platform
import resource
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backend.core.errors import CorruptArtifact, MissingArtifact
from backend.core.files import canonical_json, read_json, sha256_of, write_json

MANIFEST = "MANIFEST.json"
FOLDERS = {
    "corpus": "corpora",
    "queries": "query_sets",
    "model": "models",
    "outputs": "outputs",
    "store": "stores",
    "embeddings": "embeddings",
    "run": "runs",
    "patches": "patches",
    "retraining": "retrainings",
    "measurement": "measurements",
    "index": "indexes",
}
"""Kind of artifact -> folder under the home."""

FORMAT = dict.fromkeys(FOLDERS, 1)
"""Raise a kind's number when the same inputs and config come to give other bytes."""


@dataclass(frozen=True)
class Home:
    """The folder that holds all artifacts and the catalogue."""

    root: Path

    def folder(self, kind: str, artifact_id: str) -> Path:
        """Where an artifact lives, or would."""
        return self.root / FOLDERS[kind] / artifact_id

    def find(self, kind: str, artifact_id: str) -> Path:
        """The folder of a finished artifact; raises MissingArtifact."""
        folder = self.folder(kind, artifact_id)
        if not (folder / MANIFEST).exists():
            raise MissingArtifact(
                f"There is no finished {kind} {artifact_id!r} in {self.root}.",
                "`proponent status` lists what is there.",
            )
        return folder

    def finished(self, kind: str) -> list[str]:
        """Ids of all finished artifacts of a kind, oldest first."""
        base = self.root / FOLDERS[kind]
        manifests = [read_manifest(path.parent) for path in base.glob(f"*/{MANIFEST}")]
        return [manifest.id for manifest in sorted(manifests, key=lambda m: (m.created_at, m.id))]


@dataclass(frozen=True)
class Manifest:
    """What an artifact is made of, how, and what its files must hash to."""

    kind: str
    id: str
    inputs: dict[str, str | None]
    config: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    """What was found while making it (counts, lambda, accuracy): part of the result."""
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Relative path -> {"bytes", "sha256"}."""
    command: str = ""
    """The command that makes this artifact again."""
    versions: dict[str, str] = field(default_factory=dict)
    created_at: str = ""
    seconds: float = 0.0
    peak_memory_bytes: int = 0


def artifact_id(kind: str, inputs: dict[str, str | None], config: dict[str, Any], prefix: str = "") -> str:
    """Id of the artifact that these inputs and this config give: ``prefix`` and 12 hex digits."""
    payload = {"kind": kind, "format": FORMAT[kind], "inputs": inputs, "config": config}
    digest = hashlib.sha256(canonical_json(payload).encode()).hexdigest()[:12]
    return f"{prefix}-{digest}" if prefix else digest


def is_finished(folder: Path) -> bool:
    """True once the folder holds a whole artifact."""
    return (folder / MANIFEST).exists()


def seal(
    folder: Path,
    *,
    kind: str,
    inputs: dict[str, str | None],
    config: dict[str, Any],
    facts: dict[str, Any],
    seconds: float,
    command: str,
    known_hashes: dict[str, str] | None = None,
) -> Manifest:
    """Hash every file of a folder and write its manifest: from then on the artifact is there, and immutable.

    ``known_hashes`` (relative path -> SHA-256) spares files that were hashed when they were written.
    """
    known = known_hashes or {}
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            files[name] = {"bytes": path.stat().st_size, "sha256": known.get(name) or sha256_of(path)}
    manifest = Manifest(
        kind=kind,
        id=folder.name,
        inputs=inputs,
        config=config,
        facts=facts,
        files=files,
        command=command,
        versions=library_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        seconds=round(seconds, 3),
        peak_memory_bytes=peak_memory_bytes(),
    )
    write_json(folder / MANIFEST, asdict(manifest))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read an artifact's manifest; raises MissingArtifact or CorruptArtifact."""
    path = folder / MANIFEST
    if not path.exists():
        raise MissingArtifact(f"{folder} holds no finished artifact.", "Run the stage that makes it again.")
    try:
        return Manifest(**read_json(path))
    except TypeError as error:
        raise CorruptArtifact(
            f"{path} does not have the form of a manifest ({error}).", "Delete its folder and make it again."
        ) from error


def verify(folder: Path) -> list[str]:
    """Re-hash an artifact; returns what is wrong, a line each (empty: all is well)."""
    problems = []
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.exists():
            problems.append(f"{path} is missing")
        elif path.stat().st_size != expected["bytes"]:
            problems.append(f"{path} has {path.stat().st_size} bytes, its manifest says {expected['bytes']}")
        elif sha256_of(path) != expected["sha256"]:
            problems.append(f"{path} does not have the SHA-256 of its manifest")
    return problems


def library_versions() -> dict[str, str]:
    """Versions that can change results."""
    found = {"python": platform.python_version()}
    for name in ("proponent", "torch", "transformers", "tokenizers", "numpy", "bm25s", "faiss-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
