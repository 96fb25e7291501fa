"""The commands that keep what is there: backup, restore, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.cli.options import HomeOption, JsonOption, existing_home, open_existing_catalogue, report, settings_for

keeping_app = typer.Typer()


@keeping_app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    catalogue_only: Annotated[
        bool, typer.Option("--catalogue-only", help="Without artifacts: what people wrote, and the index.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the home and its catalogue into one file, while all else goes on."""
    from backend.core.artifacts import Home
    from backend.pipeline.backing_up import back_up

    engine = open_existing_catalogue(home)
    root = Home(settings_for(home).home.absolute())
    done = back_up(engine, root, file.absolute(), catalogue_only=catalogue_only, force=force)
    text = (
        f"{done['file']}: {done['bytes'] / 1e6:,.1f} MB, {done['artifacts']} artifacts, "
        f"{done['rows']:,} rows, {done['seconds']} s"
    )
    report(done, json_, text)


@keeping_app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File that `proponent backup` has written.")],
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Make a home and its catalogue out of a backup; both must be empty."""
    from backend.pipeline.restoring import restore as restore_file

    done = restore_file(settings_for(home), file)
    text = (
        f"{done['home']}, {done['catalogue']}: {done['artifacts']} artifacts, {done['rows']:,} rows of "
        f"{done['made_at']}, {done['seconds']} s"
    )
    report(done, json_, text)


@keeping_app.command()
def verify(
    artifact: Annotated[list[str] | None, typer.Argument(help="Ids of artifacts; all, and the catalogue.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Re-hash artifacts, compare with their manifests, check the catalogue; exit code 1 where something is wrong."""
    from backend.core.artifacts import Home
    from backend.pipeline.verification import verify_catalogue, verify_home

    settings = settings_for(home)
    root = Home(existing_home(settings).absolute())
    result = verify_home(root, artifact or [])
    if not artifact:
        result["problems"] += verify_catalogue(settings, root)
    lines = [*result["problems"], f"{result['verified']} artifacts verified, {len(result['problems'])} problems"]
    report(result, json_, "\n".join(lines))
    if result["problems"]:
        raise typer.Exit(1)
