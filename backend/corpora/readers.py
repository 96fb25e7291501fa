"""Read a user's own passages (JSONL, Parquet, a ``datasets`` name) and queries (JSONL).

Every problem names the file and the line (or row), and all of them, up to twenty, are reported at once. The
formats are described in docs/reference/formats.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.core.errors import InputError
from backend.core.records import Passage, Query
from backend.corpora.fields import PASSAGE_FIELDS, Problems, Row, json_objects, passage_of, query_of

HUB_PREFIX = "hf://"
JSONL_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")

_INSTALL_PARQUET = "Install it: pip install 'proponent[parquet]' -c constraints.txt"
_FORMATS = "docs/reference/formats.md describes the format."


@dataclass(frozen=True, slots=True)
class PassagesRead:
    """What was read, and what was left out on the way."""

    passages: list[Passage]
    removed_characters: int = 0
    """C0 control characters (all but line feed and tab) that were removed from texts."""
    skipped_rows: int = 0
    """Rows of a ``datasets`` set without any text; such rows are an error in a user's own file."""


@dataclass(frozen=True, slots=True)
class QueriesRead:
    """What was read, and what was left out on the way."""

    queries: list[Query]
    removed_characters: int = 0


def read_passages(location: str | Path) -> PassagesRead:
    """Read passages from a ``.jsonl`` or ``.parquet`` file or from ``hf://name[:split]``.

    Raises InputError that lists the problems found (up to twenty), each with its line or row.
    """
    name = str(location)
    if name.startswith(HUB_PREFIX):
        return _read_hub(name)
    path = _existing_file(location)
    if path.suffix.lower() in PARQUET_SUFFIXES:
        problems = Problems(str(path))
        return _collect(_parquet_rows(path, problems), problems)
    if path.suffix.lower() not in JSONL_SUFFIXES:
        raise InputError(
            f"{path} is neither JSONL nor Parquet by its name.",
            "Name it *.jsonl or *.parquet, or give hf://NAME for a set of the `datasets` library.",
        )
    problems = Problems(str(path))
    return _collect(json_objects(path, problems), problems)


def read_queries(path: str | Path, passage_ids: Collection[str] | None = None) -> QueriesRead:
    """Read queries from a JSONL file.

    With ``passage_ids`` (a set or dict, for speed), ``entails`` may name only these. Raises InputError that
    lists the problems found (up to twenty), each with its line.
    """
    found = _existing_file(path)
    problems = Problems(str(found))
    queries: list[Query] = []
    lines: dict[str, int | str] = {}
    removed = 0
    for line, values in json_objects(found, problems):
        row = Row(values, line, problems)
        query = query_of(row)
        removed += row.removed
        _note_duplicate(values.get("id"), line, lines, row)
        if query is None:
            continue
        for passage in query.entails or ():
            if passage_ids is not None and passage not in passage_ids:
                problems.add(line, f"field 'entails' names passage {passage!r}, which the corpus does not have")
        queries.append(query)
    if not queries and not problems.found:
        problems.add(None, "the query set is empty: no queries in it")
    problems.finish(_FORMATS)
    return QueriesRead(queries, removed)


def _collect(
    rows: Iterator[tuple[int | str, dict[str, Any]]] | Iterator[tuple[int, dict[str, Any]]],
    problems: Problems,
) -> PassagesRead:
    passages: list[Passage] = []
    lines: dict[str, int | str] = {}
    removed = 0
    for line, values in rows:
        row = Row(values, line, problems)
        passage = passage_of(row)
        removed += row.removed
        _note_duplicate(values.get("id"), line, lines, row)
        if passage is not None:
            passages.append(passage)
        if problems.full:
            break
    if not passages and not problems.found:
        problems.add(None, "the corpus is empty: no passages in it")
    problems.finish(_FORMATS)
    return PassagesRead(passages, removed)


def _note_duplicate(identifier: object, line: int | str, lines: dict[str, int | str], row: Row) -> None:
    if not isinstance(identifier, str):
        return
    first = lines.setdefault(identifier, line)
    if first != line:
        place = f"line {first}" if isinstance(first, int) else first
        row.problem(f"id {identifier!r} is already that of {place}")


def _existing_file(location: str | Path) -> Path:
    path = Path(location)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.", "Give the path of a file.")
    return path


def _parquet_rows(path: Path, problems: Problems) -> Iterator[tuple[int | str, dict[str, Any]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"Reading {path} needs the package pyarrow.", _INSTALL_PARQUET) from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for values in batch.to_pylist():
                    number += 1
                    yield f"row {number}", values
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        problems.add(f"row {number + 1}" if number else None, f"not readable as Parquet ({error})")


def _read_hub(location: str) -> PassagesRead:
    """Read a ``datasets`` set. It is not the user's to edit, so unlike in a file other columns are passed
    over, rows without text are left out (and counted), and a missing ``id`` is made of the split and the
    row."""
    name, _, split = location.removeprefix(HUB_PREFIX).partition(":")
    split = split or "train"
    if not name:
        raise InputError(f"{location!r} names no set.", "Give hf://NAME or hf://NAME:SPLIT.")
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"Reading {location} needs the package datasets.", _INSTALL_PARQUET) from error
    try:
        rows = datasets.load_dataset(name, split=split, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{location} could not be loaded ({error}).", "Check the name, the split and the connection."
        ) from error
    skipped = 0

    def with_text() -> Iterator[tuple[int | str, dict[str, Any]]]:
        nonlocal skipped
        for number, values in enumerate(rows, start=1):
            kept = {key: value for key, value in values.items() if key in PASSAGE_FIELDS}
            if isinstance(kept.get("text"), str) and not kept["text"].strip():
                skipped += 1
                continue
            if kept.get("id") is None:
                kept["id"] = f"{split}-{number}"
            elif isinstance(kept["id"], int):
                kept["id"] = str(kept["id"])
            yield f"row {number}", kept

    problems = Problems(location)
    read = _collect(with_text(), problems)
    return PassagesRead(read.passages, read.removed_characters, skipped)
