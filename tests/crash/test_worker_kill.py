"""kill -9 of the worker at random moments: every question has exactly one answer, with an undisturbed run's bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.models import Job
from backend.catalogue.processes import is_gone
from backend.jobs import queue
from backend.jobs.client import ask
from backend.jobs.records import rank_request
from backend.jobs.subjects import subjects
from tests.command import environment, proponent
from tests.jobs.answers import answers

METHODS = ("trackstar", "gradient-cosine", "bm25")


@pytest.mark.parametrize(("kills", "questions"), [pytest.param(25, 200, marks=pytest.mark.full)])
def test_killed_at_random_every_question_has_one_answer(
    tiny_demo: Path, tmp_path: Path, kills: int, questions: int
) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for home in (undisturbed, disturbed):
        shutil.copytree(tiny_demo, home)
    expected = database_of(undisturbed)
    put(expected, 0, questions)
    done = proponent(undisturbed, "worker", "--once")
    assert done.returncode == 0, done.stderr

    database = database_of(disturbed)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", "serve", "--port", str(port)],
        env={**environment(disturbed), "PROPONENT_LOG_LEVEL": "WARNING"},
        cwd=Path(__file__).parents[2],
    )
    watch = Watch(f"http://127.0.0.1:{port}/healthz")
    try:
        watch.wait_for_server()
        moments = random.Random(kills)
        share, killed = questions // kills, set[int]()
        for kill in range(kills):
            worker = live_worker(database, killed)
            put(database, kill * share, (kill + 1) * share)
            time.sleep(moments.uniform(0, 0.6))
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
        put(database, kills * share, questions)
        wait_until_answered(database, questions)
    finally:
        watch.stop()
        server.terminate()
        server.wait(timeout=30)
    assert watch.failures == []
    with read_session(database) as session:
        states = {state: count for state, count in session.execute(select(Job.state, func.count()).group_by(Job.state))}
        lost = session.scalar(select(func.sum(queue.Worker.lease_losses)))
    assert states == {"done": questions}
    assert lost, "at least one kill hit a question that was being answered"
    assert answers(database) == answers(expected)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_of(home: Path) -> Engine:
    return open_catalogue(f"sqlite:///{home / 'proponent.db'}")


def put(database: Engine, start: int, end: int) -> None:
    with read_session(database) as session:
        subject = subjects(session)[0]
    for number in range(start, end):
        run = subject.runs[METHODS[number % len(METHODS)]]
        task = ("facts", None)[number % 2]
        request = rank_request(run.id, run.model_id, f"The {number}th largest city is", "Nowhere", task, 10)
        with write_session(database) as session:
            ask(session, [request], {}, turn_of=f"reader:{number % 7}")


def live_worker(database: Engine, killed: set[int]) -> int:
    """Process id of the worker that is there, once there is one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with read_session(database) as session:
            workers = {row.process_id for row in queue.live_workers(session)} - killed
        if workers:
            return workers.pop()
        time.sleep(0.05)
    pytest.fail("no worker came back")


def wait_until_answered(database: Engine, questions: int) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        with read_session(database) as session:
            if session.scalar(select(func.count()).select_from(Job).where(Job.state == "done")) == questions:
                return
        time.sleep(0.1)
    pytest.fail("not every question was answered")


class Watch:
    """Asks the web server again and again whether it is there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.failures: list[str] = []
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def wait_for_server(self) -> None:
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        self._thread.start()

    def stop(self) -> None:
        self._halt.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look(self) -> None:
        while not self._halt.wait(0.1):
            if not self._answers():
                self.failures.append(time.strftime("%X"))

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=20) as response:
                return response.status == 200
        except OSError:
            return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_leaves_no_worker(tiny_demo: Path, tmp_path: Path, number: signal.Signals) -> None:
    home = Path(shutil.copytree(tiny_demo, tmp_path / "home"))
    database = database_of(home)
    server = subprocess.Popen(
        [sys.executable, "-m", "backend.cli", "serve", "--port", str(free_port())],
        env={**environment(home), "PROPONENT_LOG_LEVEL": "WARNING"},
        cwd=Path(__file__).parents[2],
    )
    try:
        worker = live_worker(database, set())
        os.kill(worker, signal.SIGSTOP)  # it stands for a computation that hears no signal
        server.send_signal(number)
        server.wait(timeout=30)
    finally:
        server.kill()
    assert is_gone(socket.gethostname(), worker, None)
