"""`proponent evaluate checkpoints` over the tiny demonstration: numbers, what is left behind, resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.catalogue.database import read_session
from backend.catalogue.evaluation import retrieval_table
from backend.core.artifacts import Home, read_manifest
from backend.core.errors import UserError
from backend.models.architecture import ArchitectureConfig
from backend.models.checkpoint_models import checkpoint_model, kept_steps
from backend.models.loading import load_model
from backend.models.training import TrainingConfig
from backend.pipeline import along_training
from backend.pipeline.along_training import CHECKPOINTS, SCRATCH, CourseConfig, evaluate_checkpoints
from backend.pipeline.experiments import FOLDER
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import digests, proponent

ROW = {
    "model",
    "step",
    "tokens",
    "loss",
    "learning_rate",
    "exact_match",
    "method",
    "n",
    "mrr",
    "recall_at_10",
    "tail_patch",
}


@pytest.fixture
def work(tiny_demo: Path, tmp_path: Path) -> Iterator[Workspace]:
    home = shutil.copytree(tiny_demo, tmp_path / "home")
    threads = torch.get_num_threads()
    with Workspace(Settings(home=home, threads=1), "evaluate") as made:
        yield made
    torch.set_num_threads(threads)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the last checkpoint of each model, and one epoch for the smaller one."""
    steps, smaller = along_training.kept_steps, along_training.smaller
    monkeypatch.setattr(along_training, "kept_steps", lambda folder: steps(folder)[-1:])
    monkeypatch.setattr(along_training, "smaller", lambda config: replace(smaller(config), epochs=1))


def lists(home: Home) -> dict[str, list[str]]:
    return {kind: home.finished(kind) for kind in ("model", "run", "store", "outputs", "patches")}


def test_killed_or_not_the_last_checkpoint_has_the_runs_own_numbers_and_nothing_else_is_left(
    work: Workspace, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, kept = lists(work.home), digests(work.home.root)
    config = CourseConfig(methods=("trackstar", "representation", "bm25"), queries=2)
    rank, done = along_training.stages.rank_passages, []

    def killed_at_the_second(*arguments: Any) -> str:
        if len(done) == len(config.methods):
            raise KeyboardInterrupt
        done.append(arguments)
        return rank(*arguments)

    monkeypatch.setattr(along_training.stages, "rank_passages", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate_checkpoints(work, config)
    aside = Home(work.home.root / FOLDER / CHECKPOINTS)
    (first,) = aside.finished("measurement")
    assert len(Home(aside.root / SCRATCH).finished("store")) == 1, "the store in hand is not made again"
    monkeypatch.setattr(along_training.stages, "rank_passages", rank)
    facts = evaluate_checkpoints(work, config)
    assert evaluate_checkpoints(work, config) == facts

    own, small = facts["models"]
    assert [(row["model"], row["method"]) for row in facts["rows"]] == [
        (model["model"], method) for model in (own, small) for method in config.methods
    ]
    assert all(set(row) == ROW for row in facts["rows"])
    assert 5 * small["parameters"] < 2 * own["parameters"]
    with read_session(work.engine) as session:
        expected = {
            row["method"]: row for row in retrieval_table(session) if row["task"] == "facts" and not row["bucket"]
        }
    for row in facts["rows"][:3]:
        assert {name: row[name] for name in ("n", "mrr", "recall_at_10")} == pytest.approx(
            {name: expected[row["method"]][name] for name in ("n", "mrr", "recall_at_10")}
        )
    manifest = read_manifest(work.folder("model", own["model"]))
    assert (own["steps"], own["parameters"]) == (manifest.facts["steps"], manifest.facts["parameters"])
    assert facts["rows"][0]["step"] == own["steps"]
    assert facts["tail_patch_queries"] == 2
    assert {row["method"] for row in facts["baselines"]} == {"random passage", "entailing passages"}
    # Explorers see the measurement alone; the checkpoints' stores and runs are gone.
    assert lists(work.home) == before
    assert {path: digest for path, digest in digests(work.home.root).items() if path in kept} == kept
    assert lists(aside) == {"model": [small["model"]], "run": [], "store": [], "outputs": [], "patches": []}
    assert not (aside.root / SCRATCH).exists()

    # Undisturbed, with the smaller model that is there, the checkpoint that the kill hit comes out the same.
    shutil.rmtree(work.home.root / "measurements")
    for made in aside.finished("measurement"):
        if made != first:
            shutil.rmtree(aside.find("measurement", made))
    assert evaluate_checkpoints(work, config) == facts


def test_a_checkpoint_is_a_model_of_its_own(tiny_demo: Path, tmp_path: Path) -> None:
    source = Home(tiny_demo)
    (model_id,) = source.finished("model")
    folder, home = source.find("model", model_id), Home(tmp_path)
    steps = kept_steps(folder)
    made = [checkpoint_model(folder, step, home) for step in steps]
    assert len({*made, model_id}) == len(steps) + 1
    assert made == [checkpoint_model(folder, step, home) for step in steps]
    for step, checkpoint_id in zip(steps, made, strict=True):
        expected = load_model(source, model_id, "cpu", checkpoint=step)
        found = load_model(home, checkpoint_id, "cpu")
        for (name, weights), (_, own) in zip(
            expected.model.named_parameters(), found.model.named_parameters(), strict=True
        ):
            assert torch.equal(weights, own), name
        assert expected.optimizer_state is not None
        assert found.optimizer_state is not None
        assert all(torch.equal(found.optimizer_state[key], value) for key, value in expected.optimizer_state.items())
        curve = json.loads((home.find("model", checkpoint_id) / "training.json").read_text())["curve"]
        settings = read_manifest(folder).config
        config = TrainingConfig(**{**settings, "architecture": ArchitectureConfig(**settings["architecture"])})
        assert curve[-1]["step"] == step
        assert curve[-1]["learning_rate"] == config.learning_rate(step, steps[-1])
    last = json.loads((folder / "training.json").read_text())["curve"]
    assert curve == last


def test_a_model_from_elsewhere_has_no_checkpoints(work: Workspace) -> None:
    (model_id,) = work.home.finished("model")
    shutil.rmtree(work.folder("model", model_id) / "checkpoints")
    with pytest.raises(UserError, match="no kept checkpoints"):
        evaluate_checkpoints(work, CourseConfig())
    with pytest.raises(UserError, match="no method"):
        evaluate_checkpoints(work, CourseConfig(methods=("trackstars",)))
    with pytest.raises(UserError, match="not those of 'logra-pca'"):
        evaluate_checkpoints(work, CourseConfig(methods=("trackstar", "logra-pca")))


@pytest.mark.full
def test_the_command_measures_every_checkpoint_of_both_models(tiny_demo: Path, tmp_path: Path) -> None:
    home = shutil.copytree(tiny_demo, tmp_path / "home")
    command = ("evaluate", "checkpoints", "--queries", "4", "--json")
    done = proponent(home, *command)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    steps = kept_steps(next((home / "models").iterdir()))
    for model in facts["models"]:
        rows = [row for row in facts["rows"] if row["model"] == model["model"]]
        assert [row["step"] for row in rows] == [step for step in steps for _ in range(4)]
        assert rows[-1]["loss"] < rows[0]["loss"]
        assert rows[-1]["learning_rate"] < rows[0]["learning_rate"]
    assert proponent(home, *command).stdout == done.stdout
    assert "trackstar" in proponent(home, *command[:-1]).stdout
    assert proponent(home, "verify").returncode == 0
