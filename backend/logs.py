"""What every process writes to its log: structured lines to stderr, those of libraries too.

A terminal gets aligned key=value lines, everything else (a file, a container's log) one JSON object a line.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.processors import JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import BoundLogger, ProcessorFormatter, add_log_level, add_logger_name, filter_by_level
from structlog.types import EventDict, Processor, WrappedLogger


def _without_colors(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop the second form of its messages that uvicorn sends along for terminals."""
    event.pop("color_message", None)
    return event


SHARED: tuple[Processor, ...] = (
    merge_contextvars,
    add_logger_name,
    add_log_level,
    TimeStamper(fmt="iso", utc=True),
)
"""What happens to every line, ours or a library's, before it is rendered."""

FOREIGN: tuple[Processor, ...] = (*SHARED, structlog.stdlib.ExtraAdder(), _without_colors)


def configure(level: str = "INFO", json: bool | None = None) -> None:
    """Send all logging of this process to stderr from this level on.

    ``json``: JSON lines; by default where stderr is not a terminal. May be called again: the last call counts.
    """
    lines = not sys.stderr.isatty() if json is None else json
    # Never the console's rich tracebacks: they show local variables, and so what readers asked.
    rendering: list[Processor] = (
        [format_exc_info, JSONRenderer(default=str, ensure_ascii=True)]
        if lines
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=FOREIGN,
            processors=[ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # two lines at every start that say nothing
    server = logging.getLogger("uvicorn")  # keeps handlers of its own unless it is started with log_config=None
    server.handlers.clear()
    server.propagate = True


def get_logger(name: str) -> BoundLogger:
    """A logger that takes an event and its values: ``log.info("claimed", job=job.id)``.

    It writes through the standard library's logger of that name, so before `configure` only warnings are shown.
    """
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=BoundLogger,
        processors=[filter_by_level, *SHARED, ProcessorFormatter.wrap_for_formatter],
        cache_logger_on_first_use=True,
    )
    return logger


def bind(**values: Any) -> AbstractContextManager[None]:
    """Add values to every line while the block runs, in this thread or task: ``with bind(job=job.id, run=run.id):``."""
    return bound_contextvars(**values)
