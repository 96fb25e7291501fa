"""The commands of `proponent evaluate`: how good the methods are, by every yardstick that there is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.options import (
    HomeOption,
    JsonOption,
    existing_home,
    open_existing_catalogue,
    report,
    settings_for,
    workspace,
)
from backend.core.errors import UserError

if TYPE_CHECKING:
    from backend.pipeline.workspace import Workspace

evaluate_app = typer.Typer(help="Measure how good the methods are.", invoke_without_command=True)


@evaluate_app.callback()
def evaluate(context: typer.Context, home: HomeOption = None, json_: JsonOption = False) -> None:
    """Measure how good the methods are; alone: retrieval."""
    if context.invoked_subcommand is None:
        retrieval(home, json_)
    elif home is not None or json_:
        raise UserError("--home and --json come last.", f"Put them behind {context.invoked_subcommand!r}.")


@evaluate_app.command()
def retrieval(home: HomeOption = None, json_: JsonOption = False) -> None:
    """Print how well methods find the passages that state a fact, and what else was measured, by task and bucket."""
    from backend.catalogue.database import read_session
    from backend.catalogue.evaluation import retrieval_table
    from backend.pipeline.tables import metrics_text

    with read_session(open_existing_catalogue(home)) as session:
        rows = retrieval_table(session)
    if not rows and not json_:
        raise UserError("There is no run with entailed queries yet.", "Run `proponent rank` or `proponent demo`.")
    report(rows, json_, metrics_text(rows))


@evaluate_app.command("tail-patch")
def tail_patch(
    run: Annotated[list[str] | None, typer.Option(help="Run id, repeatable; the current runs by default.")] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="Fact queries to draw; all by default.")] = None,
    k: Annotated[int, typer.Option(min=1, max=100, help="Passages of a list.")] = 10,
    seed: Annotated[int, typer.Option(help="Of samples and random passages.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Take one training step on each listed passage alone, and see what it does to the completion."""
    from backend.evaluation.patches import PatchConfig
    from backend.pipeline.patching import evaluate_tail_patch
    from backend.pipeline.tables import patches_text

    with evaluated(home) as work:
        rows = evaluate_tail_patch(work, run or [], PatchConfig(k, seed, queries))
    report(rows, json_, patches_text(rows))


def evaluated(home: Path | None) -> AbstractContextManager[Workspace]:
    """The locked home; raises UserError where there is none: an evaluation makes no empty one."""
    existing_home(settings_for(home))
    return workspace(home, "evaluate")
