"""Lists as files: CSV that a spreadsheet may open safely, and JSON lines; both are streamed row by row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from starlette.responses import StreamingResponse

Format = Literal["csv", "jsonl"]
MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula: these signs, and their full-width forms."""

ROWS_A_CHUNK = 200


def export(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], name: str, kind: Format) -> StreamingResponse:
    """Rows as a download called ``name``; JSON lines hold the rows as they are, CSV only the columns.

    A value that is a list becomes JSON in its cell; a nested mapping gives columns with a dot ("output.text").
    """
    chunks = _csv(rows, columns) if kind == "csv" else _jsonl(rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.{kind}"', "Cache-Control": "no-cache"}
    return StreamingResponse(chunks, media_type=MEDIA_TYPES[kind], headers=headers)


def safe_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: texts that begin like one get an apostrophe before them.

    Numbers stay numbers.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        value = value.replace("\0", "")
        risky = value[:1].isspace() and not value.startswith(" ")
        return f"'{value}" if risky or value.lstrip().startswith(FORMULA) else value
    return value


def flat(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Columns of a row; those of mappings inside it carry both names."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval=None, extrasaction="ignore")
    writer.writeheader()
    for number, row in enumerate(rows, start=1):
        writer.writerow({name: safe_cell(value) for name, value in flat(row)})
        if number % ROWS_A_CHUNK == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    lines = []
    for number, row in enumerate(rows, start=1):
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        if number % ROWS_A_CHUNK == 0:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)
