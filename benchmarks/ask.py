"""How long a warm question takes beside what it cannot do without, and how soon an idle worker starts on one.

Prints one JSON object. ``question_per_lower_bound`` is the median time from the start of a question's gradient to its
ranking in memory, over the median of the same question's bare forward and backward pass (of activations alone, without
any projection) plus one bare scan of the store; all three are measured in turns in one process.
``enqueue_to_start_ms`` is the median time from a question's row to a worker's claim, over the catalogue in SQLite,
with the worker a process of its own and idle.

Without ``--home`` it makes a stand-in first, in a temporary folder: the demonstration's corpus and queries, and a model
of its size with random weights, which costs as much time as a trained one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from sqlalchemy import Engine as Database
from sqlalchemy import select
from stand_in import stand_in
from torch.nn import functional

from backend.catalogue.database import migrate, open_catalogue, read_session, write_session
from backend.catalogue.models import Job, Prompt
from backend.core.artifacts import Home
from backend.core.records import Query
from backend.jobs.client import ask
from backend.jobs.engine import Engine, LoadedRun
from backend.jobs.queue import live_workers
from backend.jobs.records import rank_request
from backend.jobs.results import run_record
from backend.jobs.subjects import Subject, subjects
from backend.settings import Settings

METHOD = "trackstar"
WARM_UP = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the output is always JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--home", type=Path, help="a home with a finished demonstration; by default a stand-in is made")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as made:
        home = arguments.home or stand_in(Path(made), arguments.threads)
        settings = Settings(home=home, threads=arguments.threads, device="cpu")
        database = open_catalogue(settings)
        migrate(database)
        with read_session(database) as session:
            subject = subjects(session)[0]
            record = run_record(session, subject.runs[METHOD].id)
            facts = session.scalars(select(Prompt).where(Prompt.task == "facts").order_by(Prompt.pk)).all()
        queries = [Query(p.slug, "facts", p.prompt, p.completion) for p in facts[: arguments.questions]]
        engine = Engine(Home(home.absolute()), "cpu")
        started = time.perf_counter()
        run = engine.run(record)
        loading = time.perf_counter() - started
        answering = measure(engine, run, queries)
        waiting = waits(settings, database, subject, METHOD, arguments.questions)
        database.dispose()
    print(
        json.dumps(
            {
                "passages": len(run.passages),
                "method": METHOD,
                "threads": arguments.threads,
                "questions": arguments.questions,
                "loading_s": round(loading, 2),
                **answering,
                **waiting,
            }
        )
    )


def measure(engine: Engine, run: LoadedRun, queries: Sequence[Query]) -> dict[str, Any]:
    """Medians over the questions, in milliseconds, of the whole answer, its parts and the bound's two parts."""
    taken: dict[str, list[float]] = {name: [] for name in ("question", "forward_backward", "scan")}
    parts: dict[str, list[float]] = {}
    for number, query in enumerate([*queries[:WARM_UP], *queries]):
        scorer = run.method.score([query], engine._gradient(run, query)[0]).scorer
        seconds = {
            "forward_backward": timed(lambda query=query: forward_backward(run, query)),
            "scan": timed(lambda scorer=scorer: run.scan.scores(scorer.vectors)),
            "question": timed(lambda query=query: engine.answer(run, [query], lambda stage, share, which: None)),
        }
        answer = engine.answer(run, [query], lambda stage, share, which: None)[0]
        if number >= WARM_UP:
            for name, value in seconds.items():
                taken[name].append(value)
            for name, value in answer.seconds.items():
                parts.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    bound = medians["forward_backward"] + medians["scan"]
    reading = run.scan.last
    return {
        "question_per_lower_bound": round(medians["question"] / bound, 3),
        "question_ms": round(1000 * medians["question"], 2),
        "forward_backward_ms": round(1000 * medians["forward_backward"], 2),
        "scan_ms": round(1000 * medians["scan"], 2),
        "parts_ms": {name: round(1000 * statistics.median(values), 2) for name, values in parts.items()},
        "scan_gigabytes_per_second": round(reading.gigabytes_per_second, 1),
    }


def timed(act: Any) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def forward_backward(run: LoadedRun, query: Query) -> None:
    """The question's loss and its gradient at every activation, as torch alone would compute them."""
    encoded = run.model.tokenizer.encode_query(query.prompt, query.completion)
    ids = torch.tensor([encoded.ids])
    model = run.model.model
    embedded = model.get_input_embeddings()(ids).requires_grad_(True)
    logits = model(inputs_embeds=embedded, use_cache=False).logits
    first = encoded.first_target
    functional.cross_entropy(logits[0, first - 1 : -1], ids[0, first:], reduction="sum").backward()


def waits(settings: Settings, database: Database, subject: Subject, method: str, questions: int) -> dict[str, float]:
    """Medians of waiting, and from asking to the stored answer, with a worker beside."""
    command = [sys.executable, "-m", "backend.cli", "worker", "--home", str(settings.home.absolute())]
    command += ["--threads", str(settings.threads)]
    environment = {**os.environ, "PROPONENT_LOG_LEVEL": "WARNING"}
    worker = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
    try:
        stamp = time.time()
        run = subject.runs[method]
        ids = []
        for number in range(questions + WARM_UP):
            request = rank_request(run.id, run.model_id, f"Question {number} of {stamp} is", "one", None, 10)
            with write_session(database) as session:
                ids += ask(session, [request], {}).job_ids
            wait_for(database, ids[-1])
            time.sleep(0.05)
        with read_session(database) as session:
            rows = [session.get_one(Job, job_id) for job_id in ids[WARM_UP:]]
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    return {
        "enqueue_to_start_ms": milliseconds((row.started_at - row.queued_at).total_seconds() for row in rows),
        "enqueue_to_answer_ms": milliseconds((row.finished_at - row.queued_at).total_seconds() for row in rows),
        "saving_ms": milliseconds(
            (row.finished_at - row.started_at).total_seconds() - sum(row.result["seconds"].values()) for row in rows
        ),
    }


def milliseconds(seconds: Any) -> float:
    """The median, in milliseconds."""
    return round(1000 * statistics.median(seconds), 2)


def wait_for(database: Database, job_id: str) -> None:
    """Wait until a job has ended."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with read_session(database) as session:
            state = session.scalar(select(Job.state).where(Job.id == job_id))
            workers = state == "done" or live_workers(session)
        if state == "done":
            return
        if state != "queued" and state != "running":
            raise SystemExit(f"question {job_id} {state}")
        time.sleep(0.002 if workers else 0.2)
    raise SystemExit("no worker answers")


if __name__ == "__main__":
    main()
