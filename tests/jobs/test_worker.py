"""The worker over the tiny demonstration: what it answers, and that nothing but the question decides it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.catalogue.database import CatalogueError, open_catalogue, read_session, write_session
from backend.catalogue.models import Job, Passage, Prompt, QuerySet, RankedPassage, Ranking
from backend.jobs import queue
from backend.jobs import worker as worker_module
from backend.jobs.client import JobView, ask, cancel, find_jobs
from backend.jobs.engine import Engine as WorkerEngine
from backend.jobs.records import JobRequest, complete_request, rank_request, tail_patch_request
from backend.jobs.subjects import Subject
from backend.jobs.worker import work
from backend.settings import Settings
from tests.command import digests, environment, proponent
from tests.jobs.answers import answers


def question(subject: Subject, method: str, prompt: str, completion: str | None, task: str | None = None, k: int = 10):
    run = subject.runs[method]
    return rank_request(run.id, run.model_id or subject.model_id, prompt, completion, task, k)


def asked(home: Path, database: Engine, requests: Sequence[JobRequest]) -> list[JobView]:
    """The jobs after a worker has emptied the queue."""
    with write_session(database) as session:
        ids = ask(session, requests, {}).job_ids
    work(Settings(home=home, device="cpu"), threads=1, once=True)
    with read_session(database) as session:
        return find_jobs(session, ids)


def stored_facts(database: Engine, count: int) -> list[Prompt]:
    with read_session(database) as session:
        return list(session.scalars(select(Prompt).where(Prompt.task == "facts").order_by(Prompt.pk).limit(count)))


def listed(database: Engine, run_id: str, slug: str) -> dict[str, float]:
    statement = (
        select(Passage.passage_id, RankedPassage.score)
        .join(RankedPassage, RankedPassage.passage_pk == Passage.pk)
        .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .where(Ranking.run_id == run_id, Prompt.slug == slug, RankedPassage.rank > 0)
        .order_by(RankedPassage.rank)
    )
    with read_session(database) as session:
        return {passage_id: score for passage_id, score in session.execute(statement)}


METHODS = ["trackstar", "trackstar-general", "gradient-dot", "gradient-cosine", "bm25"]
METHODS += ["logra", "logra-relatif", "trak", "length"]


@pytest.mark.parametrize("method", METHODS)
def test_a_stored_prompt_asked_again_gets_its_stored_list(
    home: Path, database: Engine, demonstration: Subject, method: str
) -> None:
    facts = stored_facts(database, 4)
    before = digests(home)
    jobs = asked(home, database, [question(demonstration, method, p.prompt, p.completion, "facts") for p in facts])
    for prompt, job in zip(facts, jobs, strict=True):
        assert (job.state, job.error) == ("done", None)
        run_id = demonstration.runs[method].id
        stored, answer = listed(database, run_id, prompt.slug), listed(database, run_id, job.slug or "")
        shared = list(stored)[:20]
        assert shared == list(answer)[:20] or set(shared) <= set(answer)
        assert [answer[passage] for passage in shared] == pytest.approx([stored[p] for p in shared], rel=1e-3)
    assert digests(home) == before, "a question changes no artifact"


def test_an_answer_does_not_depend_on_what_else_is_asked(home: Path, database: Engine, demonstration: Subject) -> None:
    requests = [
        question(demonstration, method, f"The capital of country number {number} is", "a city", task)
        for method in ("trackstar", "gradient-dot", "trak", "length", "bm25", "random")
        for number in range(9)
        for task in (None, "facts")
    ]
    together = home.parent / "together"
    shutil.copytree(home, together)
    for request in requests[::5]:
        asked(home, database, [request])
    alone = answers(database)
    other = open_catalogue(f"sqlite:///{together / 'proponent.db'}")
    jobs = asked(together, other, requests)
    everything = answers(other)
    assert {job.state for job in jobs} == {"done"}
    assert len(everything) == len(requests)
    for key, (prompt, said, distribution, lists) in alone.items():
        # A method that looks at no model asks for no answer of one; here another method has.
        assert (prompt, said or everything[key][1], distribution, lists) == everything[key]


def test_a_question_looks_like_any_prompt(home: Path, database: Engine, demonstration: Subject) -> None:
    (job,) = asked(home, database, [question(demonstration, "trackstar", "Two plus two is", "four", "arithmetic")])
    assert job.result_url == f"/r/{demonstration.runs['trackstar'].id}/{job.slug}"
    ((prompt, said, distribution, lists),) = answers(database).values()
    assert prompt == ("Two plus two is", "four", "arithmetic")
    ((model_id, text, probability, of_completion),) = said
    assert model_id == demonstration.model_id
    assert text
    assert 0 < probability <= 1
    assert 0 < of_completion <= 1
    scored, low, high, histogram, facts = distribution
    assert sum(histogram) == scored
    assert low <= lists[-1][2] <= high
    assert facts["lambda"] == 0.0, "arithmetic takes R over the corpus alone"
    assert len([row for row in lists if row[0] > 0]) == 100
    with read_session(database) as session:
        (asked_set,) = session.scalars(select(QuerySet).where(QuerySet.asked_of.is_not(None)))
        assert asked_set.asked_of == demonstration.query_set_id


def test_without_a_completion_the_model_gives_it(home: Path, database: Engine, demonstration: Subject) -> None:
    requests = [question(demonstration, method, "The capital of Peru is", None) for method in ("trackstar", "bm25")]
    first, second = asked(home, database, requests)
    assert first.slug == second.slug
    rows = answers(database)
    assert len(rows) == 2
    completions = {row[0][1] for row in rows.values()}
    assert len(completions) == 1
    (again,) = asked(
        home, database, [question(demonstration, "trackstar", "The capital of Peru is", completions.pop())]
    )
    assert again.slug == first.slug
    assert answers(database) == rows


def test_another_k_is_the_same_answer_at_once(home: Path, database: Engine, demonstration: Subject) -> None:
    asked(home, database, [question(demonstration, "trackstar", "One", "two", k=10)])
    rows = answers(database)
    with write_session(database) as session:
        found = ask(session, [question(demonstration, "trackstar", "One", "two", k=50)], {})
    with read_session(database) as session:
        (job,) = find_jobs(session, found.job_ids)
    assert not found.new
    assert job.state == "done"
    assert job.result_url
    both = [question(demonstration, "trackstar", "Three", "four", k=k) for k in (5, 6)]
    assert {job.state for job in asked(home, database, both)} == {"done"}
    assert len(answers(database)) == len(rows) + 1


def test_completions_to_choose_from_are_the_same_every_time(home: Path, database: Engine, demonstration: Subject):
    request = complete_request(demonstration.model_id or "", "The capital of Peru is", 4)
    (job,) = asked(home, database, [request])
    assert job.result is not None
    assert len(job.result["samples"]) == 4
    assert job.result["greedy"]["text"]
    with write_session(database) as session:
        session.get_one(Job, job.id).state = "cancelled"
    (again,) = asked(home, database, [request])
    assert again.result is not None
    assert {**again.result, "seconds": 0} == {**job.result, "seconds": 0}


def test_tail_patch_on_the_spot(home: Path, database: Engine, demonstration: Subject) -> None:
    prompt = stored_facts(database, 1)[0]
    (ranked,) = asked(home, database, [question(demonstration, "trackstar", prompt.prompt, prompt.completion, "facts")])
    request = tail_patch_request(ranked.run_id or "", demonstration.model_id or "", ranked.slug or "")
    (job,) = asked(home, database, [request])
    assert (job.state, job.error) == ("done", None)
    result: dict[str, Any] = job.result or {}
    assert result["measured"] == 10
    assert result["random"]["passage_id"]
    assert result["bm25"]["passage_id"]
    assert result["step"]["state"] == "saved"
    assert job.result_url == ranked.result_url
    with read_session(database) as session:
        statement = select(RankedPassage.tail_patch).join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        statement = statement.join(Prompt, Prompt.pk == Ranking.prompt_pk).where(Prompt.slug == ranked.slug)
        changes = list(session.scalars(statement.where(RankedPassage.rank.between(1, 11)).order_by(RankedPassage.rank)))
    assert changes[10] is None
    assert result["mean"] == pytest.approx(sum(changes[:10]) / 10)
    rows = answers(database)
    (again,) = asked(home, database, [question(demonstration, "trackstar", "Another", "question")])
    assert again.state == "done"
    assert rows.items() <= answers(database).items(), "the model is as it was"


def test_a_damaged_home_fails_the_question_with_the_reason(home: Path, database: Engine, demonstration: Subject):
    for store in (home / "stores").iterdir():
        (store / "plan.json").unlink()
    (job, lexical) = asked(
        home, database, [question(demonstration, method, "One", "two") for method in ("trackstar", "bm25")]
    )
    assert job.state == "failed"
    assert job.error is not None
    assert job.error.startswith("This cannot be answered: something of this installation is missing or damaged.")
    assert str(home) not in job.error, "paths are for the log"
    assert lexical.state == "done", "what does not need it is answered"


SLOW = """
import sys, time
from pathlib import Path
from backend.jobs.engine import Engine
from backend.jobs.worker import work
from backend.settings import Settings
own = Engine.answer
def slowly(self, run, queries, on_stage):
    on_stage("scan", 0.5, None)
    time.sleep(float(sys.argv[2]))
    return own(self, run, queries, on_stage)
