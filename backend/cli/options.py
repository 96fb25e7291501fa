"""What all commands of `proponent` share: options, settings, the locked home, printing a result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.core.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.pipeline.workspace import Workspace
    from backend.settings import Settings

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of all artifacts and the catalogue (PROPONENT_HOME).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, all else on stderr.")]


def settings_for(home: Path | None) -> Settings:
    """The process's settings, with ``--home`` over PROPONENT_HOME."""
    from pydantic import ValidationError

    from backend.settings import get_settings

    try:
        settings = get_settings()
    except ValidationError as error:
        problems = "; ".join(f"PROPONENT_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise UserError(problems, "docs/reference/settings.md lists the settings.") from error
    return settings if home is None else settings.model_copy(update={"home": home})


def existing_home(settings: Settings) -> Path:
    """The home's folder; raises UserError where there is none."""
    if not settings.home.is_dir():
        raise UserError(f"There is no home {settings.home.absolute()}.", "Run `proponent demo` or import a corpus.")
    return settings.home


@contextmanager
def workspace(home: Path | None, pipeline: str) -> Iterator[Workspace]:
    """The home, locked against other writing commands."""
    from backend.pipeline.workspace import Workspace

    with Workspace(settings_for(home), pipeline) as work:
        yield work


def report(value: Any, as_json: bool, text: str) -> None:
    """Print a command's result."""
    print(json.dumps(value, ensure_ascii=False) if as_json else text)


def open_existing_catalogue(home: Path | None) -> Engine:
    """The catalogue of a home; raises UserError where there is no such home."""
    from backend.catalogue.database import migrate, open_catalogue

    settings = settings_for(home)
    if not settings.database_url:
        existing_home(settings)
    engine = open_catalogue(settings)
    migrate(engine)
    return engine
