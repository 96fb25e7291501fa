"""Loading tail-patch of whole runs: where it shows, once, the newest, and the same from the artifacts alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic import command
from sqlalchemy import Engine, select, update

from backend.catalogue.database import alembic_config, exclusive, migrate, open_catalogue, read_session, write_session
from backend.catalogue.evaluation import retrieval_table
from backend.catalogue.loading import load_home, load_patches
from backend.catalogue.models import Metric, Passage, PatchSet, Prompt, QuerySet, RankedPassage, Ranking
from backend.catalogue.patches import patch_rows
from backend.catalogue.prompt_lists import PromptFilter, mean_metrics
from backend.core.artifacts import read_manifest
from backend.core.errors import CorruptArtifact
from backend.core.files import save_array
from tests.catalogue.dump import counts
from tests.catalogue.factories import TinyHome, finish, patch_change, tiny_home, write_patches

ROWS = (2, 3, 8, 10)
"""Fact queries of the tiny home that are measured."""


@pytest.fixture
def tiny(tmp_path: Path, catalogue_url: str) -> TinyHome:
    return tiny_home(tmp_path, catalogue_url)


@pytest.fixture
def lite(tmp_path: Path) -> TinyHome:
    return tiny_home(tmp_path)


def write(tiny: TinyHome, rows: tuple[int, ...] = ROWS, k: int = 10, runs: tuple[str, ...] = ()) -> Path:
    home = tiny.home
    folders = [home.folder("run", run) for run in runs or tiny.runs]
    parts = (("corpus", tiny.corpus), ("queries", tiny.query_set), ("model", tiny.model))
    return write_patches(home, *(home.folder(kind, name) for kind, name in parts), folders, rows, k)


def patched(engine: Engine) -> list[Any]:
    """(run, query position, rank, passage position, change) of every measured passage, then every mean and metric."""
    passages = (
        select(Ranking.run_id, Prompt.position, RankedPassage.rank, Passage.position, RankedPassage.tail_patch)
        .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .join(Passage, Passage.pk == RankedPassage.passage_pk)
        .where(RankedPassage.tail_patch.is_not(None))
        .order_by(Ranking.run_id, Prompt.position, RankedPassage.rank)
    )
    means = (
        select(Ranking.run_id, Prompt.position, Ranking.tail_patch)
        .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        .where(Ranking.tail_patch.is_not(None))
        .order_by(Ranking.run_id, Prompt.position)
    )
    metrics = select(Metric.run_id, Metric.task, Metric.bucket, Metric.name, Metric.value, Metric.n).where(
        Metric.name.startswith("tail_patch")
    )
    with read_session(engine) as session:
        return [
            *(tuple(row) for row in session.execute(passages)),
            *(tuple(row) for row in session.execute(means)),
            *sorted(tuple(row) for row in session.execute(metrics)),
        ]


def test_every_measured_rank_and_list_and_mean_is_there(tiny: TinyHome) -> None:
    folder = write(tiny)
    assert load_home(tiny.engine, tiny.home) == [f"patches/{folder.name}"]
    found = patched(tiny.engine)
    passages = [row for row in found if len(row) == 5]
    assert len(passages) == 2 * len(ROWS) * 10
    assert all(change == patch_change(passage, query) for _, query, _, passage, change in passages)
    assert {rank for _, _, rank, _, _ in passages} == set(range(1, 11))
    for run, query, mean in (row for row in found if len(row) == 3):
        listed = [change for of, place, _, _, change in passages if (of, place) == (run, query)]
        assert mean == pytest.approx(np.mean(listed))
    metrics = {row[:4]: row[4:] for row in found if len(row) == 6}
    assert len(metrics) == 2 * 2 * 4
    with read_session(tiny.engine) as session:
        means = mean_metrics(session, PromptFilter(), tiny.runs)
    for run, method in zip(tiny.runs, ("bm25", "trackstar"), strict=True):
        value, n = metrics[run, "facts", "", "tail_patch"]
        assert n == means[method].tail_patch_n == len(ROWS)
        assert value == pytest.approx(means[method].tail_patch)


def test_loading_again_changes_nothing(tiny: TinyHome) -> None:
    folder = write(tiny)
    load_home(tiny.engine, tiny.home)
    before = counts(tiny.engine), patched(tiny.engine)
    assert load_home(tiny.engine, tiny.home) == []
    with write_session(tiny.engine) as session:
        assert load_patches(session, folder) is False
    assert (counts(tiny.engine), patched(tiny.engine)) == before


def test_a_rebuilt_catalogue_is_the_same(lite: TinyHome, tmp_path: Path) -> None:
    write(lite, k=3)
    load_home(lite.engine, lite.home)
    write(lite, rows=(2,), runs=lite.runs[:1])
    load_home(lite.engine, lite.home)
    again = open_catalogue(f"sqlite:///{tmp_path / 'again.db'}")
    migrate(again)
    load_home(again, lite.home)
    assert (counts(again), patched(again)) == (counts(lite.engine), patched(lite.engine))


def test_the_newest_measurement_of_a_run_counts_in_any_order_of_loading(lite: TinyHome, tmp_path: Path) -> None:
    older = write(lite)
    newer = write(lite, rows=(3,), k=5, runs=lite.runs[1:])
    load_home(lite.engine, lite.home)
    backwards = tiny_home(tmp_path / "backwards")
    with write_session(backwards.engine) as session:
        assert load_patches(session, newer)
    with write_session(backwards.engine) as session:
        assert load_patches(session, older)
    found = patched(lite.engine)
    assert patched(backwards.engine) == found
    of_newest = [row for row in found if row[0] == lite.runs[1]]
    assert len([row for row in of_newest if len(row) == 5]) == 5
    assert not [row for row in of_newest if len(row) == 3], "five passages are no mean over ten"
    assert {row[3] for row in of_newest if len(row) == 6} == {"tail_patch_1", "tail_patch_3", "tail_patch_5"}
    assert len([row for row in found if row[0] == lite.runs[0] and len(row) == 5]) == len(ROWS) * 10


def test_what_readers_measured_stays(lite: TinyHome) -> None:
    with write_session(lite.engine) as session:
        like = session.get_one(QuerySet, lite.query_set)
        asked = QuerySet(id="asked", name="", corpus_id=like.corpus_id, created_at=like.created_at, manifest={})
        session.add(asked)
        session.flush()
        prompt = session.scalars(select(Prompt).filter_by(query_id="capital.Peru.0")).one()
        prompt.query_set_id, prompt.position = "asked", 0
        ranking = session.scalars(select(Ranking).filter_by(run_id=lite.runs[1], prompt_pk=prompt.pk)).one()
        place = RankedPassage.ranking_pk == ranking.pk, RankedPassage.rank == 1
        session.execute(update(RankedPassage).where(*place).values(tail_patch=1.5))
    write(lite, rows=(2, 3))
    load_home(lite.engine, lite.home)
    with read_session(lite.engine) as session:
        assert session.scalar(select(RankedPassage.tail_patch).where(*place)) == 1.5


def test_the_retrieval_table_has_it_once_it_is_measured(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        assert all("tail_patch" not in row for row in retrieval_table(session))
    write(tiny, runs=tiny.runs[1:])
    load_home(tiny.engine, tiny.home)
    with read_session(tiny.engine) as session:
        rows = {(row["method"], row["bucket"]): row for row in retrieval_table(session)}
        metric = session.get_one(Metric, (tiny.runs[1], "facts", "", "tail_patch"))
    assert rows["trackstar", None]["tail_patch"] == pytest.approx(metric.value)
    assert rows["trackstar", None]["n"] == 10, "the retrieval metrics' own"
    assert rows["bm25", None]["tail_patch"] is None
    assert {len(row) for row in rows.values()} == {9}


def test_the_baselines_are_in_the_manifest_that_the_catalogue_keeps(lite: TinyHome) -> None:
    folder = write(lite)
    load_home(lite.engine, lite.home)
    with read_session(lite.engine) as session:
        kept = session.get_one(PatchSet, folder.name).manifest
    assert patch_rows(kept["facts"]) == patch_rows(read_manifest(folder).facts)
    (row,) = (row for row in patch_rows(kept["facts"]) if row["method"] == "random passage")
    assert (row["task"], row["bucket"], row["tail_patch"]) == ("facts", None, 0.25)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ("pairs.i32.npy", r"pairs\.i32\.npy cannot be loaded: passage \d+ of query \d+ in bm25"),
        ("changes.f64.npy", r"changes\.f64\.npy cannot be loaded"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_loaded(lite: TinyHome, array: str, said: str) -> None:
    folder = write(lite)
    names = ("pairs.i32.npy", "changes.f64.npy") if array == "pairs.i32.npy" else (array,)
    for name in names:
        save_array(folder / name, np.load(folder / name)[1:])
    manifest = read_manifest(folder)
    finish(folder, "patches", manifest.inputs, manifest.config, **manifest.facts)
    with pytest.raises(CorruptArtifact, match=said):
        load_home(lite.engine, lite.home)
    assert patched(lite.engine) == []
    assert counts(lite.engine)["patch_sets"] == 0


def test_the_migration_goes_down_and_up(tiny: TinyHome) -> None:
    write(tiny)
    load_home(tiny.engine, tiny.home)
    before = counts(tiny.engine), patched(tiny.engine)
    with exclusive(tiny.engine) as connection:
        command.downgrade(alembic_config(connection), "0003")
    migrate(tiny.engine)
    assert counts(tiny.engine)["patch_sets"] == 0
    load_home(tiny.engine, tiny.home)
    assert (counts(tiny.engine), patched(tiny.engine)) == before
