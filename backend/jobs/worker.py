"""The worker: takes jobs from the queue, answers them, and never loses one.

The main thread works; a second one (``backend.jobs.keeper``) keeps what it has in hand.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import torch
from sqlalchemy import Engine as Database
from sqlalchemy.exc import OperationalError

from backend.catalogue.database import CatalogueError, migrate, open_catalogue, read_session, write_session
from backend.core.artifacts import Home
from backend.core.errors import InputError, UserError
from backend.core.records import Query
from backend.jobs import queue
from backend.jobs.engine import Answer, Engine, LoadedRun, greedy_completion
from backend.jobs.keeper import Keeper
from backend.jobs.queue import Claimed, Need
from backend.jobs.records import asked_slug
from backend.jobs.results import (
    OwnAnswer,
    has_output,
    has_ranking,
    run_record,
    write_prompt,
    write_ranking,
)
from backend.jobs.subjects import subjects
from backend.jobs.tail_patching import measure
from backend.jobs.watch import Bell
from backend.logs import get_logger
from backend.settings import Settings

log = get_logger("proponent.worker")

BATCH = 8
"""Questions of one run that share a scan."""

IDLE_SECONDS = 1.0
"""How long an idle worker trusts the bell before it looks itself: jobs that others left ring none."""

LIKELY = "trackstar"
"""The method whose run an idle worker loads at its start."""


MOST_LOADS, LOAD_PAUSE_SECONDS = 3, 5.0
"""How often and how soon loading is tried where it is not clear that it cannot succeed (memory, open files)."""

BROKEN = "This cannot be answered: something of this installation is missing or damaged. The worker's log says what."
"""What readers are told of faults that are not of their question; paths and names stay in the log."""


class Stopped(BaseException):
    """A signal asked the worker to end; like KeyboardInterrupt no error that a job could swallow."""


@dataclass
class _Prepared:
    """A claimed question on its way."""

    job: Claimed
    query: Query
    task: str | None
    own: OwnAnswer | None = None


def work(settings: Settings, *, threads: int, background: bool = False, once: bool = False) -> int:
    """Answer questions until a signal comes (or, with ``once``, the queue is empty); returns the number of jobs.

    ``background`` lets other processes of this machine, such as the web server, go first.
    """
    torch.set_num_threads(threads)
    if background:
        os.nice(10)
    database = open_catalogue(settings)
    migrate(database)
    engine = Engine(Home(settings.home.absolute()), settings.device, settings.search)
    worker = _Worker(settings, database, engine)
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return worker.run(once)
    except Stopped:
        return worker.finished
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        worker.close()
        database.dispose()
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


class _Worker:
    def __init__(self, settings: Settings, database: Database, engine: Engine) -> None:
        self.settings, self.database, self.engine = settings, database, engine
        self.id = queue.register(database, engine.device)
        self.finished = 0
        self.lost = 0
        self._load_failures: Counter[Need] = Counter()
        self._keeper = Keeper(settings, database, self.id, self._numbers)
        log.info("worker started", worker=self.id, device=engine.device, threads=torch.get_num_threads())

    def run(self, once: bool) -> int:
        queue.put_back_abandoned(self.database)
        self._keeper.start()
        if not once:
            self._warm_up()
        self._note("idle")
        idle = True
        with Bell(self.database) as bell:
            while True:
                with read_session(self.database) as session:
                    need = queue.head_of_queue(session)
                if need is None:
                    if not idle:
                        self._note("idle")
                        idle = True
                    if once:
                        return self.finished
                    bell.wait(IDLE_SECONDS)
                    continue
                idle = False
                self._serve(need)

    def _warm_up(self) -> None:
        """Load what the first question will most likely need, so that it does not wait for that."""
        with read_session(self.database) as session:
            need = queue.head_of_queue(session)
            runs = {} if need is not None else next((subject.runs for subject in subjects(session)), {})
        likely = runs.get(LIKELY)
        if likely is None:
            return
        try:
            self._load(Need("rank", likely.id, likely.model_id))
        except Exception as error:  # noqa: BLE001  the question that needs it will say why
            log.warning("cannot be loaded", run=likely.id, reason=str(error))

    def close(self) -> None:
        """Hand back what is in hand and say goodbye."""
        self._keeper.stop()
        returned = queue.hand_back(self.database, self.id)
        queue.set_worker(self.database, self.id, state="ended", message="", **self._numbers())
        log.info("worker ended", worker=self.id, finished=self.finished, handed_back=returned)

    def _serve(self, need: Need) -> None:
        """Load what the head of the queue needs, then claim it: loading is not the fault of any question."""
        try:
            run = self._load(need)
        except (CatalogueError, OperationalError):
            raise  # a fault of the moment: nothing is claimed, and whoever keeps this worker starts it again
        except Exception as error:  # noqa: BLE001  whatever is broken, the worker stays
            self._cannot_load(need, error)
            return
        self._load_failures.pop(need, None)
        claimed = queue.claim(self.database, self.id, need, BATCH if need.kind == "rank" else 1)
        if not claimed:
            return
        self._keeper.took(claimed)
        try:
            if need.kind == "rank" and run is not None:
                self._rank(run, claimed)
            elif need.kind == "complete":
                self._alone(claimed[0], self._complete)
            else:
                self._alone(claimed[0], self._tail_patch)
        finally:
            self._keeper.released()

    def _cannot_load(self, need: Need, error: Exception) -> None:
        """Fail what needs it: at once where something is missing or damaged, else after a few tries."""
        log.error("cannot be loaded", run=need.run_id, model=need.model_id, exc_info=error)
        self._load_failures[need] += 1
        if isinstance(error, UserError) or self._load_failures[need] >= MOST_LOADS:
            count = queue.fail_queued(self.database, need, BROKEN)
            log.error("failed", run=need.run_id, model=need.model_id, questions=count)
            del self._load_failures[need]
        else:
            time.sleep(LOAD_PAUSE_SECONDS)

    def _load(self, need: Need) -> LoadedRun | None:
        def load() -> LoadedRun | None:
            if need.kind == "rank" and need.run_id is not None:
                with read_session(self.database) as session:
                    record = run_record(session, need.run_id)
                run = self.engine.run(record)
                if need.model_id is not None:
                    self.engine.model(need.model_id)
                return run
            if need.model_id is not None:
                self.engine.model(need.model_id)
            return None

        known = self.engine.holds(need.run_id if need.kind == "rank" else None, need.model_id)
        if not known:
            self._note("loading", need.run_id or need.model_id or "")
        started = time.monotonic()
        run = load()
        if not known:
            log.info("loaded", run=need.run_id, model=need.model_id, seconds=round(time.monotonic() - started, 3))
        return run

    def _rank(self, run: LoadedRun, claimed: Sequence[Claimed]) -> None:
        prepared: list[_Prepared] = []
        for job in claimed:
            self._keeper.at([job.id], "completing" if job.parameters["completion"] is None else "gradient", 0.0)
            outcome = self._guarded(job, lambda job=job: self._prepare(run, job))
            if outcome is not None:
                prepared.append(outcome)
        waiting = [item for item in prepared if not self._known(run, item)]
        if not waiting:
            return
        try:
            answers = self._answers(run, waiting)
        except Exception as error:
            if len(waiting) == 1:
                self._failed(waiting[0].job, error)
                return
            log.warning("answered one by one", questions=len(waiting), exc_info=error)
            for item in waiting:
                self._guarded(item.job, lambda item=item: self._save(run, item, self._answers(run, [item])[0]))
            return
        for item, answer in zip(waiting, answers, strict=True):
            self._guarded(item.job, lambda item=item, answer=answer: self._save(run, item, answer))

    def _answers(self, run: LoadedRun, waiting: Sequence[_Prepared]) -> list[Answer | UserError]:
        ids = [item.job.id for item in waiting]

        def on_stage(stage: str, share: float, which: int | None) -> None:
            self._keeper.at(ids if which is None else [ids[which]], stage, share)

        return self.engine.answer(run, [item.query for item in waiting], on_stage)

    def _prepare(self, run: LoadedRun, job: Claimed) -> _Prepared:
        """The question with its completion: the reader's, or the model's greedy one."""
        given = job.parameters
        completion, own = given["completion"], None
        if completion is None:
            greedy, _ = self.engine.complete(job.model_id or "", given["prompt"], 0, job.id)
            completion = greedy_completion(greedy)
            own = OwnAnswer(job.model_id or "", completion, greedy.probability, greedy.probability)
        slug = asked_slug(run.record.query_set_id, given["prompt"], completion, given["task"])
        query = Query(slug, given["task"] or "", given["prompt"], completion)
        return _Prepared(job, query, given["task"], own)

    def _known(self, run: LoadedRun, item: _Prepared) -> bool:
        """End a job whose ranking is there: it was asked with another k, or a worker ended after writing it."""
        with read_session(self.database) as session:
            if not has_ranking(session, item.query.id, run.record.id):
                return False
        self._guarded(item.job, lambda: self._save(run, item, None))
        return True

    def _save(self, run: LoadedRun, item: _Prepared, answer: Answer | UserError | None) -> None:
        """Append the ranking and end the job, in one transaction; raises what an answer says it could not be."""
        if isinstance(answer, UserError):
            raise answer
        self._keeper.at([item.job.id], "saving", 0.0)
        model_id, query = run.record.model_id, item.query
        if answer is not None and item.own is None and model_id is not None:
            with read_session(self.database) as session:
                missing = not has_output(session, query.id, model_id)
            if missing:
                said = self.engine.own_answer(model_id, query)
                item.own = OwnAnswer(model_id, said.text, said.probability, answer.completion_probability)
        seconds = {} if answer is None else answer.seconds
        with write_session(self.database, shown=False) as session:
            pk = write_prompt(session, run.record, query.prompt, query.completion, item.task, item.own)
            if answer is not None:
                write_ranking(session, run.record, pk, answer)
            self._end(session, item.job, seconds, prompt_pk=pk)
        self._done(item.job, seconds)

    def _complete(self, job: Claimed) -> None:
        self._keeper.at([job.id], "completing", 0.0)
        started = time.perf_counter()
        greedy, draws = self.engine.complete(
            job.model_id or "", job.parameters["prompt"], job.parameters["samples"], job.id
        )
        seconds = {"completing": time.perf_counter() - started}
        result = {
            "greedy": {"text": greedy.text, "probability": greedy.probability},
            "samples": [{"text": draw.text, "probability": draw.probability} for draw in draws],
        }
        with write_session(self.database, shown=False) as session:
            self._end(session, job, seconds, result=result)
        self._done(job, seconds)

    def _tail_patch(self, job: Claimed) -> None:
        started = time.perf_counter()
        measured = measure(self.database, self.engine, job, lambda share: self._keeper.at([job.id], "patching", share))
        seconds = {"patching": time.perf_counter() - started}
        with write_session(self.database, shown=False) as session:
            measured.write(session)
            self._end(session, job, seconds, result=measured.result, prompt_pk=measured.prompt_pk)
        self._done(job, seconds)

    def _end(
        self,
        session: Any,
        job: Claimed,
        seconds: dict[str, float],
        result: dict[str, Any] | None = None,
        prompt_pk: int | None = None,
    ) -> None:
        """The fence: raises _Lost, which rolls everything back, where the job is no longer this worker's."""
        result = {**(result or {}), "seconds": {name: round(took, 6) for name, took in seconds.items()}}
        if not queue.end(session, self.id, job, state="done", result=result, prompt_pk=prompt_pk):
            raise _Lost

    def _done(self, job: Claimed, seconds: dict[str, float]) -> None:
        self.finished += 1
        waited = (datetime.now(UTC) - job.queued_at).total_seconds()
        parts = {name: round(took, 6) for name, took in seconds.items()}
        log.info("done", job=job.id, kind=job.kind, run=job.run_id, since_asked=round(waited, 3), **parts)

    def _alone(self, job: Claimed, act: Any) -> None:
        self._guarded(job, lambda: act(job))

    def _guarded(self, job: Claimed, act: Any) -> Any:
        """Run a step of a job; whatever goes wrong is the job's end, not the worker's."""
        try:
            result = act()
        except _Lost:
            self.lost += 1
            log.warning("no longer mine, nothing written", job=job.id, attempt=job.attempt)
        except (CatalogueError, OperationalError):
            raise  # the job is handed back, and whoever keeps this worker starts it again
        except Exception as error:  # noqa: BLE001  whatever it raises, the worker stays and the reader is told
            self._failed(job, error)
        else:
            return result
        return None

    def _failed(self, job: Claimed, error: Exception) -> None:
        """End a job as failed. Only what is wrong with their own question is for readers; the rest is for the log."""
        if isinstance(error, InputError):
            reason = str(error)
            log.warning("failed", job=job.id, kind=job.kind, reason=type(error).__name__)
        elif isinstance(error, UserError):
            reason = BROKEN
            log.error("failed", job=job.id, kind=job.kind, reason=str(error))
        else:
            reason = f"A fault of the worker, not yours; its log has the details under job {job.id}."
            log.error("failed", job=job.id, kind=job.kind, exc_info=error)
        queue.fail(self.database, self.id, job, reason)

    def _note(self, state: str, message: str = "") -> None:
        self._keeper.state = state
        queue.set_worker(self.database, self.id, state=state, message=message, **self._numbers())

    def _numbers(self) -> dict[str, Any]:
        scanned, seconds = self.engine.scanned
        return {
            "jobs_finished": self.finished,
            "lease_losses": self.lost,
            "scan_bytes": scanned,
            "scan_seconds": seconds,
        }


class _Lost(Exception):
    """The job was taken from this worker meanwhile: cancelled, timed out, or put back."""
