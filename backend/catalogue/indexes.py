"""Indexes of runs: loading their manifests, and what a run's page says of its newest one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.catalogue.artifact_reader import ArtifactReader
from backend.catalogue.loading_steps import is_loaded, require_loaded
from backend.catalogue.measurements import INDEX, insert_measurement
from backend.catalogue.models import Measurement, Run

FACTS = {"queries", "recall_at_100", "index_seconds", "exact_seconds", "bytes", "geometries"}
SETTINGS = {"factory", "candidates"}


@dataclass(frozen=True, slots=True)
class RunIndex:
    """An index of a run's vectors, and how searching through it compared with the exact scan when it was made."""

    id: str
    created_at: datetime
    factory: str
    candidates: int
    queries: int
    """How many queries the comparison is over."""
    recall_at_100: float | None
    """Mean share of the exact list's passages that are in the index's; None where no list has any."""
    index_seconds: float
    """Median of a query, through the index."""
    exact_seconds: float
    """The same by the exact scan, measured in turns."""
    bytes: int
    geometries: list[dict[str, Any]]
    """file, geometry, tasks, weight (lambda), bytes, build_seconds, queries and recall_at_100 of each."""


def load_index(session: Session, folder: Path) -> bool:
    """Load an index's manifest. Returns False if it is there already."""
    artifact = ArtifactReader(folder, "index")
    if is_loaded(session, Measurement, artifact.id):
        return False
    artifact.required_input("model")
    require_loaded(session, Run, artifact.required_input("run"), artifact)
    if missing := FACTS - artifact.manifest.facts.keys() or SETTINGS - artifact.manifest.config.keys():
        raise artifact.corrupt("MANIFEST.json", f"{', '.join(sorted(missing))} is missing")
    insert_measurement(session, artifact, INDEX)
    return True


def index_of_run(session: Session, run_id: str) -> RunIndex | None:
    """The newest index of a run; None where there is none."""
    statement = select(Measurement).join(Run, Run.query_set_id == Measurement.query_set_id)
    statement = statement.where(Measurement.what == INDEX, Run.id == run_id)
    for row in session.scalars(statement.order_by(Measurement.created_at.desc(), Measurement.id.desc())):
        if row.manifest["inputs"]["run"] == run_id:
            config, facts = row.manifest["config"], row.manifest["facts"]
            return RunIndex(
                id=row.id,
                created_at=row.created_at,
                factory=config["factory"],
                candidates=config["candidates"],
                queries=facts["queries"],
                recall_at_100=facts["recall_at_100"],
                index_seconds=facts["index_seconds"],
                exact_seconds=facts["exact_seconds"],
                bytes=facts["bytes"],
                geometries=facts["geometries"],
            )
    return None
