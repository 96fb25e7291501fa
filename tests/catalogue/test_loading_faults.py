"""Artifacts that are spoilt, and loads that are cut off: nothing of them stays in the catalogue."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from alembic import command

from backend.catalogue import loading, loading_runs, loading_steps
from backend.catalogue.database import alembic_config, exclusive, migrate, open_catalogue, write_session
from backend.catalogue.loading import load_corpus, load_home, load_query_set, load_run
from backend.core.artifacts import MANIFEST, Home, read_manifest, seal
from backend.core.errors import CorruptArtifact
from backend.core.files import save_array, write_json
from backend.core.records import Passage as PassageRecord
from backend.core.records import Query
from tests.catalogue.dump import counts, ranked
from tests.catalogue.factories import (
    TinyHome,
    tiny_home,
    write_corpus,
    write_query_set,
    write_run,
    write_tiny_home,
)


@pytest.fixture
def lite(tmp_path: Path) -> TinyHome:
    return tiny_home(tmp_path)


def reseal(folder: Path) -> None:
    """Make a changed folder's manifest true again."""
    old = read_manifest(folder)
    (folder / MANIFEST).unlink()
    seal(
        folder,
        kind=old.kind,
        inputs=old.inputs,
        config=old.config,
        facts=old.facts,
        seconds=0,
        command=old.command,
    )


Spoil = Callable[[Path], None]


def array_changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(folder: Path) -> None:
        save_array(folder / name, change(np.load(folder / name)))
        reseal(folder)

    return spoil


def put(row: int, column: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[row, column] = value
        return array

    return change


def facts_changed(folder: Path) -> None:
    write_json(folder / "query_facts.json", [{}])
    reseal(folder)


def truncated(folder: Path) -> None:
    path = folder / "proponents.i32.npy"
    path.write_bytes(path.read_bytes()[:-8])


def deleted(folder: Path) -> None:
    (folder / "range.f64.npy").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (array_changed("proponents.i32.npy", put(3, 0, 130)), "positions outside the corpus of 130"),
        (array_changed("proponents.i32.npy", put(3, 0, -2)), "positions outside the corpus"),
        (array_changed("proponents.i32.npy", put(3, 5, -1)), "follows an empty place"),
        (
            array_changed("opponents.i32.npy", lambda array: np.repeat(array[:, :1], 20, 1)),
            "occurs twice",
        ),
        (array_changed("proponents.i32.npy", lambda array: array[:-1]), r"not 30 x any of int32"),
        (array_changed("proponent_scores.f64.npy", put(1, 1, np.nan)), "not finite"),
        (array_changed("proponent_scores.f64.npy", lambda array: array.astype("float32")), "of float64"),
        (array_changed("histogram.i32.npy", lambda array: array[:, :10]), "30 x 64"),
        (array_changed("range.f64.npy", put(0, 0, -np.inf)), "not finite"),
        (facts_changed, "no list of 30 objects"),
        (truncated, "size and SHA-256"),
        (deleted, "it is missing"),
    ],
)
def test_a_spoilt_run_is_refused_whole(lite: TinyHome, spoil: Spoil, message: str) -> None:
    scores = np.random.default_rng(0).normal(size=(30, 130))
    corpus, query_set = lite.home.folder("corpus", lite.corpus), lite.home.folder("queries", lite.query_set)
    run = write_run(lite.home, "random", corpus, query_set, None, scores)
    before = counts(lite.engine)
    spoil(run)
    with pytest.raises(CorruptArtifact, match=message), write_session(lite.engine) as session:
        load_run(session, run)
    assert counts(lite.engine) == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3"),
        ("[]", "line 3.*no JSON object"),
        ('{"id": "x", "source": "s"}', "line 3.*'text'"),
        ('{"id": "x", "text": 5}', "line 3.*not a text"),
        ('{"id": "prose-1", "text": "again"}', "line 3.*occurs twice"),
        ('{"id": "x", "text": "y"}', "3 passages, its manifest says 2"),
    ],
)
def test_a_spoilt_corpus_is_refused_whole(tmp_path: Path, line: str, message: str) -> None:
    passages = [PassageRecord(f"prose-{n}", "text") for n in (1, 2)]
    corpus = write_corpus(Home(tmp_path), passages)
    with (corpus / "passages.jsonl").open("a") as stream:
        stream.write(line + "\n")
    reseal(corpus)
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    with pytest.raises(CorruptArtifact, match=message), write_session(engine) as session:
        load_corpus(session, corpus)
    assert counts(engine)["corpora"] == counts(engine)["passages"] == 0


