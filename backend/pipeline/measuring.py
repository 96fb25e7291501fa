"""Measurements of methods as artifacts: made once, loaded into the catalogue, for `proponent evaluate` and pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.core.artifacts import Home, artifact_id, is_finished, read_manifest, seal
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
    folder = kept(work.home, what, inputs, config, measure, command)
    work.catalogue("measurement", folder.name)
    return read_manifest(folder).facts


def kept(
    home: Home,
    what: str,
    inputs: dict[str, str | None],
    config: dict[str, Any],
    measure: Callable[[], dict[str, Any]],
    command: str,
) -> Path:
    """The folder of a measurement in any home, loaded nowhere; ``measure`` finds its facts where it is not there."""
    settings = {"measures": what, **config}
    folder = home.folder("measurement", artifact_id("measurement", inputs, settings, prefix=what))
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
    return folder
