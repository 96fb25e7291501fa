"""The queue on both databases: one job a question, turns, leases, fences, bounded attempts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.models import Ask, Job, Worker
from backend.jobs import client, queue
from backend.jobs.client import IdempotencyConflict, QueueFull, ask, cancel, find_ask, find_job
from backend.jobs.queue import Claimed, Need
from backend.jobs.records import JobRequest, rank_request
from backend.jobs.subjects import Subject, subjects
from tests.catalogue.factories import tiny_home


@pytest.fixture
def engine(catalogue_url: str, tmp_path: Path) -> Engine:
    return tiny_home(tmp_path, catalogue_url).engine


@pytest.fixture
def subject(engine: Engine) -> Subject:
    with read_session(engine) as session:
        return subjects(session)[0]


def question(subject: Subject, text: str, k: int = 10) -> JobRequest:
    run = subject.runs["trackstar"]
    return rank_request(run.id, run.model_id, text, "Lima", None, k)


def put(engine: Engine, *requests: JobRequest, turn_of: str | None = None) -> list[str]:
    with write_session(engine) as session:
        return ask(session, requests, {}, turn_of=turn_of).job_ids


def is_empty(engine: Engine) -> bool:
    with read_session(engine) as session:
        return client.queue_depth(session) == 0


def need_of(engine: Engine) -> Need:
    with read_session(engine) as session:
        need = queue.head_of_queue(session)
    assert need is not None
    return need


def state_of(engine: Engine, job_id: str) -> str:
    with read_session(engine) as session:
        return session.get_one(Job, job_id).state


def ended(engine: Engine, worker: str, job: Claimed) -> bool:
    with write_session(engine) as session:
        return queue.end(session, worker, job, state="done")


def test_a_question_is_one_job_however_many_ask(engine: Engine, subject: Subject) -> None:
    def post(number: int) -> bool:
        with write_session(engine) as session:
            return ask(session, [question(subject, "The capital of Peru is")], {"number": number}).new

    with ThreadPoolExecutor(16) as pool:
        new = list(pool.map(post, range(50)))
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 1
        assert session.scalar(select(func.count()).select_from(Ask)) == 50
    assert sum(new) >= 1


def test_claiming_is_exclusive(engine: Engine, subject: Subject) -> None:
    put(engine, *(question(subject, f"Question {number}:") for number in range(40)))
    workers = [queue.register(engine, "cpu") for _ in range(4)]
    need = need_of(engine)

    def drain(worker: str) -> list[str]:
        taken = []
        while not is_empty(engine):
            taken += [job.id for job in queue.claim(engine, worker, need, 3)]
        return taken

    with ThreadPoolExecutor(4) as pool:
        ids = [job_id for mine in pool.map(drain, workers) for job_id in mine]
    assert len(ids) == len(set(ids)) == 40


def test_a_batch_needs_the_same_run(engine: Engine, subject: Subject) -> None:
    first, second = question(subject, "One:"), question(subject, "Two:")
    other = rank_request(subject.runs["bm25"].id, None, "One:", "Lima", None, 10)
    for request in (first, other, second):
        put(engine, request)
    worker = queue.register(engine, "cpu")
    assert [job.id for job in queue.claim(engine, worker, need_of(engine), 8)] == [first.key]
    assert queue.claim(engine, worker, Need("rank", first.run_id, first.model_id), 8) == [], "it is not at the head"
    assert [job.id for job in queue.claim(engine, worker, need_of(engine), 8)] == [other.key]


def test_readers_take_turns(engine: Engine, subject: Subject) -> None:
    eager = [question(subject, f"Eager {number}:") for number in range(3)]
    for request in eager:
        put(engine, request, turn_of="reader:eager")
    late = question(subject, "Late:")
    put(engine, late, turn_of="reader:late")
    with read_session(engine) as session:
        places = {key: find_job(session, key) for key in (eager[0].key, late.key, eager[1].key)}
    assert [job.position for job in places.values() if job] == [1, 2, 3]


def test_one_reader_is_served_by_one_worker_at_a_time(engine: Engine, subject: Subject) -> None:
    put(engine, question(subject, "One:"), question(subject, "Two:"), turn_of="reader:eager")
    one = queue.register(engine, "cpu")
    claimed = queue.claim(engine, one, need_of(engine), 1)
    with read_session(engine) as session:
        assert queue.head_of_queue(session) is None, "the second waits for the first"
    assert ended(engine, one, claimed[0])
    assert need_of(engine)


def test_a_late_finish_writes_nothing(engine: Engine, subject: Subject) -> None:
    (job_id,) = put(engine, question(subject, "One:"))
    zombie, heir = queue.register(engine, "cpu"), queue.register(engine, "cpu")
    (old,) = queue.claim(engine, zombie, need_of(engine), 1)
    expire(engine, job_id)
    assert queue.put_back_abandoned(engine) == 1
    (new,) = queue.claim(engine, heir, need_of(engine), 1)
    assert not ended(engine, zombie, old)
    assert not queue.fail(engine, zombie, old, "late")
    assert queue.renew(engine, zombie) == set()
    assert ended(engine, heir, new)
    assert not ended(engine, heir, new), "once"
    assert state_of(engine, job_id) == "done"


def test_the_same_worker_is_fenced_by_its_attempt(engine: Engine, subject: Subject) -> None:
    (job_id,) = put(engine, question(subject, "One:"))
    worker = queue.register(engine, "cpu")
    (old,) = queue.claim(engine, worker, need_of(engine), 1)
    expire(engine, job_id)
    queue.put_back_abandoned(engine)
    (new,) = queue.claim(engine, worker, need_of(engine), 1)
    assert not ended(engine, worker, old)
    assert ended(engine, worker, new)


def expire(engine: Engine, job_id: str) -> None:
    with write_session(engine) as session:
        session.execute(
            update(Job).where(Job.id == job_id).values(lease_until=datetime.now(UTC) - timedelta(seconds=1))
        )


def test_a_renewed_lease_is_kept(engine: Engine, subject: Subject) -> None:
    (job_id,) = put(engine, question(subject, "One:"))
    worker = queue.register(engine, "cpu")
    queue.claim(engine, worker, need_of(engine), 1)
    expire(engine, job_id)
    assert queue.renew(engine, worker) == {job_id}
    assert queue.put_back_abandoned(engine) == 0


def test_a_dead_process_of_this_machine_is_noticed_at_once(engine: Engine, subject: Subject) -> None:
    (job_id,) = put(engine, question(subject, "One:"))
    script = f"""
