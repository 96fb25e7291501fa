"""Files of the paper's result viewer, made by hand, and their way in and out of a home."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from backend.catalogue.viewer_export import write_viewer_file
from backend.pipeline.viewer_import import import_viewer
from backend.pipeline.workspace import Workspace
from backend.settings import Settings

Record = dict[str, Any]


def record(number: int, *listed: str, **fields: Any) -> Record:
    """A record that lists some passages: ``c7`` is the id, its text follows from it, scores fall."""
    return {
        "example_id": f"q{number}",
        "query_set": "trex",
        "inputs_plaintext": f"The capital of country {number} is",
        "targets_plaintext": f"City {number}",
        "proponents": [f"Text of {name}." for name in listed],
        "proponent_ids": list(listed),
        "proponent_scores": [1.5 - place / 3 for place in range(len(listed))],
        **fields,
    }


def without(given: Record, *names: str) -> Record:
    """A record without some fields."""
    return {name: value for name, value in given.items() if name not in names}


def write(path: Path, records: Iterable[object]) -> Path:
    """A file of these records; a string is a line as it is."""
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def settings(home: Path, url: str | None = None) -> Settings:
    """Settings of a home, whatever the environment says."""
    return Settings(_env_file=None, home=home, database_url=url)  # type: ignore[call-arg]


def imported(
    home: Path, files: Sequence[Path], methods: Sequence[str] = (), name: str | None = None, url: str | None = None
) -> dict[str, Any]:
    """What `import-viewer` reports."""
    with Workspace(settings(home, url), "import-viewer") as work:
        return import_viewer(work, files, methods, name)


def exported(engine: Engine, run_id: str) -> list[Record]:
    """The records that `export-viewer` writes."""
    stream = io.BytesIO()
    count = write_viewer_file(engine, run_id, stream)
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(records) == count
    return records


def strictly(value: object) -> str:
    """A value as JSON, so that 1, 1.0 and true differ and the order of keys does not."""
    return json.dumps(value, sort_keys=True)
