"""Runs without the files of a distribution: lists that were imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from backend.catalogue.database import read_session, write_session
from backend.catalogue.loading import load_run
from backend.catalogue.loading_runs import DISTRIBUTION
from backend.catalogue.models import Prompt, RankedPassage, Ranking
from backend.core.artifacts import MANIFEST, read_manifest, seal
from backend.core.errors import CorruptArtifact
from backend.core.files import write_json
from tests.catalogue.dump import counts
from tests.catalogue.factories import TinyHome, related_scores, tiny_home, write_run


@pytest.fixture
def tiny(tmp_path: Path, catalogue_url: str) -> TinyHome:
    return tiny_home(tmp_path, catalogue_url)


def run_without(tiny: TinyHome, *names: str, facts: list[dict[str, object]] | None = None, **config: object) -> Path:
    """A run over the tiny home that lacks some files."""
    corpus, query_set = tiny.home.folder("corpus", tiny.corpus), tiny.home.folder("queries", tiny.query_set)
    scores = related_scores(tiny.queries, tiny.passages, 3, 2.0)
    folder = write_run(tiny.home, "house-blend", corpus, query_set, None, scores, **config)
    old = read_manifest(folder)
    for name in (MANIFEST, *names):
        (folder / name).unlink()
    if facts is not None:
        write_json(folder / "query_facts.json", facts)
    seal(folder, kind="run", inputs=old.inputs, config=old.config, facts={}, seconds=0, command="")
    return folder


def test_a_run_without_a_distribution_has_none(tiny: TinyHome) -> None:
    folder = run_without(tiny, *DISTRIBUTION)
    with write_session(tiny.engine) as session:
        assert load_run(session, folder)
    scores = np.load(folder / "proponent_scores.f64.npy")
    with read_session(tiny.engine) as session:
        rankings = session.scalars(select(Ranking).filter_by(run_id=folder.name)).all()
        statement = select(RankedPassage).join(Ranking).join(Prompt).where(Ranking.run_id == folder.name)
        ranked = session.scalars(statement.where(Prompt.position == 4).order_by(RankedPassage.rank)).all()
    assert len(rankings) == 30
    assert all((one.scored, one.minimum, one.maximum, one.histogram) == (None,) * 4 for one in rankings)
    assert sum(one.reciprocal_rank is not None for one in rankings) == 10
    assert {one.percentile for one in ranked} == {None}
    assert [one.score for one in ranked if one.rank > 0] == scores[4].tolist()


@pytest.mark.parametrize("kept", DISTRIBUTION)
def test_a_distribution_is_whole_or_not_there(tmp_path: Path, kept: str) -> None:
    tiny = tiny_home(tmp_path)
    before = counts(tiny.engine)
    for missing in ([kept], [name for name in DISTRIBUTION if name != kept]):
        folder = run_without(tiny, *missing, missing=missing)
        with pytest.raises(CorruptArtifact, match="is missing, while"), write_session(tiny.engine) as session:
            load_run(session, folder)
    assert counts(tiny.engine) == before


def test_only_imported_lists_count_facts_that_are_stated_elsewhere(tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path)
    facts: list[dict[str, object]] = [{"line": n, "stated_elsewhere": True} for n in range(30)]
    facts[2] = {}
    found = {}
    for name, config in (("native", {}), ("imported", {"imported": "viewer"})):
        folder = run_without(tiny, *DISTRIBUTION, facts=facts, **config)
        with write_session(tiny.engine) as session:
            load_run(session, folder)
        with read_session(tiny.engine) as session:
            statement = select(Ranking.reciprocal_rank).join(Prompt).where(Ranking.run_id == folder.name)
            found[name] = session.scalars(statement.order_by(Prompt.position)).all()
    entailed = [bool(query.entails) for query in tiny.queries]
    assert [value is not None for value in found["native"]] == entailed
    assert found["imported"][2] is None
    assert [value for at, value in enumerate(found["imported"]) if not entailed[at]] == [0.0] * 20
    assert [value for at, value in enumerate(found["imported"]) if entailed[at] and at != 2] == [
        value for at, value in enumerate(found["native"]) if entailed[at] and at != 2
    ]