def test_a_query_set_that_names_no_such_passage_is_refused(lite: TinyHome) -> None:
    corpus = lite.home.folder("corpus", lite.corpus)
    query_set = write_query_set(lite.home, corpus, [Query("q", "facts", "a", "b", entails=("nowhere",))], name="Bad")
    with pytest.raises(CorruptArtifact, match=r"line 1.*'nowhere'"), write_session(lite.engine) as session:
        load_query_set(session, query_set)


def test_an_error_in_the_middle_leaves_nothing_and_the_next_load_is_whole(
    tmp_path: Path, catalogue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    write_tiny_home(home)
    engine = open_catalogue(catalogue_url)
    migrate(engine)

    for place in range(1, 30):
        calls = 0

        def fail_at_place(*arguments: object, at: int = place) -> None:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError("no space left")
            loading_steps.insert_rows(*arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(loading, "insert_rows", fail_at_place)
            patch.setattr(loading_runs, "insert_rows", fail_at_place)
            try:
                load_home(engine, home)
            except OSError:
                found = counts(engine)
                assert (found["passages"] > 0) == (found["corpora"] > 0)
                assert (found["prompts"] > 0) == (found["query_sets"] > 0)
                assert found["rankings"] == 30 * found["runs"]
                assert found["ranked_passages"] == 3600 * found["runs"]
    load_home(engine, home)
    whole = tiny_home(tmp_path / "other")
    assert counts(engine) == counts(whole.engine)
    assert ranked(engine) == ranked(whole.engine)


LAST_WRITE_OF_THE_FIRST_RUN = 14


def load_and_die(home: Path, url: str, write: int) -> bool:
    """Load a home in a process that kills itself at this write; False if it ended before."""
    script = f"""
import os, pathlib, signal
from backend.catalogue import loading, loading_runs, loading_steps
from backend.catalogue.database import migrate, open_catalogue
from backend.core.artifacts import Home

writes = 0

def insert_or_die(session, table, rows):
    global writes
    writes += 1
    if writes == {write}:
        os.kill(os.getpid(), signal.SIGKILL)
    loading_steps.insert_rows(session, table, rows)

loading.insert_rows = loading_runs.insert_rows = insert_or_die
engine = open_catalogue({url!r})
migrate(engine)
loading.load_home(engine, Home(pathlib.Path({str(home)!r})))
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert ended.returncode in (0, -signal.SIGKILL)
    return ended.returncode != 0


def test_a_killed_load_leaves_nothing_and_the_next_load_is_whole(tmp_path: Path, catalogue_url: str) -> None:
    home = Home(tmp_path)
    ids = write_tiny_home(home)
    assert load_and_die(tmp_path, catalogue_url, LAST_WRITE_OF_THE_FIRST_RUN)
    engine = open_catalogue(catalogue_url)
    found = counts(engine)
    assert found["prompts"] == 30
    assert found["runs"] == found["rankings"] == found["ranked_passages"] == 0
    assert load_home(engine, home) == [f"run/{ids['bm25']}", f"run/{ids['trackstar']}"]
    assert ranked(engine) == ranked(tiny_home(tmp_path / "other").engine)


@pytest.mark.full
def test_a_load_killed_at_every_write_is_whole_in_the_end(tmp_path: Path, catalogue_url: str) -> None:
    home = Home(tmp_path / "home")
    write_tiny_home(home)
    whole = tiny_home(tmp_path / "whole").engine
    write = 1
    while load_and_die(home.root, catalogue_url, write):
        engine = open_catalogue(catalogue_url)
        found = counts(engine)
        assert found["passages"] == 130 * found["corpora"]
        assert found["prompts"] == 30 * found["query_sets"]
        assert found["rankings"] == 30 * found["runs"]
        assert found["ranked_passages"] == 3600 * found["runs"]
        load_home(engine, home)
        assert (counts(engine), ranked(engine)) == (counts(whole), ranked(whole))
        with exclusive(engine) as connection:
            command.downgrade(alembic_config(connection), "base")
        engine.dispose()
        write += 1
    assert write > LAST_WRITE_OF_THE_FIRST_RUN
