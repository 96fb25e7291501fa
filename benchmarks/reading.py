"""How long readers wait for pages while a worker scores questions on the same machine.

Serves a home as `proponent serve` does, with its worker, and asks for pages at a fixed rate, whatever the answers take
(an open loop): after five seconds of warming up first on an idle server, then while new questions are put in all the
time. Some pages are asked for often and most seldom, so both measurements meet kept pages and first visits. Prints one
JSON object: median and 95th percentile of both, and how many questions were answered meanwhile. Without ``--home`` a
stand-in for the demonstration is made first.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sqlalchemy import Engine as Database
from sqlalchemy import func, select
from stand_in import stand_in

from backend.catalogue.database import migrate, open_catalogue, read_session, write_session
from backend.catalogue.models import Job, Passage, Prompt
from backend.jobs.client import ask, queue_depth
from backend.jobs.queue import live_workers
from backend.jobs.records import rank_request
from backend.jobs.subjects import subjects
from backend.settings import Settings

CONNECTIONS = 16
WARM_UP_SECONDS = 5.0
WAITING = 16
"""Questions that are kept in the queue."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: the output is always JSON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two measurements")
    parser.add_argument("--home", type=Path, help="a home with a finished demonstration; by default a stand-in is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        home = arguments.home or stand_in(Path(made), arguments.threads)
        settings = Settings(home=home, threads=arguments.threads, device="cpu")
        database = open_catalogue(settings)
        migrate(database)
        result = measure(database, settings, arguments.rate, arguments.seconds)
        database.dispose()
    print(json.dumps({"rate": arguments.rate, "seconds": arguments.seconds, **result}))


def measure(database: Database, settings: Settings, rate: float, seconds: float) -> dict[str, Any]:
    """Waits of readers without and with questions."""
    paths = pages(database)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "backend.cli", "serve", "--port", str(port)]
    command += ["--home", str(settings.home.absolute())]
    environment = {**os.environ, "PROPONENT_LOG_LEVEL": "WARNING", "PROPONENT_THREADS": str(settings.threads)}
    server = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
    stopping = threading.Event()
    asking = threading.Thread(target=keep_asking, args=(database, stopping))
    try:
        wait_for_worker(database)
        read(port, paths, rate, WARM_UP_SECONDS)
        idle = read(port, paths, rate, seconds)
        asking.start()
        time.sleep(1)
        before, started = answered(database), time.monotonic()
        scoring = read(port, paths, rate, seconds)
        per_second = (answered(database) - before) / (time.monotonic() - started)
    finally:
        stopping.set()
        if asking.is_alive():
            asking.join()
        server.terminate()
        server.wait(timeout=30)
    return {
        "idle_p50_ms": quantile(idle, 0.5),
        "idle_p95_ms": quantile(idle, 0.95),
        "scoring_p50_ms": quantile(scoring, 0.5),
        "scoring_p95_ms": quantile(scoring, 0.95),
        "requests": len(scoring),
        "questions_per_second": round(per_second, 2),
    }


def pages(database: Database) -> Iterator[str]:
    """Prompts, passages and lists as readers ask for them: some often, most seldom (Zipf's law), in any order."""
    with read_session(database) as session:
        slugs = session.scalars(select(Prompt.slug).where(Prompt.asked.is_(False))).all()
        passages = session.scalars(select(Passage.passage_id).limit(2000)).all()
    drawn = random.Random(0)
    found = [f"/prompts/{slug}" for slug in slugs]
    found += [f"/passages/{passage}" for passage in drawn.sample(passages, min(400, len(passages)))]
    drawn.shuffle(found)
    found[5:5] = ["/prompts?task=facts&sort=best-traced", "/prompts?q=capital", "/ask"]
    found[:0] = ["/", "/prompts"]
    weights = [1 / place for place in range(1, len(found) + 1)]
    return iter(drawn.choices(found, weights, k=100_000))


def read(port: int, paths: Iterator[str], rate: float, seconds: float) -> list[float]:
    """Seconds of each request from the moment that it was due."""
    due: queue.Queue[tuple[float, str] | None] = queue.Queue()
    taken: list[float] = []

    def reader() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while (item := due.get()) is not None:
            at, path = item
            time.sleep(max(0.0, at - time.monotonic()))
            connection.request("GET", path, headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise SystemExit(f"{path}: {response.status}")
            taken.append(time.monotonic() - at)

    threads = [threading.Thread(target=reader) for _ in range(CONNECTIONS)]
    start = time.monotonic() + 0.2
    for number in range(int(rate * seconds)):
        due.put((start + number / rate, next(paths)))
    for _ in threads:
        due.put(None)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def keep_asking(database: Database, stopping: threading.Event) -> None:
    """Keep some new questions in the queue."""
    with read_session(database) as session:
        run = subjects(session)[0].runs["trackstar"]
    stamp, number = time.time(), 0
    while not stopping.wait(0.05):
        with read_session(database) as session:
            missing = WAITING - queue_depth(session)
        for _ in range(missing):
            number += 1
            request = rank_request(run.id, run.model_id, f"Question {number} of {stamp} is", "one", None, 10)
            with write_session(database, shown=False) as session:
                ask(session, [request], {})


def wait_for_worker(database: Database) -> None:
    """Wait until the server's worker is there and has loaded its run."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with read_session(database) as session:
            if any(worker.state == "idle" for worker in live_workers(session)):
                return
        time.sleep(0.2)
    raise SystemExit("no worker came")


def answered(database: Database) -> int:
    """Questions that are done."""
    with read_session(database) as session:
        return session.scalar(select(func.count()).select_from(Job).where(Job.state == "done")) or 0


def quantile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return round(1000 * statistics.quantiles(seconds, n=100)[int(share * 100) - 1], 1)


if __name__ == "__main__":
    main()
