"""Reading a finished artifact for the catalogue: files are first checked against its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.artifacts import read_manifest
from backend.core.errors import CorruptArtifact
from backend.core.files import load_array, read_json, sha256_of


class ArtifactReader:
    """A finished artifact of one kind; raises MissingArtifact or CorruptArtifact, naming file and line."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        if self.manifest.kind != kind:
            raise CorruptArtifact(
                f"{folder} holds a {self.manifest.kind}, not a {kind}.", "Give the folder of the right kind."
            )

    @property
    def id(self) -> str:
        """The artifact's id."""
        return self.manifest.id

    def columns(self) -> dict[str, Any]:
        """The columns that every artifact's row has."""
        kept = asdict(self.manifest)
        del kept["files"]
        try:
            created_at = datetime.fromisoformat(self.manifest.created_at).astimezone()
        except ValueError as error:
            raise self.corrupt("MANIFEST.json", f"created_at is no date: {error}") from error
        return {"id": self.id, "created_at": created_at, "manifest": kept}

    def input(self, name: str) -> str | None:
        """The id of an input; None where there is none."""
        return self.manifest.inputs.get(name)

    def required_input(self, name: str) -> str:
        """The id of an input that this kind cannot be without."""
        found = self.input(name)
        if found is None:
            raise self.corrupt("MANIFEST.json", f"inputs.{name} is missing")
        return found

    def setting(self, name: str) -> str:
        """A text of the configuration."""
        found = self.manifest.config.get(name)
        if not isinstance(found, str):
            raise self.corrupt("MANIFEST.json", f"config.{name} is missing")
        return found

    def holds(self, name: str) -> bool:
        """True if the manifest lists this file."""
        return name in self.manifest.files

    def file(self, name: str) -> Path:
        """A file whose bytes are those of the manifest."""
        path = self.folder / name
        listed = self.manifest.files.get(name)
        if listed is None or not path.is_file():
            raise self.corrupt(name, "it is missing")
        if path.stat().st_size != listed["bytes"] or sha256_of(path) != listed["sha256"]:
            raise self.corrupt(name, "it does not have the size and SHA-256 of its manifest")
        return path

    def json(self, name: str) -> Any:
        """A JSON file."""
        return read_json(self.file(name))

    def rows(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """(position, object) of every line of a JSONL file."""
        with self.file(name).open("rb") as stream:
            for position, line in enumerate(stream):
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise self.corrupt(f"{name}, line {position + 1}", str(error)) from error
                if not isinstance(row, dict):
                    raise self.corrupt(f"{name}, line {position + 1}", "it is no JSON object")
                yield position, row

    def array(self, name: str, shape: tuple[int | None, ...], dtype: str) -> np.ndarray:
        """An array of this shape (None: any length) and exact type."""
        array = load_array(self.file(name))
        fits = len(shape) == array.ndim and all(
            wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype != np.dtype(dtype):
            wanted = " x ".join("any" if size is None else str(size) for size in shape)
            raise self.corrupt(name, f"it is {array.shape} of {array.dtype}, not {wanted} of {dtype}")
        return array

    def finite_array(self, name: str, shape: tuple[int | None, ...], dtype: str) -> np.ndarray:
        """An array without NaN or infinity."""
        array = self.array(name, shape, dtype)
        if not np.isfinite(array).all():
            raise self.corrupt(name, "it holds numbers that are not finite")
        return array

    def corrupt(self, where: str, what: str) -> CorruptArtifact:
        """The error for a malformed part of this artifact."""
        return CorruptArtifact(
            f"{self.folder / where} cannot be loaded: {what}.",
            "Delete the artifact's folder and make it again.",
        )


def text_of(row: dict[str, Any], field: str) -> str:
    """A required text field; NUL, which PostgreSQL cannot store, becomes U+FFFD.

    Raises KeyError or TypeError.
    """
    value = row[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is {type(value).__name__}, not a text")
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def optional_text(row: dict[str, Any], field: str) -> str | None:
    """A text field that may be null or absent."""
    return None if row.get(field) is None else text_of(row, field)
