"""Progress of stages: planned, running, done, and read as stopped when the process is gone."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text, update

from backend.catalogue import stages
from backend.catalogue.database import migrate, open_catalogue, read_session, write_session
from backend.catalogue.models import Stage
from backend.catalogue.stages import StageLog, StageProgress, list_stages


@pytest.fixture
def engine(catalogue_url: str) -> Engine:
    opened = open_catalogue(catalogue_url)
    migrate(opened)
    return opened


def read(engine: Engine) -> dict[str, StageProgress]:
    with read_session(engine) as session:
        return {stage.name: stage for stage in list_stages(session)}


def test_a_stage_from_plan_to_done(engine: Engine) -> None:
    log = StageLog(engine)
    log.plan("demo", [("corpus/a", "Corpus"), ("model/b", "Model")])
    assert [stage.state for stage in read(engine).values()] == ["waiting", "waiting"]
    log.begin("corpus/a", total=10, unit="passages")
    log.update("corpus/a", 4, 10, "passages", "reading")
    running = read(engine)["corpus/a"]
    assert (running.state, running.done, running.total, running.unit) == ("running", 4, 10, "passages")
    assert running.message == "reading"
    assert running.started_at is not None
    log.finish("corpus/a")
    assert (read(engine)["corpus/a"].state, read(engine)["corpus/a"].done) == ("done", 10)
    with read_session(engine) as session:
        assert [stage.name for stage in log.list(session, "demo")] == ["corpus/a", "model/b"]


def test_planning_again_keeps_what_is_done_and_forgets_what_is_not_planned(engine: Engine) -> None:
    log = StageLog(engine)
    log.plan("demo", [("corpus/a", "Corpus"), ("model/b", "Model"), ("run/c", "Run")])
    log.begin("corpus/a")
    log.finish("corpus/a")
    log.begin("model/b")
    log.fail("model/b", "out of memory")
    assert read(engine)["model/b"].message == "out of memory"
    log.plan("demo", [("model/b", "Model"), ("corpus/a", "Corpus"), ("run/d", "Run")])
    assert {name: stage.state for name, stage in read(engine).items()} == {
        "model/b": "waiting",
        "corpus/a": "done",
        "run/d": "waiting",
    }


def test_a_stage_may_begin_unplanned(engine: Engine) -> None:
    log = StageLog(engine)
    log.begin("run/x", "Ranking by BM25", "rank")
    assert read(engine)["run/x"].title == "Ranking by BM25"
    log.finish("run/x")


def test_updates_are_throttled(engine: Engine) -> None:
    log = StageLog(engine)
    log.begin("corpus/a")
    for done in range(1000):
        log.update("corpus/a", done)
    assert read(engine)["corpus/a"].done == 0
    log.finish("corpus/a")


def test_a_running_stage_that_is_not_heard_of_is_stopped(engine: Engine) -> None:
    log = StageLog(engine)
    log.begin("corpus/a")
    assert read(engine)["corpus/a"].state == "running"
    with write_session(engine) as session:
        past = datetime.now(UTC) - timedelta(seconds=61)
        session.execute(update(Stage).values(host="elsewhere", updated_at=past))
    assert read(engine)["corpus/a"].state == "stopped"
    log.finish("corpus/a")


def test_a_stage_of_a_dead_process_is_stopped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'proponent.db'}"
    script = f"""
import os, signal
from backend.catalogue.database import migrate, open_catalogue
from backend.catalogue.stages import StageLog
engine = open_catalogue({url!r})
migrate(engine)
StageLog(engine).begin("corpus/a", "Corpus", "demo")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert read(open_catalogue(url))["corpus/a"].state == "stopped"


def test_the_heartbeat_goes_on_through_silence(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "HEARTBEAT_SECONDS", 0.02)
    log = StageLog(engine)
    log.begin("corpus/a")
    first = read(engine)["corpus/a"].updated_at
    for _ in range(200):
        if read(engine)["corpus/a"].updated_at > first:
            break
    else:
        pytest.fail("the row was never touched")
    log.finish("corpus/a")


def test_a_locked_catalogue_never_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    monkeypatch.setattr(stages, "PROGRESS_BUSY_MILLISECONDS", 20)
    monkeypatch.setattr(stages, "STATE_BUSY_MILLISECONDS", 20)
    log = StageLog(engine)
    with write_session(engine):
        log.plan("demo", [("corpus/a", "Corpus")])
        log.begin("corpus/a")
        log.update("corpus/a", 1)
        log.finish("corpus/a")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE stages"))
    log.update("corpus/a", 1)
    log.fail("corpus/a", "whatever")
