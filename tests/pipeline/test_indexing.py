"""`proponent index` over the tiny demonstration: what it makes, measures, shows and refuses, and asking through it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.indexes import index_of_run, load_index
from backend.catalogue.measurements import newest_measurements
from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import CorruptArtifact, UserError
from backend.core.records import Query
from backend.jobs.engine import Engine
from backend.jobs.records import asked_slug
from backend.jobs.results import run_record, write_prompt, write_ranking
from backend.jobs.subjects import subjects
from backend.pipeline.indexing import index_runs
from backend.pipeline.tables import indexes_text
from backend.pipeline.workspace import Workspace
from backend.search.index import IndexConfig
from backend.search.reduce import QueryRanking
from backend.settings import Settings
from tests.command import digests

FLAT = IndexConfig("Flat", candidates=400)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def indexed(tiny_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A copy of the tiny demonstration with a Flat index of TrackStar's current runs, and what the stage returned."""
    home = Path(shutil.copytree(tiny_demo, tmp_path_factory.mktemp("indexed") / "home"))
    return home, build(home, [], FLAT)


def build(home: Path, runs: list[str], config: IndexConfig) -> list[dict[str, Any]]:
    threads = torch.get_num_threads()
    try:
        with Workspace(Settings(home=home, threads=1), "index") as work:
            return index_runs(work, runs, config)
    finally:
        torch.set_num_threads(threads)


def test_every_geometry_has_a_file_and_a_flat_index_misses_nothing(indexed):
    home, rows = indexed
    by_tasks = {row["run"]: [part["tasks"] for part in row["geometries"]] for row in rows}
    mixed = next(parts for parts in by_tasks.values() if len(parts) == 2)
    assert mixed[1] == ["facts"]
    assert "arithmetic" in mixed[0]
    for row in rows:
        folder = home / "indexes" / row["index"]
        manifest = read_manifest(folder)
        assert manifest.inputs["run"] == row["run"]
        assert manifest.inputs["store"]
        assert sorted(manifest.files) == [part["file"] for part in row["geometries"]]
        assert verify(folder) == []
        assert row["recall_at_100"] == 1.0
        assert min(row["index_seconds"], row["exact_seconds"]) > 0
        weights = [part["weight"] for part in row["geometries"] if part["geometry"] == 1]
        assert all(0 < weight < 1 for weight in weights)
    assert "ms by the exact scan" in indexes_text(rows)


def test_again_it_is_a_no_op_and_after_a_kill_it_is_made_again(indexed):
    home, rows = indexed
    before = digests(home)
    assert build(home, [], FLAT) == rows
    assert digests(home) == before
    folder = home / "indexes" / rows[0]["index"]
    (folder / "MANIFEST.json").unlink()
    (folder / "geometry-0.faiss").write_bytes(b"half")
    again = build(home, [rows[0]["run"]], FLAT)
    assert again[0]["index"] == rows[0]["index"]
    assert verify(folder) == []
    assert [part["bytes"] for part in again[0]["geometries"]] == [part["bytes"] for part in rows[0]["geometries"]]


def test_what_has_no_vectors_or_is_not_there_is_refused(indexed):
    home, _ = indexed
    bm25 = next(path.name for path in (home / "runs").iterdir() if path.name.startswith("bm25"))
    with pytest.raises(UserError, match="no vectors to index: bm25 reads no gradient store"):
        build(home, [bm25], FLAT)
    with pytest.raises(UserError, match="no run 'nothing'"):
        build(home, ["nothing"], FLAT)
    with pytest.raises(UserError, match="no index 'nonsense'"):
        build(home, [], IndexConfig("nonsense"))


def test_the_run_s_page_and_its_twin_show_recall(indexed):
    home, rows = indexed
    row = next(row for row in rows if len(row["geometries"]) == 2)
    with TestClient(create_app(Settings(home=home))) as client:
        page = client.get(f"/runs/{row['run']}").text
        twin = client.get(f"/runs/{row['run']}.json").json()
        api = client.get(f"/api/v1/runs/{row['run']}").json()
    assert "recall@100" in page
    assert "<strong>100.00 %</strong>" in page
    assert row["index"] in page
    assert twin["index"]["recall_at_100"] == 1.0
    assert [part["tasks"] for part in twin["index"]["geometries"]] == [part["tasks"] for part in row["geometries"]]
    assert api["index"] == twin["index"]


def test_a_run_shows_its_newest_index_and_measurements_leave_indexes_out(indexed):
    home, rows = indexed
    database = open_catalogue(Settings(home=home))
    with read_session(database) as session:
        shown = {row["run"]: index_of_run(session, row["run"]) for row in rows}
        assert {run: index.id for run, index in shown.items() if index} == {row["run"]: row["index"] for row in rows}
        assert index_of_run(session, "bm25") is None
        assert "index" not in newest_measurements(session)
    folder = home / "indexes" / rows[0]["index"]
    with write_session(database) as session:
        assert not load_index(session, folder)
    broken = home / "indexes" / "broken"
    shutil.copytree(folder, broken)
    manifest = json.loads((broken / "MANIFEST.json").read_text())
    del manifest["facts"]["recall_at_100"]
    (broken / "MANIFEST.json").write_text(json.dumps({**manifest, "id": "broken"}))
    with write_session(database) as session, pytest.raises(CorruptArtifact, match="recall_at_100 is missing"):
        load_index(session, broken)
    shutil.rmtree(broken)
    database.dispose()


def test_questions_are_answered_through_it_with_the_same_list(indexed, tmp_path):
    home = Path(shutil.copytree(indexed[0], tmp_path / "home"))
    database = open_catalogue(Settings(home=home))
    with read_session(database) as session:
        subject = next(s for s in subjects(session) if any(row["run"] == s.runs["trackstar"].id for row in indexed[1]))
        record = run_record(session, subject.runs["trackstar"].id)
    index = next(row for row in indexed[1] if row["run"] == record.id)
    queries = [Query("a", "facts", "The capital of France is", "Paris"), Query("b", "", "One and one is", "two")]
    exact, through_index = Engine(Home(home), "cpu"), Engine(Home(home), "cpu", "index")
    whole = exact.answer(exact.run(record), queries, lambda *_: None)
    found = through_index.answer(through_index.run(record), queries, lambda *_: None)
    for one, other in zip(whole, found, strict=True):
        assert isinstance(one.ranking, QueryRanking)
        assert not isinstance(other.ranking, QueryRanking)
        assert other.ranking.proponents.tolist() == one.ranking.proponents.tolist()
        assert np.array_equal(other.ranking.proponent_scores, one.ranking.proponent_scores)
        assert other.ranking.opponents.tolist() == one.ranking.opponents.tolist()
        assert other.facts["search"] == {"index": index["index"], "candidates": 400}
    with write_session(database) as session:
        asked = write_prompt(session, record, queries[1].prompt, queries[1].completion, None, None)
        write_ranking(session, record, asked, found[1])
    database.dispose()
    with TestClient(create_app(Settings(home=home))) as client:
        page = client.get(f"/prompts/{asked_slug(subject.query_set_id, queries[1].prompt, 'two', None)}").text
    assert "only its 400 candidates were scored" in page
    assert "imported list" not in page
    (home / "indexes" / index["index"] / "geometry-1.faiss").write_bytes(b"not an index")
    with pytest.raises(CorruptArtifact, match=r"geometry-.\.faiss"):
        Engine(Home(home), "cpu", "index").run(record)
