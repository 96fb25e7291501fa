"""Measurements of methods: loading them, and the newest of each for pages and `proponent evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalogue.artifact_reader import ArtifactReader
from backend.catalogue.loading_steps import insert_rows, is_loaded, require_loaded
from backend.catalogue.models import Measurement, Model, QuerySet

INDEX = "index"
"""``Measurement.what`` of an index of a run: its manifest holds what searching through it is worth."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement as pages take it; docs/architecture.md has the facts of each ``what``."""

    id: str
    what: str
    created_at: datetime
    query_set_id: str
    model_id: str | None
    inputs: dict[str, str | None]
    config: dict[str, Any]
    facts: dict[str, Any]
    command: str
    seconds: float


def load_measurement(session: Session, folder: Path) -> bool:
    """Load a measurement's manifest. Returns False if it is there already."""
    artifact = ArtifactReader(folder, "measurement")
    if is_loaded(session, Measurement, artifact.id):
        return False
    insert_measurement(session, artifact, artifact.setting("measures"))
    return True


def insert_measurement(session: Session, artifact: ArtifactReader, what: str) -> None:
    """Insert the row of an artifact that measures something over a query set; its inputs must be loaded."""
    query_set_id, model_id = artifact.required_input("queries"), artifact.input("model")
    require_loaded(session, QuerySet, query_set_id, artifact)
    if model_id is not None:
        require_loaded(session, Model, model_id, artifact)
    row = {**artifact.columns(), "what": what, "query_set_id": query_set_id, "model_id": model_id}
    insert_rows(session, Measurement, [row])


def newest_measurements(session: Session, query_set_id: str | None = None) -> dict[str, Measured]:
    """The newest measurement of each ``what``, of one query set or of all; indexes, of a run each, are left out."""
    statement = select(Measurement).where(Measurement.what != INDEX).order_by(Measurement.created_at, Measurement.id)
    if query_set_id is not None:
        statement = statement.where(Measurement.query_set_id == query_set_id)
    return {row.what: _measured(row) for row in session.scalars(statement)}


def _measured(row: Measurement) -> Measured:
    manifest = row.manifest
    return Measured(
        id=row.id,
        what=row.what,
        created_at=row.created_at,
        query_set_id=row.query_set_id,
        model_id=row.model_id,
        inputs=manifest["inputs"],
        config=manifest["config"],
        facts=manifest["facts"],
        command=manifest["command"],
        seconds=manifest["seconds"],
    )
