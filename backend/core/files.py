"""Files that are either whole or not there: write to ``.part``, fsync, rename, fsync the folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from backend.core.errors import CorruptArtifact, UserError

Json = Any


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` for writing; it appears only when the block ends without an error."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {path} could not be written.",
                "Free some space and run the same command again; finished parts are kept.",
            ) from error
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Json) -> str:
    """JSON with sorted keys and no spaces: the form that is hashed. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Json) -> None:
    """Write readable JSON atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_file(path) as stream:
        stream.write(text.encode() + b"\n")


def read_json(path: Path) -> Json:
    """Read JSON; raises CorruptArtifact if it does not parse."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise CorruptArtifact(f"{path} is not valid JSON ({error}).", "Delete its folder and make it again.") from error


def write_jsonl(path: Path, rows: Iterable[Json]) -> int:
    """Write one JSON value a line, atomically; returns the number of lines."""
    count = 0
    with atomic_file(path) as stream:
        for row in rows:
            stream.write(canonical_json(row).encode() + b"\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[Json]:
    """Read the lines that write_jsonl wrote."""
    with path.open("rb") as stream:
        for line in stream:
            yield json.loads(line)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a ``.npy`` file atomically."""
    if array.dtype.hasobject:
        raise ValueError("arrays of objects are not stored")
    contiguous = np.ascontiguousarray(array)
    with atomic_file(path) as stream:
        # np.save's own way of writing to a file loses the system's error number, and so a full disk's name.
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(contiguous))
        stream.write(contiguous.reshape(-1).view(np.uint8).data)


def load_array(path: Path) -> np.ndarray:
    """Memory-map a ``.npy`` file read-only; object arrays are refused."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptArtifact(
            f"{path} is not a readable array ({error}).", "Delete its folder and make it again."
        ) from error
