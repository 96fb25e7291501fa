"""The values of `evaluate --json` and `status --json`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from backend.catalogue.database import migrate, open_catalogue, read_session, write_session
from backend.catalogue.evaluation import newest_runs, retrieval_table, status
from backend.catalogue.loading import load_home
from backend.catalogue.measurements import load_measurement
from backend.catalogue.models import Metric, Run
from backend.catalogue.stages import StageLog
from backend.core.artifacts import Home
from backend.pipeline.tables import metrics_text
from tests.catalogue.factories import TinyHome, finish, related_scores, started, tiny_home, write_query_set, write_run


@pytest.fixture
def tiny(tmp_path: Path, catalogue_url: str) -> TinyHome:
    return tiny_home(tmp_path, catalogue_url)


def test_the_table_has_the_contract_s_shape(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        table = retrieval_table(session)
    keys = ["method", "task", "bucket", "n", "mrr", "recall_at_10", "precision_at_1", "precision_at_10"]
    assert all(list(row) == keys for row in table)
    assert [(row["method"], row["bucket"]) for row in table if row["task"] == "facts"] == [
        (method, bucket) for method in ("bm25", "trackstar") for bucket in (None, "1", "2-4", "5-9", "10-49", "50+")
    ]
    assert {row["task"] for row in table} == {"facts"}


def test_the_table_can_be_narrowed(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        assert {row["method"] for row in retrieval_table(session, methods=["bm25"])} == {"bm25"}
        assert retrieval_table(session, tasks=["arithmetic"]) == []


def test_query_sets_are_merged_by_their_counts_and_only_the_newest_run_counts(tiny: TinyHome) -> None:
    corpus, model = tiny.home.folder("corpus", tiny.corpus), tiny.home.folder("model", tiny.model)
    first = tiny.home.folder("queries", tiny.query_set)
    few = [query for query in tiny.queries if query.entails][:2]
    second = write_query_set(tiny.home, corpus, few, name="Few")
    perfect = related_scores(few, tiny.passages, 3, 1000.0)
    write_run(tiny.home, "trackstar", corpus, second, model, perfect)
    nothing = related_scores(tiny.queries, tiny.passages, 4, -1000.0)
    newest = write_run(tiny.home, "trackstar", corpus, first, model, nothing, version=2)
    load_home(tiny.engine, tiny.home)
    with read_session(tiny.engine) as session:
        runs = newest_runs(session, ["trackstar"])
        (row,) = (row for row in retrieval_table(session, methods=["trackstar"]) if row["bucket"] is None)
    assert newest.name in runs
    assert tiny.runs[1] not in runs
    assert len(runs) == 2
    worst = 10 * _mrr(tiny, newest.name)
    assert row["n"] == 12
    assert row["mrr"] == pytest.approx((worst + 2 * 1.0) / 12)


def write_lds(tiny: TinyHome, seed: int, rows: list[dict[str, object]]) -> None:
    inputs: dict[str, str | None] = {"queries": tiny.query_set, "model": tiny.model}
    config = {"measures": "lds", "seed": seed}
    folder = started(tiny.home, "measurement", inputs, config, "lds")
    finish(folder, "measurement", inputs, config, rows=rows)
    with write_session(tiny.engine) as session:
        load_measurement(session, folder)


def test_lds_stands_beside_once_it_is_measured(tiny: TinyHome) -> None:
    cell = {"method": "trackstar", "task": "facts", "bucket": "", "n": 10}
    write_lds(tiny, 0, [{**cell, "lds": 0.1, "low": 0.0, "high": 0.2}])
    write_lds(tiny, 1, [{**cell, "lds": 0.3, "low": 0.25, "high": 0.35}, {**cell, "task": "", "lds": 9.0}])
    with read_session(tiny.engine) as session:
        table = retrieval_table(session)
        assert retrieval_table(session, query_set_id=tiny.query_set) == table
        assert retrieval_table(session, query_set_id="another") == []
    keys = ["method", "task", "bucket", "n", "mrr", "recall_at_10", "precision_at_1", "precision_at_10"]
    assert all(list(row) == [*keys, "lds", "lds_low", "lds_high"] for row in table)
    found = {(row["method"], row["bucket"]): (row["lds"], row["lds_low"], row["lds_high"]) for row in table}
    assert found.pop(("trackstar", None)) == (0.3, 0.25, 0.35), "the newest measurement's"
    assert set(found.values()) == {(None, None, None)}
    lines = metrics_text(table).splitlines()
    assert lines[0].endswith("LDS    95% interval")
    assert sum("0.300  0.250 to 0.350" in line for line in lines) == 1


def _mrr(tiny: TinyHome, run_id: str) -> float:
    with read_session(tiny.engine) as session:
        found = session.get_one(Metric, (run_id, "facts", "", "mrr"))
        assert found.n == 10
        return found.value


def test_status(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        found = status(session, tiny.home)
    assert found == {
        "home": str(tiny.home.root),
        "passages": 130,
        "prompts": {
            "total": 30,
            "by_task": {"facts": 12, "arithmetic": 9, "open-generation": 5, "controls": 4},
        },
        "runs": [
            {"id": tiny.runs[0], "method": "bm25", "model": None, "corpus": tiny.corpus},
            {"id": tiny.runs[1], "method": "trackstar", "model": tiny.model, "corpus": tiny.corpus},
        ],
        "demo": {"complete": False, "stage": None},
    }


def test_status_follows_the_demonstration(tmp_path: Path) -> None:
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    log = StageLog(engine)

    def demo() -> object:
        with read_session(engine) as session:
            return status(session, Home(tmp_path))["demo"]

    log.plan("demo", [("corpus/a", "Corpus"), ("model/b", "Model")])
    assert demo() == {"complete": False, "stage": "Corpus"}
    for name in ("corpus/a", "model/b"):
        log.begin(name)
        log.finish(name)
    assert demo() == {"complete": True, "stage": None}


def test_runs_of_the_same_moment_have_a_fixed_order(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        moment = session.get_one(Run, tiny.runs[0]).created_at
    with write_session(tiny.engine) as session:
        session.execute(update(Run).values(created_at=moment))
    with read_session(tiny.engine) as session:
        assert newest_runs(session) == sorted(tiny.runs)
    assert np.all([run.split("-")[0] in ("bm25", "trackstar") for run in tiny.runs])
