"""The commands of `proponent evaluate`: how good the methods are, by every yardstick that there is."""

from __future__ import annotations

import shlex
import sys
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

RunOption = Annotated[list[str] | None, typer.Option(help="Run id, repeatable; the current runs by default.")]

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
    run: RunOption = None,
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


MethodsOption = Annotated[list[str] | None, typer.Option("--method", help="Method slug, repeatable.")]
PartOption = Annotated[int, typer.Option(min=1, help="Passages of the part that the small model is trained on.")]


@evaluate_app.command()
def lds(
    method: MethodsOption = None,
    subsets: Annotated[int, typer.Option(min=3, help="Random halves of the part (M).")] = 32,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings of each half (R).")] = 2,
    queries: Annotated[int, typer.Option(min=1, help="Facts of the part, at most.")] = 128,
    passages: PartOption = 2048,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the part, the halves and the trainings.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a small model on many random halves of a part of the corpus: do a method's scores foretell the results?"""
    from backend.evaluation.part import PartConfig
    from backend.pipeline.ground_truth import LdsConfig, SmallConfig, evaluate_lds, small_training
    from backend.pipeline.tables import intervals_text

    small = SmallConfig(PartConfig(passages, queries, seed=seed), small_training(epochs, seed))
    with evaluated(home) as work:
        rows = evaluate_lds(work, method or [], LdsConfig(subsets, seeds), small, typed())
    report(rows, json_, intervals_text(rows, "lds", "LDS"))


@evaluate_app.command()
def removal(
    method: MethodsOption = None,
    k: Annotated[int, typer.Option(min=1, max=100, help="Passages taken away for a query.")] = 10,
    queries: Annotated[int, typer.Option(min=1, help="Facts whose passages are taken away.")] = 40,
    group: Annotated[int, typer.Option(min=1, help="Facts whose passages are taken away at once.")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each group.")] = 2,
    passages: PartOption = 2048,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the part, the sample of facts and the trainings.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Take away the passages that a method ranks first, train again, and see how much the completions lose."""
    from backend.evaluation.part import PartConfig
    from backend.evaluation.removal import RemovalConfig
    from backend.pipeline.ground_truth import SmallConfig, evaluate_removal, small_training
    from backend.pipeline.tables import intervals_text

    small = SmallConfig(PartConfig(passages, seed=seed), small_training(epochs, seed))
    with evaluated(home) as work:
        rows = evaluate_removal(work, method or [], RemovalConfig(k, queries, group, seeds, seed), small, typed())
    report(rows, json_, intervals_text(rows, "loss_change", "loss change"))


def typed() -> str:
    """This command as it was typed, but for where the home is and how the result is printed."""
    words: list[str] = []
    for word in sys.argv[1:]:
        if words and words[-1] == "--home":
            words.pop()
        elif word != "--json" and not word.startswith("--home="):
            words.append(word)
    return shlex.join(["proponent", *words])


@evaluate_app.command()
def kinds(
    run: RunOption = None,
    k: Annotated[int, typer.Option(min=1, max=100, help="Passages of a list.")] = 10,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what kinds of passages the first proponents of facts are: stating the fact, the relation, a name, or none."""
    from backend.pipeline.proponent_kinds import evaluate_kinds
    from backend.pipeline.tables import kinds_text

    with evaluated(home) as work:
        facts = evaluate_kinds(work, run or [], k)
    report(facts, json_, kinds_text(facts))


@evaluate_app.command()
def fidelity(
    queries: Annotated[int, typer.Option(min=1, help="Facts to draw.")] = 20,
    passages: Annotated[int, typer.Option(min=2, help="Passages to draw.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the samples and the projections.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Compare dot products of projected gradients with those of whole ones, by the rank of the projections."""
    from backend.pipeline.projection_fidelity import evaluate_fidelity
    from backend.pipeline.tables import fidelity_text

    with evaluated(home) as work:
        facts = evaluate_fidelity(work, queries, passages, seed)
    report(facts, json_, fidelity_text(facts))


@evaluate_app.command()
def checkpoints(
    method: Annotated[
        list[str] | None,
        typer.Option(help="Method slug, repeatable; trackstar, gradient-cosine, gradient-dot and bm25 by default."),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Facts to draw for tail-patch.")] = 60,
    tail_patch: Annotated[bool, typer.Option("--tail-patch/--no-tail-patch", help="Whether steps are taken.")] = True,
    seed: Annotated[int, typer.Option(help="Of the sample and of random passages.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Measure methods at every kept checkpoint of the model, and of a smaller one that is trained for it."""
    from backend.pipeline.along_training import METHODS, CourseConfig, evaluate_checkpoints
    from backend.pipeline.tables import checkpoints_text

    methods = tuple(dict.fromkeys(method or METHODS))
    with evaluated(home) as work:
        facts = evaluate_checkpoints(work, CourseConfig(methods, queries, tail_patch, seed))
    report(facts, json_, checkpoints_text(facts))


def evaluated(home: Path | None) -> AbstractContextManager[Workspace]:
    """The locked home; raises UserError where there is none: an evaluation makes no empty one."""
    existing_home(settings_for(home))
    return workspace(home, "evaluate")
