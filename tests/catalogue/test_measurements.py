"""Measurements of methods in the catalogue: loaded once, the newest of each kind found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.catalogue.database import read_session, write_session
from backend.catalogue.measurements import load_measurement, newest_measurements
from backend.core.errors import CorruptArtifact, MissingArtifact
from tests.catalogue.factories import TinyHome, finish, started, tiny_home


@pytest.fixture
def tiny(tmp_path: Path, catalogue_url: str) -> TinyHome:
    return tiny_home(tmp_path, catalogue_url)


def write(tiny: TinyHome, seed: int, facts: dict[str, Any], **other: str | None) -> Path:
    inputs = {"queries": tiny.query_set, "model": tiny.model, **other}
    config: dict[str, Any] = {"measures": "lds", "seed": seed}
    return finish(started(tiny.home, "measurement", inputs, config, "lds"), "measurement", inputs, config, **facts)


def test_the_newest_of_each_kind_is_found_whatever_the_order(tiny: TinyHome) -> None:
    older, newer = write(tiny, 0, {"queries": 3}), write(tiny, 1, {"queries": 4})
    with write_session(tiny.engine) as session:
        assert [load_measurement(session, folder) for folder in (newer, older, newer)] == [True, True, False]
    with read_session(tiny.engine) as session:
        found = newest_measurements(session)
        assert (list(found), found["lds"].id, found["lds"].facts) == (["lds"], newer.name, {"queries": 4})
        assert found["lds"].config == {"measures": "lds", "seed": 1}
        assert newest_measurements(session, "another set") == {}


def test_what_a_measurement_needs_must_be_there(tiny: TinyHome) -> None:
    with write_session(tiny.engine) as session:
        with pytest.raises(MissingArtifact, match="needs the query set"):
            load_measurement(session, write(tiny, 2, {}, queries="gone"))
        with pytest.raises(CorruptArtifact, match="queries is missing"):
            load_measurement(session, write(tiny, 3, {}, queries=None))
