"""Surroundings for what a measurement makes on the way: a home beside the home's artifacts, that no catalogue reads.

Where the result is worth looking at in an explorer of its own, ``backend.pipeline.experiments`` is the place instead.
"""

from __future__ import annotations

from pathlib import Path

from backend.core.artifacts import MANIFEST, Home
from backend.pipeline.reporting import Reporter
from backend.pipeline.workspace import Workspace


class _Quiet(Reporter):
    def say(self, text: str) -> None:
        """Nothing."""


class Aside(Workspace):
    """The surroundings of stages with another home, and no catalogue.

    Stages run in it as they are: what they make has the same ids as anywhere, lies in this home and nowhere else, and
    is found beside what the surroundings around hold (corpus, queries, models). They hold the lock and the engine.
    """

    def __init__(self, around: Workspace, root: Path, *, quiet: bool = False) -> None:
        """With ``quiet`` nothing that stages have to say is said: for what is done many times over."""
        self.around = around
        self.settings, self.engine = around.settings, around.engine
        self.reporter = _Quiet(around.reporter.log, around.reporter.pipeline) if quiet else around.reporter
        self.passages, self.queries = around.passages, around.queries
        self.home = Home(root)

    def __exit__(self, *_: object) -> None:
        """The surroundings around end for themselves."""

    def catalogue(self, kind: str, artifact_id: str) -> None:
        """Nothing is loaded."""

    def require_disk(self, needed: int) -> None:
        """As around: this home's folder may not be there at the moment."""
        self.around.require_disk(needed)

    def folder(self, kind: str, artifact_id: str) -> Path:
        """Folder of a finished artifact, of this home or else of those around it."""
        own = self.home.folder(kind, artifact_id)
        return own if (own / MANIFEST).exists() else self.around.folder(kind, artifact_id)
