"""`proponent annotations`: what people said of passages, as a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from backend.cli.options import HomeOption, JsonOption, open_existing_catalogue, report
from backend.core.errors import InputError

annotations_app = typer.Typer(help="What people said of passages, as a file.", no_args_is_help=True)


@annotations_app.command("export")
def export(
    file: Annotated[Path | None, typer.Argument(help="Where to write; standard output without it.")] = None,
    home: HomeOption = None,
) -> None:
    """Write all pools and annotations with their history, a JSON object a line, in the form that import reads."""
    from backend.annotations.exchange import lines
    from backend.annotations.reading import Wanted
    from backend.catalogue.database import read_session
    from backend.core.files import atomic_file

    with read_session(open_existing_catalogue(home)) as session:
        text = (json.dumps(line, ensure_ascii=False) + "\n" for line in lines(session, Wanted(deleted=True)))
        if file is None:
            sys.stdout.writelines(text)
            return
        with atomic_file(file) as out:
            out.writelines(line.encode() for line in text)


@annotations_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file that export wrote; - is standard input.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add the pools and annotations of a file, all or none; what is here in a later version stays."""
    from backend.accounts.audit import COMMAND_LINE
    from backend.annotations.exchange import import_lines
    from backend.catalogue.database import write_session

    try:
        text = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}.", "Name a file that export wrote.") from error
    with write_session(open_existing_catalogue(home)) as session:
        done = import_lines(session, COMMAND_LINE, text)
    known = f", {done.known} were here already" if done.known else ""
    users = f" {done.users} users were added, who cannot sign in yet (`proponent users reset`)." if done.users else ""
    said = f"Imported {done.pools} pools and {done.annotations} annotations{known}.{users}"
    report(
        {"pools": done.pools, "annotations": done.annotations, "known": done.known, "users": done.users}, as_json, said
    )