Engine.answer = slowly
work(Settings(home=Path(sys.argv[1]), job_seconds=float(sys.argv[3])), threads=1)
"""


def slow_worker(home: Path, seconds: float, limit: float = 60.0) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(home), str(seconds), str(limit)], env=environment(home), cwd=Path.cwd()
    )


def wait_until(database: Engine, job_id: str, stage: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with read_session(database) as session:
            job = session.get_one(Job, job_id)
            if stage in (job.state, job.stage):
                return
        time.sleep(0.02)
    pytest.fail(f"the job never came to {stage}")


def put(database: Engine, request: JobRequest) -> tuple[str, str]:
    with write_session(database) as session:
        found = ask(session, [request], {})
    return found.ask_id, found.job_ids[0]


def test_a_job_over_the_time_limit_fails(home: Path, database: Engine, demonstration: Subject) -> None:
    _, job_id = put(database, question(demonstration, "gradient-dot", "One", "two"))
    process = slow_worker(home, seconds=120, limit=1.0)
    wait_until(database, job_id, "failed")
    assert process.wait(timeout=30) == 70
    with read_session(database) as session:
        assert "longer than 1 s" in (session.get_one(Job, job_id).error or "")
        assert queue.live_workers(session) == []


def test_a_stopped_worker_hands_its_job_back(home: Path, database: Engine, demonstration: Subject) -> None:
    _, job_id = put(database, question(demonstration, "gradient-dot", "One", "two"))
    process = slow_worker(home, seconds=120)
    wait_until(database, job_id, "scan")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    with read_session(database) as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.attempt, job.owner, job.stage) == ("queued", 0, None, "")
    work(Settings(home=home, device="cpu"), threads=1, once=True)
    assert len(answers(database)) == 1


def test_a_cancelled_running_question_leaves_nothing(home: Path, database: Engine, demonstration: Subject) -> None:
    ask_id, job_id = put(database, question(demonstration, "gradient-dot", "One", "two"))
    process = slow_worker(home, seconds=1.5)
    wait_until(database, job_id, "scan")
    with write_session(database) as session:
        assert cancel(session, ask_id)
    _, following = put(database, question(demonstration, "gradient-dot", "Three", "four"))
    wait_until(database, following, "done")
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert [row[0][0] for row in answers(database).values()] == ["Three"]


def test_asking_on_the_command_line(home: Path, database: Engine, demonstration: Subject) -> None:
    done = proponent(home, "ask", "The capital of Peru is", "Lima", "--task", "facts", "--k", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert "No worker is running: scoring here." in done.stderr
    value = json.loads(done.stdout)
    assert value["state"] == "done"
    (ranking,) = value["rankings"]
    assert ranking["method"] == "trackstar"
    assert [passage["rank"] for passage in ranking["proponents"]] == [1, 2, 3]
    again = proponent(home, "ask", "The capital of Peru is", "Lima", "--task", "facts", "--k", "3", "--json")
    assert "scoring here" not in again.stderr
    assert json.loads(again.stdout) == value
    assert "Page: /r/" in proponent(home, "ask", "The capital of Peru is", "Lima", "--task", "facts").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("  ", "x"), "The prompt is white space alone"),
        (("x", ""), "The completion is empty"),
        (("x", "y", "--method", "magic"), "There is no run of 'magic' here."),
        (("x", "y", "--task", "poems"), "There is no task 'poems'."),
        (("word " * 5000, "y"), "at most 20,000 are taken"),
        (("word " * 500 + "word", "y"), "Shorten it by"),
        (("word ", "y"), "has no token of its own"),
    ],
)
def test_a_bad_question_says_what_is_wrong(home: Path, arguments: tuple[str, ...], message: str) -> None:
    done = proponent(home, "ask", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


class Broken(Exception):
    """What no part of the program raises by itself."""


def test_a_fault_while_loading_is_tried_again(
    home: Path, database: Engine, demonstration: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, faults = WorkerEngine.run, [MemoryError(), OSError(24, "Too many open files")]

    def run(self: WorkerEngine, record: Any) -> Any:
        if faults:
            raise faults.pop()
        return own(self, record)

    monkeypatch.setattr(WorkerEngine, "run", run)
    monkeypatch.setattr(worker_module, "LOAD_PAUSE_SECONDS", 0.01)
    (job,) = asked(home, database, [question(demonstration, "gradient-dot", "One", "two")])
    assert (job.state, faults) == ("done", [])


def test_a_fault_of_the_database_loses_no_question(
    home: Path, database: Engine, demonstration: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(session: Any, run_id: str) -> Any:
        raise CatalogueError("The catalogue is busy.")

    requests = [question(demonstration, "gradient-dot", f"Number {n} is", "two") for n in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(worker_module, "run_record", busy)
        with pytest.raises(CatalogueError):
            asked(home, database, requests)
    assert {job.state for job in asked(home, database, requests)} == {"done"}


def test_one_bad_question_does_not_spoil_its_batch(
    home: Path, database: Engine, demonstration: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = WorkerEngine.answer

    def answer(self: WorkerEngine, run: Any, queries: Sequence[Any], on_stage: Any) -> Any:
        if any(query.prompt == "Bad" for query in queries):
            raise Broken(f"secret of {home}")
        return own(self, run, queries, on_stage)

    monkeypatch.setattr(WorkerEngine, "answer", answer)
    prompts = ("Good", "Bad", "Fair")
    jobs = asked(home, database, [question(demonstration, "gradient-dot", prompt, "two") for prompt in prompts])
    assert [job.state for job in jobs] == ["done", "failed", "done"]
    assert jobs[1].error == f"A fault of the worker, not yours; its log has the details under job {jobs[1].id}."


def test_the_time_limit_is_each_questions_own(home: Path, database: Engine, demonstration: Subject) -> None:
    requests = [question(demonstration, "gradient-dot", f"Number {n} is", "two") for n in range(4)]
    with write_session(database) as session:
        ids = ask(session, requests, {}).job_ids
    script = SLOW.replace('on_stage("scan", 0.5, None)', "").replace(
        "    time.sleep(float(sys.argv[2]))\n",
        "    for which in range(len(queries)):\n"
        '        on_stage("gradient", 0.5, which)\n'
        '        time.sleep(60 if queries[which].prompt == "Number 2 is" else float(sys.argv[2]))\n',
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(home), "0.8", "2.0"], env=environment(home), cwd=Path.cwd()
    )
    assert process.wait(timeout=90) == 70
    with read_session(database) as session:
        states = [session.get_one(Job, job_id).state for job_id in ids]
    assert states == ["queued", "queued", "failed", "queued"], "those beside it are handed back"
    work(Settings(home=home, device="cpu"), threads=1, once=True)
    with read_session(database) as session:
        assert [job.state for job in find_jobs(session, ids)] == ["done", "done", "failed", "done"]
