"""Measurements of methods as artifacts: made once, loaded into the catalogue, for `proponent evaluate` and pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from backend.core.artifacts import artifact_id, is_finished, read_manifest, seal
from backend.pipeline.workspace import Workspace


def measured(
    work: Workspace,
    what: str,
    inputs: dict[str, str | None],
    config: dict[str, Any],
    measure: Callable[[], dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """The facts of a measurement; ``measure`` finds them where it is not there yet.

    ``inputs`` names at least "queries", and "model" where it is about one. An interrupted measurement leaves nothing:
    what takes long keeps its parts in artifacts of its own.
    """
    settings = {"measures": what, **config}
    folder = work.home.folder("measurement", artifact_id("measurement", inputs, settings, prefix=what))
    if not is_finished(folder):
        started = time.monotonic()
        facts = measure()
        folder.mkdir(parents=True, exist_ok=True)
        seal(
            folder,
            kind="measurement",
            inputs=inputs,
            config=settings,
            facts=facts,
            seconds=time.monotonic() - started,
            command=command,
        )
    work.catalogue("measurement", folder.name)
    return read_manifest(folder).facts
