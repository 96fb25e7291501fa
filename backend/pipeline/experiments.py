"""The home inside the home: models, stores and runs that answer how good methods are, and are in no page.

It is a home like any other (`proponent serve --home HOME/experiments` shows it), with a catalogue of its own.
"""

from __future__ import annotations

from pathlib import Path

from backend.pipeline.workspace import Workspace

FOLDER = "experiments"


def open_experiments(work: Workspace) -> Workspace:
    """The experiments' workspace; its catalogue is SQLite, wherever the home's own is."""
    home = Path(work.home.root / FOLDER)
    return Workspace(work.settings.model_copy(update={"home": home, "database_url": None}), "experiments")
