"""A worker without an engine: its lists are those of a stored prompt, its completions are made up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.orm import Session
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from backend.catalogue import models as m
from backend.catalogue.database import read_session, write_session
from backend.core.files import write_json
from backend.core.tokenizer import TextTokenizer, Tokenization
from backend.jobs import queue
from backend.jobs.queue import Claimed
from backend.jobs.records import rank_request
from backend.jobs.results import run_record, write_prompt

MODEL_PROMPT = 1
"""Primary key of the prompt whose lists every question gets."""

COMPLETIONS = {
    "greedy": {"text": " Lima, on the coast.", "probability": 0.61},
    "samples": [
        {"text": " Lima, on the coast.", "probability": 0.61},
        {"text": " <b>Cusco</b>.", "probability": 0.08},
        {"text": "", "probability": 0.02},
        {"text": " Lima, on the coast.", "probability": 0.61},
    ],
    "seconds": {"completing": 0.4},
}


MODEL, CONTEXT = "5eed00000001", 64
"""The example's model, and how many tokens it takes."""


def add_tokenizer(home: Path) -> None:
    """The example's model as far as the web application looks into it: its tokenizer."""
    folder = home / "models" / MODEL
    folder.mkdir(parents=True)
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(["The capital of Peru is Lima Lima Lima Lima"] * 50, trainer)
    made.save(str(folder / "tokenizer.json"))
    tokenizer = TextTokenizer((folder / "tokenizer.json").read_text(), Tokenization(0, 0, CONTEXT))
    tokenizer.save_tokenization(folder)
    write_json(folder / "MANIFEST.json", {})


class FakeWorker:
    """Takes jobs through the queue's own functions and ends them as a worker would."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.id = queue.register(engine, "cpu")
        queue.set_worker(engine, self.id, state="idle")

    def leave(self) -> None:
        """Say goodbye."""
        queue.set_worker(self.engine, self.id, state="ended")

    def claim(self) -> list[Claimed]:
        """What is at the head of the queue, in hand."""
        with read_session(self.engine) as session:
            need = queue.head_of_queue(session)
        return [] if need is None else queue.claim(self.engine, self.id, need, 8)

    def at(self, jobs: list[Claimed], stage: str, share: float) -> None:
        """Show progress."""
        queue.set_stage(self.engine, self.id, [job.id for job in jobs], stage, share)

    def fail(self, job: Claimed, reason: str) -> None:
        """End a job as failed."""
        queue.fail(self.engine, self.id, job, reason)

    def finish(self, job: Claimed) -> None:
        """End a job with a result."""
        with write_session(self.engine) as session:
            if job.kind == "complete":
                assert queue.end(session, self.id, job, state="done", result=COMPLETIONS)
            elif job.kind == "tail-patch":
                pk, result = measure(session, job.run_id or "", job.parameters["slug"])
                assert queue.end(session, self.id, job, state="done", result=result, prompt_pk=pk)
            else:
                given = job.parameters
                pk = answer(session, job.run_id or "", given["prompt"], given["completion"], given["task"])
                assert queue.end(session, self.id, job, state="done", result={"seconds": {}}, prompt_pk=pk)

    def work(self) -> int:
        """Finish everything that waits; returns how many jobs that were."""
        finished = 0
        while jobs := self.claim():
            for job in jobs:
                self.finish(job)
                finished += 1
        return finished


FAILED_ASK = "feedfacefeedfacefeedface"


def add_failed_question(engine: Engine) -> str:
    """A question that could not be answered; returns the address of its page."""
    now = datetime.now(UTC)
    with write_session(engine) as session:
        run = session.scalars(select(m.Run).where(m.Run.model_id.is_not(None)).order_by(m.Run.id).limit(1)).one()
        request = rank_request(run.id, run.model_id, "The capital of Peru is", " Quito", None, 10)
        times = {"created_at": now, "queued_at": now, "finished_at": now}
        session.add(
            m.Job(
                id=request.key,
                kind="rank",
                run_id=run.id,
                model_id=run.model_id,
                parameters=request.parameters,
                state="failed",
                error="The store is gone.",
                **times,
            )
        )
        session.add(m.Ask(id=FAILED_ASK, created_at=now, parameters={**request.parameters, "methods": [run.method]}))
        session.flush()
        session.add(m.AskedJob(ask_id=FAILED_ASK, job_id=request.key, position=0))
    return f"/jobs/{FAILED_ASK}"


def answer(session: Session, run_id: str, prompt: str, completion: str, task: str | None) -> int:
    """A question's prompt, and a ranking of a run for it: that of the model prompt. Returns the prompt's key."""
    prompt_pk = write_prompt(session, run_record(session, run_id), prompt, completion, task, None)
    known = select(m.Ranking).where(m.Ranking.run_id == run_id)
    if session.scalars(known.where(m.Ranking.prompt_pk == prompt_pk)).one_or_none() is None:
        copied = session.scalars(known.where(m.Ranking.prompt_pk == MODEL_PROMPT)).one()
        _copy(session, copied, prompt_pk)
    return prompt_pk


def measure(session: Session, run_id: str, slug: str) -> tuple[int, dict[str, object]]:
    """Put a tail-patch beside the first ten passages of a list; returns (the prompt's key, the job's result)."""
    prompt_pk = session.scalars(select(m.Prompt.pk).where(m.Prompt.slug == slug)).one()
    of_list = select(m.Ranking.pk).where(m.Ranking.run_id == run_id, m.Ranking.prompt_pk == prompt_pk)
    ranking_pk = session.scalars(of_list).one()
    for rank in range(1, 11):
        row = update(m.RankedPassage).where(m.RankedPassage.ranking_pk == ranking_pk, m.RankedPassage.rank == rank)
        session.execute(row.values(tail_patch=1.5 / rank - 0.3))
    first = session.scalars(select(m.Passage.passage_id).order_by(m.Passage.pk).limit(2)).all()
    return prompt_pk, {
        "k": 10,
        "measured": 10,
        "mean": 0.139,
        "base_probability": 0.2214,
        "random": {"passage_id": first[0], "tail_patch": -0.004},
        "bm25": {"passage_id": first[1], "tail_patch": 0.31},
        "step": {"optimizer": "adafactor", "learning_rate": 0.0003, "state": "saved"},
        "seconds": {"patching": 1.2},
    }


def _copy(session: Session, copied: m.Ranking, prompt_pk: int) -> None:
    made = m.Ranking(
        run_id=copied.run_id,
        prompt_pk=prompt_pk,
        scored=copied.scored,
        minimum=copied.minimum,
        maximum=copied.maximum,
        histogram=copied.histogram,
        facts=copied.facts,
    )
    session.add(made)
    session.flush()
    rows = session.scalars(select(m.RankedPassage).where(m.RankedPassage.ranking_pk == copied.pk))
    values = [
        {
            "ranking_pk": made.pk,
            "rank": row.rank,
            "passage_pk": row.passage_pk,
            "score": row.score,
            "percentile": row.percentile,
        }
        for row in rows
    ]
    session.execute(insert(m.RankedPassage), values)
