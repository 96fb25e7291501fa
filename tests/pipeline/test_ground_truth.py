"""`proponent evaluate lds` and `removal` over the tiny demonstration: rows, resuming, what pages do not see."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.database import read_session
from backend.catalogue.measurements import newest_measurements
from backend.catalogue.runs import count_runs
from backend.core.artifacts import Home, read_manifest
from backend.core.errors import InputError, UserError
from backend.core.files import load_array
from backend.evaluation import retraining
from backend.evaluation.lds import ceiling, lds, random_halves
from backend.evaluation.part import PartConfig
from backend.evaluation.removal import RemovalConfig
from backend.evaluation.retraining import LOG_PROBABILITIES
from backend.pipeline.along_training import CourseConfig, evaluate_checkpoints
from backend.pipeline.ground_truth import (
    LDS_ROW,
    REMOVAL_ROW,
    LdsConfig,
    SmallConfig,
    evaluate_lds,
    evaluate_removal,
    small_training,
)
from backend.pipeline.projection_fidelity import evaluate_fidelity
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import proponent

SMALL = SmallConfig(PartConfig(passages=120, queries=8), small_training(epochs=1, seed=0))
METHODS = ["trackstar", "bm25", "length"]
LDS = LdsConfig(subsets=4, seeds=2)


@pytest.fixture(scope="module")
def work(tiny_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A copy of the tiny demonstration whose small model is there."""
    home = shutil.copytree(tiny_demo, tmp_path_factory.mktemp("truth") / "home")
    threads = torch.get_num_threads()
    with Workspace(Settings(home=home, threads=1), "evaluate") as made:
        yield made
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def rows(work: Workspace) -> list[dict[str, object]]:
    return evaluate_lds(work, METHODS, LDS, SMALL, "proponent evaluate lds --subsets 4")


def test_lds_has_the_ceiling_first_and_a_row_for_each_method_and_bucket(work: Workspace, rows) -> None:
    assert all(tuple(row) == LDS_ROW for row in rows)
    overall = [row for row in rows if row["bucket"] is None]
    assert [row["method"] for row in overall] == ["ceiling", "bm25", "length", "trackstar"]
    assert {row["n"] for row in overall} == {8}
    assert all(row["low"] <= row["lds"] <= row["high"] for row in rows)
    for method in METHODS:
        assert sum(row["n"] for row in rows if row["method"] == method and row["bucket"]) == 8


def test_lds_is_what_scores_and_trainings_say(work: Workspace, rows) -> None:
    lab = Home(work.home.root / "experiments")
    run = next(lab.folder("run", run) for run in lab.finished("run") if run.startswith("trackstar"))
    scores = load_array(run / "scores.f16.npy").astype(float) * load_array(run / "score_scales.f32.npy")[:, None]
    trainings = {}
    for training in lab.finished("retraining"):
        folder = lab.folder("retraining", training)
        kept = np.unpackbits(load_array(folder / "kept.u8.npy"), count=120).astype(bool)
        seed = read_manifest(folder).config["seed"]
        trainings[kept.tobytes(), seed] = load_array(folder / LOG_PROBABILITIES)
    halves = random_halves(120, 4, 0)
    found = np.stack([[trainings[half.tobytes(), seed] for seed in (0, 1)] for half in halves])
    by_method = {row["method"]: row["lds"] for row in rows if row["bucket"] is None}
    assert by_method["trackstar"] == pytest.approx(lds(halves, scores, found).mean())
    assert by_method["ceiling"] == pytest.approx(ceiling(found).mean())


def test_pages_see_the_measurement_and_nothing_of_the_experiments(work: Workspace, rows, tiny_demo: Path) -> None:
    with read_session(work.engine) as session:
        found = newest_measurements(session)["lds"]
        assert count_runs(session) == len(list((tiny_demo / "runs").iterdir()))
    assert found.command == "proponent evaluate lds --subsets 4"
    assert (found.facts["subsets"], found.facts["seeds"], found.facts["passages"]) == (4, 2, 120)
    assert found.facts["ceiling"][0]["task"] == ""
    assert not proponent(work.home.root / "experiments", "verify", "--json").returncode


def test_again_it_is_read_and_more_subsets_keep_the_trainings(
    work: Workspace, rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, real, made = Home(work.home.root / "experiments"), retraining.retrain, []

    def counted(*arguments):
        made.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(retraining, "retrain", counted)
    assert evaluate_lds(work, METHODS, LDS, SMALL, "again") == rows
    assert made == []
    evaluate_lds(work, ["bm25"], LdsConfig(subsets=5, seeds=2), SMALL, "more")
    assert len(made) == 2
    assert len(lab.finished("retraining")) == 10


def test_removal_takes_away_what_is_ranked_first(work: Workspace, rows) -> None:
    found = evaluate_removal(
        work, ["bm25", "random"], RemovalConfig(k=3, queries=4, group=2, seeds=1), SMALL, "removal"
    )
    assert all(tuple(row) == REMOVAL_ROW for row in found)
    assert [(row["method"], row["n"]) for row in found] == [("bm25", 4), ("random", 4)]
    assert all(0 < row["removed"] <= 6 for row in found)
    assert all(row["low"] <= row["loss_change"] <= row["high"] for row in found)
    with read_session(work.engine) as session:
        facts = newest_measurements(session)["removal"].facts
    assert facts["base_log_probability"] < 0


def test_the_methods_page_shows_what_the_commands_wrote(work: Workspace, rows) -> None:
    evaluate_removal(work, ["bm25"], RemovalConfig(k=3, queries=4, group=2, seeds=1), SMALL, "removal")
    evaluate_fidelity(work, queries=2, passages=20)
    evaluate_checkpoints(work, CourseConfig(methods=("bm25",), tail_patch=False))
    with read_session(work.engine) as session:
        found = newest_measurements(session)
    assert {"lds", "removal", "fidelity", "checkpoints", "kinds"} <= found.keys()
    with TestClient(create_app(work.settings)) as client:
        assert client.get("/methods.json").status_code == 200
        text = client.get("/methods").text
    ceiling = next(row["value"] for row in found["lds"].facts["ceiling"] if row["task"] == "facts")
    assert f"Ceiling of LDS: {ceiling:.3f}" in text
    assert "of 2 facts are taken out together, 4 facts" in text


def test_too_little_is_refused_before_anything_is_made(work: Workspace) -> None:
    with pytest.raises(InputError, match="at least 3 subsets"):
        LdsConfig(subsets=2)
    with pytest.raises(UserError, match="no method 'trakstar'"):
        evaluate_lds(work, ["trakstar"], LDS, SMALL, "")
    with pytest.raises(InputError, match="more than the part's 5"):
        evaluate_lds(work, METHODS, LDS, SmallConfig(PartConfig(passages=5)), "")


def test_the_command_prints_the_same_and_says_how_it_was_typed(work: Workspace, rows) -> None:
    home = shutil.copytree(work.home.root, work.home.root.parent / "copy")
    options = ("--passages", "120", "--queries", "8", "--epochs", "1", "--subsets", "4")
    methods = [word for method in METHODS for word in ("--method", method)]
    done = proponent(home, "evaluate", "lds", *methods, *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == rows