from backend.catalogue.database import open_catalogue, read_session
from backend.jobs import queue
import os, sys
engine = open_catalogue({engine.url.render_as_string(hide_password=False)!r})
worker = queue.register(engine, "cpu")
with read_session(engine) as session:
    need = queue.head_of_queue(session)
assert queue.claim(engine, worker, need, 1)
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 9
    assert state_of(engine, job_id) == "running"
    with read_session(engine) as session:
        assert queue.live_workers(session) == []
    assert queue.put_back_abandoned(engine) == 1
    assert state_of(engine, job_id) == "queued"
    with read_session(engine) as session:
        assert session.scalars(select(Worker.lease_losses)).one() == 1


def test_attempts_are_bounded(engine: Engine, subject: Subject) -> None:
    (job_id,) = put(engine, question(subject, "One:"))
    worker = queue.register(engine, "cpu")
    for attempt in range(1, queue.MOST_ATTEMPTS + 1):
        (job,) = queue.claim(engine, worker, need_of(engine), 1)
        assert job.attempt == attempt
        expire(engine, job_id)
        queue.put_back_abandoned(engine)
    with read_session(engine) as session:
        job = session.get_one(Job, job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert "ended 3 times" in job.error


def test_handing_back_costs_no_attempt(engine: Engine, subject: Subject) -> None:
    put(engine, question(subject, "One:"))
    worker = queue.register(engine, "cpu")
    for _ in range(2 * queue.MOST_ATTEMPTS):
        (job,) = queue.claim(engine, worker, need_of(engine), 1)
        assert job.attempt == 1
        assert queue.hand_back(engine, worker) == 1


def test_cancelling_detaches_one_asker(engine: Engine, subject: Subject) -> None:
    request = question(subject, "One:")
    with write_session(engine) as session:
        mine = ask(session, [request], {}, reader="me").ask_id
        theirs = ask(session, [request], {}, reader="them").ask_id
    with write_session(engine) as session:
        assert cancel(session, mine)
        assert not cancel(session, mine), "once"
    assert state_of(engine, request.key) == "queued"
    with write_session(engine) as session:
        assert cancel(session, theirs)
    assert state_of(engine, request.key) == "cancelled"
    with write_session(engine) as session:
        again = ask(session, [request], {}, reader="me")
    assert again.new
    assert state_of(engine, request.key) == "queued"


def test_a_cancelled_running_job_ends_without_a_result(engine: Engine, subject: Subject) -> None:
    request = question(subject, "One:")
    with write_session(engine) as session:
        mine = ask(session, [request], {}).ask_id
    worker = queue.register(engine, "cpu")
    (job,) = queue.claim(engine, worker, need_of(engine), 1)
    with write_session(engine) as session:
        assert cancel(session, mine)
    assert not ended(engine, worker, job)
    with read_session(engine) as session:
        view = find_ask(session, mine)
    assert view is not None
    assert (view.state, view.result_url) == ("cancelled", None)


def test_a_failed_question_may_be_asked_again(engine: Engine, subject: Subject) -> None:
    request = question(subject, "One:")
    put(engine, request)
    worker = queue.register(engine, "cpu")
    (job,) = queue.claim(engine, worker, need_of(engine), 1)
    assert queue.fail(engine, worker, job, "no reason")
    put(engine, request)
    (again,) = queue.claim(engine, worker, need_of(engine), 1)
    assert again.attempt == 1
    with read_session(engine) as session:
        assert session.get_one(Job, request.key).error is None


def test_what_cannot_be_loaded_fails_all_that_need_it(engine: Engine, subject: Subject) -> None:
    ids = put(engine, question(subject, "One:"), question(subject, "Two:"))
    other = put(engine, rank_request(subject.runs["bm25"].id, None, "One:", "Lima", None, 10))
    assert queue.fail_queued(engine, need_of(engine), "the store is gone") == 2
    assert [state_of(engine, job_id) for job_id in ids + other] == ["failed", "failed", "queued"]


def test_the_queue_is_bounded(engine: Engine, subject: Subject) -> None:
    known = question(subject, "Question 0:")
    put(engine, known, question(subject, "Question 1:"))
    with write_session(engine) as session:
        with pytest.raises(QueueFull, match="2 questions are waiting"):
            ask(session, [question(subject, "Question 2:")], {}, most_queued=2)
        assert not ask(session, [known], {}, most_queued=2).new, "a known question takes no place"


def test_an_idempotency_key_stands_for_one_question(engine: Engine, subject: Subject) -> None:
    def post(text: str) -> client.Asked:
        with write_session(engine) as session:
            return ask(session, [question(subject, text)], {"prompt": text}, idempotency_key="key")

    assert post("One:").ask_id == post("One:").ask_id
    with pytest.raises(IdempotencyConflict):
        post("Two:")


def test_time_left_comes_from_past_jobs(engine: Engine, subject: Subject) -> None:
    worker = queue.register(engine, "cpu")
    for number in range(3):
        put(engine, question(subject, f"Past {number}:"))
        (job,) = queue.claim(engine, worker, need_of(engine), 1)
        assert ended(engine, worker, job)
    moment = datetime.now(UTC)
    with write_session(engine) as session:
        session.execute(update(Job).values(started_at=moment - timedelta(seconds=8), finished_at=moment))
    ids = put(engine, question(subject, "One:"), question(subject, "Two:"))
    with read_session(engine) as session:
        found = client.find_jobs(session, ids)
    assert [job.seconds_left for job in found] == pytest.approx([8.0, 16.0], abs=0.5)


def test_a_worker_of_another_machine_is_judged_by_its_heartbeat(engine: Engine) -> None:
    worker = queue.register(engine, "cpu")
    with write_session(engine) as session:
        session.execute(update(Worker).values(host="elsewhere", process_id=1))
    with read_session(engine) as session:
        assert [row.id for row in queue.live_workers(session)] == [worker]
    with write_session(engine) as session:
        session.execute(update(Worker).values(heartbeat_at=datetime.now(UTC) - timedelta(seconds=31)))
    with read_session(engine) as session:
        assert queue.live_workers(session) == []
    assert worker.startswith(f"{socket.gethostname()}/{os.getpid()}/")


def test_a_bell_rings_for_a_new_job(engine: Engine, subject: Subject, catalogue_url: str) -> None:
    import time

    from backend.jobs.watch import Bell

    other = open_catalogue(catalogue_url)
    with Bell(engine) as bell, ThreadPoolExecutor(1) as pool:
        started = time.monotonic()
        bell.wait(0.05)
        quiet = time.monotonic() - started
        asking = pool.submit(lambda: (time.sleep(0.1), put(other, question(subject, "One:"))))
        started = time.monotonic()
        bell.wait(20)
        heard = time.monotonic() - started
        asking.result()
    assert quiet >= 0.04
    assert heard < 15


def test_putting_back_leaves_what_has_ended_meanwhile(engine: Engine, subject: Subject) -> None:
    (job_id,) = put(engine, question(subject, "One:"))
    worker = queue.register(engine, "cpu")
    (job,) = queue.claim(engine, worker, need_of(engine), 1)
    expire(engine, job_id)
    with ThreadPoolExecutor(1) as pool:
        with write_session(engine) as session:
            assert queue.end(session, worker, job, state="done")
            putting_back = pool.submit(queue.put_back_abandoned, engine)  # it waits for this transaction
            with pytest.raises(TimeoutError):
                putting_back.result(timeout=0.5)
        assert putting_back.result(timeout=30) == 0
    assert state_of(engine, job_id) == "done"


def test_asking_while_another_cancels_keeps_the_question(engine: Engine, subject: Subject) -> None:
    request = question(subject, "One:")
    with write_session(engine) as session:
        theirs = ask(session, [request], {}).ask_id

    def withdraw() -> bool:
        with write_session(engine) as session:
            return cancel(session, theirs)

    with ThreadPoolExecutor(1) as pool:
        with write_session(engine) as session:
            ask(session, [request], {})
            withdrawing = pool.submit(withdraw)
            with pytest.raises(TimeoutError):
                withdrawing.result(timeout=0.5)
        assert withdrawing.result(timeout=30)
    assert state_of(engine, request.key) == "queued"


def test_a_worker_that_was_thought_ended_is_there_again(engine: Engine) -> None:
    from backend.jobs.keeper import Keeper
    from backend.settings import Settings

    worker = queue.register(engine, "cpu")
    queue.set_worker(engine, worker, state="ended")
    keeper = Keeper(Settings(), engine, worker, dict)
    keeper.state = "idle"
    keeper._beat()
    with read_session(engine) as session:
        assert [(row.id, row.state) for row in queue.live_workers(session)] == [(worker, "idle")]
