"""`proponent evaluate kinds` over the tiny demonstration, which measures them itself."""

from __future__ import annotations

import shutil

import pytest

from backend.catalogue.database import open_catalogue, read_session
from backend.catalogue.measurements import newest_measurements
from backend.core.artifacts import Home, read_manifest
from backend.core.files import load_array
from backend.core.records import fact_queries
from backend.corpora.artifact import load_passages, load_queries
from backend.evaluation.kinds import KINDS
from backend.pipeline.proponent_kinds import evaluate_kinds
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import proponent


def test_the_demonstration_has_measured_its_kinds(tiny_demo):
    home = Home(tiny_demo)
    with read_session(open_catalogue(f"sqlite:///{tiny_demo / 'proponent.db'}")) as session:
        found = newest_measurements(session)["kinds"]
    assert found.command.startswith("proponent evaluate kinds --run bm25-")
    assert found.command.endswith(" --k 10")
    assert found.facts["kinds"] == list(KINDS)
    queries = load_queries(home, found.query_set_id)
    chosen = fact_queries(queries)
    assert found.facts["queries"] == len(chosen) > 0
    passages = load_passages(home, str(found.inputs["corpus"]))
    for row in found.facts["rows"]:
        run = home.find("run", row["run"])
        assert read_manifest(run).config["method"] == row["method"]
        assert sum(row["shares"].values()) == pytest.approx(1)
        top = load_array(run / "proponents.i32.npy")[chosen, :10]
        assert row["n"] == (top >= 0).sum()
        stated = sum(
            passages[place].id in queries[query].entails
            for query, places in zip(chosen, top, strict=True)
            for place in places
            if place >= 0
        )
        assert row["shares"]["states the fact"] == pytest.approx(stated / row["n"])
    share = {row["method"]: row["shares"] for row in found.facts["rows"]}
    assert share["bm25"]["states the fact"] > share["random"]["states the fact"]
    by_id = {query.id: query for query in queries}
    example = found.facts["examples"]["states the fact"]
    assert example["passage"] in by_id[example["query"]].entails


def test_the_command_prints_what_is_there_and_other_depths_are_measurements_of_their_own(tiny_demo, tmp_path):
    home = shutil.copytree(tiny_demo, tmp_path / "home")
    before = Home(home).finished("measurement")
    text = proponent(home, "evaluate", "kinds")
    assert text.returncode == 0, text.stderr
    assert "states the fact" in text.stdout
    assert Home(home).finished("measurement") == before
    with Workspace(Settings(home=home, threads=1), "evaluate") as work:
        facts = evaluate_kinds(work, k=1)
    assert facts["k"] == 1
    assert all(row["n"] <= facts["queries"] for row in facts["rows"])
    assert len(Home(home).finished("measurement")) == len(before) + 1
