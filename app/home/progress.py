"""Stages at work, in words: the banner of the home page and of the pages of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from backend.catalogue.stages import LOST_AFTER, StageProgress

COMMANDS = {"import": "corpus import"}
"""Pipelines whose command has another name than they."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one command; state as of a stage."""

    name: str
    command: str
    state: str
    stages: list[StageProgress]

    @property
    def title(self) -> str:
        """What to call it in a sentence."""
        return "The demonstration" if self.name == "demo" else self.command or "Work on the catalogue"

    @property
    def finished(self) -> int:
        """How many stages are done."""
        return sum(stage.state == "done" for stage in self.stages)

    @property
    def current(self) -> StageProgress | None:
        """The stage that says how the pipeline stands."""
        order = ("running", "failed", "stopped", "waiting")
        found = (stage for state in order for stage in self.stages if stage.state == state)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Progress:
    """All pipelines that have not ended well, and those that have."""

    open: list[Pipeline]
    done: list[Pipeline]

    @property
    def live(self) -> bool:
        """True while something runs, so that pages ask again."""
        return any(pipeline.state == "running" for pipeline in self.open)


def progress_of(stages: Iterable[StageProgress]) -> Progress:
    """How the pipelines stand."""
    by_pipeline: dict[str, list[StageProgress]] = {}
    for stage in stages:
        by_pipeline.setdefault(stage.pipeline, []).append(stage)
    pipelines = [_pipeline(name, own) for name, own in by_pipeline.items()]
    return Progress(
        open=[pipeline for pipeline in pipelines if pipeline.state != "done"],
        done=[pipeline for pipeline in pipelines if pipeline.state == "done"],
    )


def _pipeline(name: str, stages: list[StageProgress]) -> Pipeline:
    states = {stage.state for stage in stages}
    state = next((state for state in ("running", "failed", "stopped") if state in states), "done")
    if state == "done" and "waiting" in states:
        # between two stages, or ended between two: the last sign of life tells which
        last = max(stage.updated_at for stage in stages)
        state = "running" if datetime.now(UTC) - last <= LOST_AFTER else "stopped"
    command = f"proponent {COMMANDS.get(name, name)}" if name else ""
    return Pipeline(name, command, state, stages)
