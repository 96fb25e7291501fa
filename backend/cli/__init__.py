"""The command line: `proponent`. Imports are made inside commands, so that `--help` answers at once.

Long because every command is declared here.
"""

from __future__ import annotations

import errno
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.annotations import annotations_app
from backend.cli.evaluate import evaluate_app
from backend.cli.keeping import keeping_app
from backend.cli.options import (
    HomeOption,
    JsonOption,
    existing_home,
    open_existing_catalogue,
    report,
    settings_for,
    workspace,
)
from backend.cli.users import users_app
from backend.core.errors import UserError

if TYPE_CHECKING:
    from backend.settings import Settings

FREE_SPACE = "Free some space and run the same command again: finished parts are kept."
CHECK_PATH = "Check this path and your permissions; --home chooses another home."
SYSTEM_ERRORS = {
    errno.ENOSPC: FREE_SPACE,
    errno.EDQUOT: FREE_SPACE,
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST), CHECK_PATH),
}
"""Errors of the system that the user can mend, and how."""

app = typer.Typer(
    help="See which training examples stand behind a language model's outputs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
corpus_app = typer.Typer(help="Bring in passages and queries.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(users_app, name="users")
app.add_typer(annotations_app, name="annotations")
app.add_typer(keeping_app)

CorpusOption = Annotated[str | None, typer.Option("--corpus", help="Corpus id; the newest by default.")]
QueriesOption = Annotated[
    list[str] | None, typer.Option("--query-set", help="Query set id, repeatable; all of the corpus by default.")
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Model id, or a folder or hub name to load; the corpus's newest by default."),
]
RankOption = Annotated[int, typer.Option(min=1, max=512, help="Columns of a projection on each side (p).")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads for numerical work; all cores by default (PROPONENT_THREADS).")
]


class Dtype(StrEnum):
    """Number formats of a store."""

    float16 = "float16"
    float32 = "float32"


class Projection(StrEnum):
    """How a store's gradients are projected."""

    random = "random"
    pca = "pca"


def working_settings(home: Path | None, device: str | None, threads: int | None) -> Settings:
    """The settings with options over them; raises UserError for an unknown device."""
    if device not in (None, "auto", "cpu", "cuda"):
        raise UserError(f"There is no device {device!r}.", "Use auto, cpu or cuda.")
    settings = settings_for(home)
    return settings.model_copy(
        update={"device": device or settings.device, "threads": settings.threads if threads is None else threads}
    )


@corpus_app.command("import")
def import_corpus(
    passages: Annotated[str, typer.Argument(help="JSONL or Parquet file, or hf://name[:split].")],
    queries: Annotated[Path | None, typer.Option(help="JSONL file of prompts and completions.")] = None,
    name: Annotated[str | None, typer.Option(help="Name on pages; the file's by default.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Check and import passages, and the queries about them."""
    from backend.pipeline.own_data import import_files

    with workspace(home, "import") as work:
        result = import_files(work, passages, queries, name)
    lines = [f"corpus {result['corpus']}: {result['passages']} passages"]
    if result["query_set"]:
        lines.append(f"query set {result['query_set']}: {result['queries']} queries")
    report(result, json_, "\n".join(lines))


@app.command()
def train(
    context_: typer.Context,
    corpus: CorpusOption = None,
    without: Annotated[
        Path | None,
        typer.Option(help="File of passage ids, one a line: train a model again on all other passages, and compare."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="With --without: the model to train again; by default the corpus's newest, trained on all."),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Times that every passage is trained on.")] = 4,
    hidden: Annotated[int, typer.Option(min=8, help="Width of the model.")] = 128,
    layers: Annotated[int, typer.Option(min=1, help="Number of blocks.")] = 4,
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 4,
    context: Annotated[int, typer.Option(min=2, help="Most tokens of a passage; longer ones are cut.")] = 128,
    vocabulary: Annotated[int, typer.Option(min=300, help="Most tokens of the tokenizer.")] = 4096,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an optimizer step.")] = 2048,
    learning_rate: Annotated[float, typer.Option(min=1e-6, help="Peak of Adafactor's relative step.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Of initial weights and batches.")] = 0,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a small Llama-architecture model from scratch on exactly a corpus's passages, or without some of them."""
    if without is not None:
        _refuse_settings(context_)
        _train_without(without, corpus, model, home, json_)
        return
    if model is not None:
        raise UserError("--model is of --without: it names the model to train again.", "Leave it out.")
    from backend.models.architecture import ArchitectureConfig
    from backend.models.training import TrainingConfig
    from backend.pipeline.own_data import train_on

    architecture = ArchitectureConfig(
        hidden=hidden, layers=layers, heads=heads, intermediate=8 * round(hidden * 8 / 24), context=context
    )
    with workspace(home, "train") as work:
        config = TrainingConfig(
            name="trained here",
            architecture=architecture,
            vocabulary=vocabulary,
            epochs=epochs,
            batch_tokens=batch_tokens,
            peak_learning_rate=learning_rate,
            seed=seed,
        )
        result = train_on(work, corpus, config)
    report(result, json_, f"model {result['model']}: {result['parameters']:,} parameters")


def _refuse_settings(context: typer.Context) -> None:
    """Raise UserError where a setting of the training is given beside --without: it is that of the other model."""
    taken = {"corpus", "without", "model", "home", "json_"}
    given = [
        option.opts[0]
        for option in context.command.params
        if option.name not in taken
        and (source := context.get_parameter_source(option.name or "")) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise UserError(f"With --without, {given[0]} is that of the model which is trained again.", "Leave it out.")


def _train_without(listed: Path, corpus: str | None, model: str | None, home: Path | None, json_: bool) -> None:
    from backend.pipeline.training_without import comparison_text, train_without

    with workspace(home, "train") as work:
        result = train_without(work, listed, corpus, model)
    report(result, json_, comparison_text(result))


@app.command()
def encode(
    corpus: CorpusOption = None,
    model: ModelOption = None,
    projection: Annotated[
        Projection, typer.Option(help="Random matrices, or the principal axes of activations and their gradients.")
    ] = Projection.random,
    rank: RankOption = 12,
    seed: Annotated[int, typer.Option(help="Of random projections.")] = 0,
    dtype: Annotated[Dtype, typer.Option(help="Of the stored rows.")] = Dtype.float16,
    context: Annotated[
        int | None, typer.Option(min=2, help="Most tokens of a passage, for a model that is loaded now.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Store the projected gradients of every passage, in one pass."""
    from backend.pipeline.own_data import encode_corpus

    with workspace(home, "encode") as work:
        result = encode_corpus(work, corpus, model, rank, seed, dtype.value, context, projection.value)
    report(result, json_, f"store {result['store']}: {result['rows']:,} rows of {result['dims']:,} dimensions")


@app.command()
def rank(
    method: Annotated[
        list[str] | None, typer.Option(help="Method slug, repeatable; trackstar and bm25 by default.")
    ] = None,
    corpus: CorpusOption = None,
    query_set: QueriesOption = None,
    model: ModelOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Rank all passages for all queries; trains or encodes first where that is still to be done."""
    from backend.pipeline.own_data import rank_queries

    with workspace(home, "rank") as work:
        runs = rank_queries(work, method or ["trackstar", "bm25"], corpus, query_set, model)
    report(runs, json_, "\n".join(f"run {run['run']}" for run in runs))


@app.command()
def index(
    run: Annotated[
        list[str] | None, typer.Option(help="Run id, repeatable; TrackStar's current runs by default.")
    ] = None,
    factory: Annotated[
        str | None, typer.Option(help="FAISS factory string; HR,RaBitQ2 by default: two bits a dimension.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Vectors that it is trained on, at most.")] = 8192,
    candidates: Annotated[
        int, typer.Option(min=100, help="Passages of the index that are scored again for a list of 100.")
    ] = 1000,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Index a run's vectors for approximate search, and measure what that loses beside the exact scan."""
    from backend.pipeline.indexing import index_runs
    from backend.pipeline.tables import indexes_text
    from backend.search.index import DEFAULT_FACTORY, IndexConfig

    existing_home(settings_for(home))
    config = IndexConfig(factory=factory or DEFAULT_FACTORY, sample=sample, candidates=candidates)
    with workspace(home, "index") as work:
        rows = index_runs(work, run or [], config)
    report(rows, json_, indexes_text(rows))


@app.command("import-viewer")
def import_viewer(
    files: Annotated[list[Path], typer.Argument(help="JSONL files of the TrackStar paper's result viewer.")],
    method: Annotated[
        list[str] | None, typer.Option(help="Method slug of a file, in their order; from their names by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name on pages; from the files' names by default.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Import published lists: files over the same prompts, one method a file."""
    from backend.pipeline.viewer_import import import_viewer as import_files

    with workspace(home, "import-viewer") as work:
        result = import_files(work, files, method or [], name)
    lines = [f"corpus {result['corpus']}: {result['passages']} passages"]
    lines.append(f"query set {result['query_set']}: {result['queries']} queries")
    lines += [f"run {run['run']}: {run['records']} records of {run['file']}" for run in result["runs"]]
    report(result, json_, "\n".join(lines))


@app.command("export-viewer")
def export_viewer(
    run: Annotated[str, typer.Argument(help="Id of a run.")],
    output: Annotated[Path, typer.Option(help="File to write; - is stdout.")] = Path("-"),
    home: HomeOption = None,
) -> None:
    """Write a run's lists in the format of the TrackStar paper's result viewer."""
    from backend.catalogue.viewer_export import write_viewer_file
    from backend.core.files import atomic_file

    engine = open_existing_catalogue(home)
    if output == Path("-"):
        try:
            write_viewer_file(engine, run, sys.stdout.buffer)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has seen enough; Python must not flush into the pipe at its exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    with atomic_file(output) as stream:
        count = write_viewer_file(engine, run, stream)
    print(f"{output}: {count} records", file=sys.stderr)


@app.command()
def status(home: HomeOption = None, json_: JsonOption = False) -> None:
    """Say what the home holds and how far the demonstration is."""
    from backend.catalogue.database import read_session
    from backend.catalogue.evaluation import status as read_status
    from backend.core.artifacts import Home
    from backend.pipeline.tables import status_text

    settings = settings_for(home)
    with read_session(open_existing_catalogue(home)) as session:
        value = read_status(session, Home(settings.home.absolute()))
    report(value, json_, status_text(value))


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (PROPONENT_HOST).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = None,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Serve pages only.")] = False,
    parent_pipe: Annotated[int | None, typer.Option(hidden=True)] = None,
    home: HomeOption = None,
) -> None:
    """Serve the web application, and answer questions in a process beside it."""
    from backend.pipeline.serving import serve as serve_pages

    settings = settings_for(home)
    update = {"host": host or settings.host, "port": settings.port if port is None else port}
    serve_pages(settings.model_copy(update=update), parent_pipe, worker=not no_worker)


@app.command()
def worker(
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda (PROPONENT_DEVICE).")] = None,
    threads: ThreadsOption = None,
    once: Annotated[bool, typer.Option("--once", help="End when no question waits.")] = False,
    parent_pipe: Annotated[int | None, typer.Option(hidden=True)] = None,
    home: HomeOption = None,
) -> None:
    """Answer the questions that readers ask, until interrupted."""
    from backend.pipeline.working import run_worker

    run_worker(working_settings(home, device, threads), once=once, parent_pipe=parent_pipe)


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(help="What the model is given.")],
    completion: Annotated[str | None, typer.Argument(help="What follows; the model's own words by default.")] = None,
    method: Annotated[str, typer.Option(help="Method slug.")] = "trackstar",
    task: Annotated[
        str | None, typer.Option(help="Task slug: facts mixes R_eval in; R_train alone by default.")
    ] = None,
    k: Annotated[int, typer.Option(min=1, max=100, help="Passages to print.")] = 10,
    query_set: Annotated[
        str | None, typer.Option("--query-set", help="Whose runs answer; the newest's by default.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Rank the corpus for a question of your own; a worker scores it, this process where there is none."""
    from backend.pipeline.asking import ask_and_wait
    from backend.pipeline.tables import answer_text

    answer = ask_and_wait(
        settings_for(home), open_existing_catalogue(home), prompt, completion, method, task, k, query_set
    )
    report(answer, json_, answer_text(answer))


@app.command()
def demo(
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Make the demonstration and exit.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the web application.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="A few hundred passages: seconds instead of minutes.")] = False,
    home: HomeOption = None,
) -> None:
    """Make the bundled demonstration and serve it; run again, it goes on where it was."""
    from backend.pipeline.demo import run_demo
    from backend.pipeline.serving import web_process, worker_process

    settings = settings_for(home)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    if no_serve:
        with workspace(home, "demo") as work:
            run_demo(work, tiny)
        return
    with web_process(settings) as web:
        with workspace(home, "demo") as work:
            run_demo(work, tiny)
            work.reporter.say(f"The demonstration is complete. Browse it at {web.url} (Ctrl-C ends the server).")
        with worker_process(settings):
            web.wait()


def main() -> None:
    """Entry point: a user's error is one line on stderr and exit code 1."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads := os.environ.get("PROPONENT_THREADS", "").lstrip("0"):
        for library in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(library, threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app(prog_name="proponent")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in SYSTEM_ERRORS:
            raise
        print(f"error: {error}. {SYSTEM_ERRORS[error.errno]}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted: the same command goes on where it was.", file=sys.stderr)
        sys.exit(130)
