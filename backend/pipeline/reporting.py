"""Tell how far a stage is: a progress bar on the terminal (stderr), and the catalogue's stage rows for pages."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from backend.catalogue.stages import StageLog

LINE_EVERY_SECONDS = 15.0
"""How often a line is printed where there is no terminal to draw a bar on."""


class StageReporter:
    """Progress of one running stage: call it with (done, total, message)."""

    def __init__(
        self, log: StageLog, name: str, title: str, unit: str, bar: Progress | None, task: TaskID | None
    ) -> None:
        self._log, self._name, self._title, self._unit = log, name, title, unit
        self._bar, self._task = bar, task
        self._next_line = time.monotonic() + LINE_EVERY_SECONDS

    def __call__(self, done: float, total: float, message: str = "") -> None:
        """Record the state; cheap enough for a call a batch."""
        self._log.update(self._name, done, total, self._unit, message)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None, note=message)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY_SECONDS
            share = f"{100 * done / total:3.0f}%" if total else "    "
            print(f"  {share} {self._title}  {message}", file=sys.stderr, flush=True)


class Reporter:
    """Opens a reporter for each stage of a pipeline."""

    def __init__(self, log: StageLog, pipeline: str) -> None:
        self.log, self.pipeline = log, pipeline
        self.console = Console(stderr=True)
        self._titles: dict[str, str] = {}

    def plan(self, stages: Sequence[tuple[str, str]]) -> None:
        """Announce the pipeline's stages, (name, title) each."""
        self._titles = dict(stages)
        self.log.plan(self.pipeline, stages)

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        self.console.print(text, highlight=False, markup=False)

    @contextmanager
    def stage(self, name: str, unit: str = "") -> Iterator[StageReporter]:
        """Run a planned stage: done when the block ends, failed with the reason when it raises."""
        started = time.monotonic()
        title = self._titles[name]
        self.log.begin(name, title, self.pipeline, unit=unit)
        try:
            if self.console.is_terminal:
                columns = (
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.percentage:>3.0f}%"),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    TextColumn("{task.fields[note]}"),
                )
                with Progress(*columns, console=self.console, transient=True) as bar:
                    task = bar.add_task(title, total=None, note="")
                    yield StageReporter(self.log, name, title, unit, bar, task)
            else:
                self.say(f"{title} ...")
                yield StageReporter(self.log, name, title, unit, None, None)
        except BaseException as error:
            self.log.fail(name, "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or repr(error))
            raise
        self.log.finish(name)
        self.say(f"{title}: done in {time.monotonic() - started:.1f} s")
