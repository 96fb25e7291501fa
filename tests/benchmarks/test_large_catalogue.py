"""The made catalogue is whole and always the same, the application serves it, and the web benchmark reports on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue import models as m
from backend.catalogue.database import open_catalogue, read_session
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS
from tests.app.example_catalogue import MODEL_METHODS, settings_for

ROOT = Path(__file__).resolve().parents[2]
SIZE = ("--passages", "400", "--prompts", "60")


def run(script: str, *arguments: str) -> str:
    """What a benchmark prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    run("large_catalogue.py", str(folder), *SIZE)
    return folder


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[Engine]:
    made = open_catalogue(settings_for(home))
    yield made
    made.dispose()


def rows(engine: Engine) -> dict[str, list[Any]]:
    """Every row of every table."""
    with read_session(engine) as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]
            for table in m.Base.metadata.sorted_tables
        }


def test_references_hold_and_counts_are_those_asked_for(engine: Engine) -> None:
    with read_session(engine) as session:
        assert session.execute(text("PRAGMA foreign_key_check")).fetchall() == []
        counts = {table: session.scalar(select(func.count()).select_from(table)) for table in (m.Passage, m.Prompt)}
        assert counts == {m.Passage: 400, m.Prompt: 60}
        assert session.scalar(text("SELECT count(*) FROM prompt_search")) == 60
        assert session.scalar(text("SELECT count(*) FROM sqlite_stat1"))


def test_every_task_and_bucket_occurs_and_frequencies_count_the_passages(engine: Engine) -> None:
    with read_session(engine) as session:
        prompts = list(session.scalars(select(m.Prompt)))
        stating = Counter(session.scalars(select(m.Entailment.prompt_pk)))
    assert {prompt.task for prompt in prompts} == set(TASKS)
    assert {prompt.bucket for prompt in prompts} == {*BUCKETS, None}
    assert all(stating[prompt.pk] == (prompt.frequency or 0) for prompt in prompts)
    assert all(prompt.search_text and prompt.output_model_id for prompt in prompts)


def test_passages_that_state_a_fact_hold_its_names(engine: Engine) -> None:
    stated = (
        select(m.Prompt.subject, m.Prompt.object, m.Passage.text)
        .join(m.Entailment, m.Entailment.prompt_pk == m.Prompt.pk)
        .join(m.Passage, m.Passage.pk == m.Entailment.passage_pk)
        .where(m.Prompt.task == "facts")
    )
    with read_session(engine) as session:
        found = list(session.execute(stated))
    assert found
    assert all(subject in passage and answer in passage for subject, answer, passage in found)


def test_lists_are_ranked_without_gaps_and_name_no_passage_twice(engine: Engine) -> None:
    columns = (m.RankedPassage.ranking_pk, m.Run.method, m.RankedPassage.rank, m.RankedPassage.passage_pk)
    statement = select(*columns, m.RankedPassage.score).select_from(m.RankedPassage).join(m.Ranking).join(m.Run)
    lists: dict[tuple[int, str], list[tuple[int, int, float]]] = {}
    with read_session(engine) as session:
        for ranking_pk, method, *row in session.execute(statement.order_by(m.RankedPassage.rank)):
            lists.setdefault((ranking_pk, method), []).append(tuple(row))
    assert Counter(method for _, method in lists) == dict.fromkeys((*MODEL_METHODS, "bm25"), 60)
    for (_, method), found in lists.items():
        below = list(range(-20, 0)) if method in MODEL_METHODS else []
        assert [rank for rank, _, _ in found] == [*below, *range(1, 101)]
        assert len({passage for _, passage, _ in found}) == len(found)
        scores = [score for _, _, score in found]
        assert scores[len(below) :] == sorted(scores[len(below) :], reverse=True)
        assert scores[: len(below)] == sorted(scores[: len(below)], reverse=True)


def test_distributions_count_every_passage(engine: Engine) -> None:
    with read_session(engine) as session:
        for ranking in session.scalars(select(m.Ranking)):
            assert len(ranking.histogram or []) == 64
            assert sum(ranking.histogram or []) == ranking.scored == 400


def test_equal_seeds_give_equal_rows(engine: Engine, tmp_path: Path) -> None:
    made = {}
    for seed in ("0", "1"):
        run("large_catalogue.py", str(tmp_path / seed), *SIZE, "--seed", seed)
        other = open_catalogue(settings_for(tmp_path / seed))
        made[seed] = rows(other)
        other.dispose()
    assert made["0"] == rows(engine)
    assert made["1"]["passages"] != made["0"]["passages"]


def test_the_application_serves_it(home: Path, engine: Engine) -> None:
    with read_session(engine) as session:
        slugs = list(session.scalars(select(m.Prompt.slug)))
        passages = list(session.scalars(select(m.Passage.passage_id).where(m.Passage.pk % 20 == 0)))
        runs = list(session.scalars(select(m.Run.id)))
    addresses = ["/", "/prompts", "/prompts?bucket=1", "/runs", f"/r/{'+'.join(runs)}/{slugs[0]}"]
    addresses += [f"/prompts/{slug}" for slug in slugs] + [f"/passages/{one}" for one in passages]
    addresses += [f"/runs/{run_id}" for run_id in runs]
    with TestClient(create_app(settings_for(home))) as client:
        assert {address: client.get(address).status_code for address in addresses} == dict.fromkeys(addresses, 200)


def test_the_web_benchmark_prints_one_object_with_its_fields() -> None:
    short = ("--rounds", "1", "--seconds", "0.3", "--requests", "2")
    lines = run("web.py", "--json", *SIZE, *short).splitlines()
    assert len(lines) == 1
    found = json.loads(lines[0])
    assert {"seed", "passages", "prompts", "threads", "seconds"} <= found.keys()
    assert (found["seed"], found["passages"], found["prompts"]) == (0, 400, 60)
    for name in ("prompt_page_per_bare_page", "client_ceiling_rps", "largest_page_kb", "slowest_page_ms"):
        assert found[name] > 0
    assert {"home", "prompts", "prompt", "permalink", "passage", "runs", "run"} <= found["pages"].keys()
    assert all(page["median_ms"] > 0 and page["kb"] > 0 for page in found["pages"].values())
    assert found["slowest_page_ms"] == max(page["median_ms"] for page in found["pages"].values())
    assert abs(found["bare_page_kb"] / found["prompt_page_kb"] - 1) < 0.1
