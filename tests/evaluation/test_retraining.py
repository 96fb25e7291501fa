"""Trainings on some of the passages: the same as the model's own where all are kept, made once, one thread each."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.core.artifacts import Home, read_manifest
from backend.core.errors import InputError
from backend.core.records import Query
from backend.evaluation import retraining
from backend.evaluation.retraining import Leave, Retrained, log_probabilities, retrain
from backend.models.decoding import target_log_probabilities
from backend.models.loading import load_model
from backend.models.training import train
from tests.command import digests
from tests.models.tiny import CONFIG
from tests.models.tiny_corpus import CAPITALS, tiny_passages

PASSAGES = tiny_passages()[:100]
SHORT = replace(CONFIG, epochs=2)
QUERIES = [Query(s, "facts", f"The capital of {s} is", f" {o}") for s, o in CAPITALS.items()]
ALL = np.ones(len(PASSAGES), bool)
HALF = np.arange(len(PASSAGES)) % 2 == 0


def silent(done: float, total: float, message: str) -> None:
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("trained"))
    train(home, "corpus", PASSAGES, SHORT, silent)
    return home


@pytest.fixture
def subject(trained: Home, tmp_path: Path) -> Retrained:
    home = Home(shutil.copytree(trained.root, tmp_path / "home"))
    return Retrained(home, home.finished("model")[0], "corpus", "queries", PASSAGES, QUERIES, SHORT)


def test_a_training_on_all_with_the_model_s_seed_is_the_model_s(subject: Retrained) -> None:
    loaded = load_model(subject.home, subject.model_id, "cpu")
    encoded = [loaded.tokenizer.encode_named(query) for query in QUERIES]
    expected = target_log_probabilities(loaded, [(query.ids, query.first_target) for query in encoded])
    assert retrain(subject, ALL, SHORT.seed) == pytest.approx(expected, abs=1e-4)
    assert np.abs(retrain(subject, HALF, SHORT.seed) - expected).max() > 1e-3
    assert np.abs(retrain(subject, ALL, SHORT.seed + 1) - expected).max() > 1e-3


def test_trainings_are_made_once_and_are_the_same_side_by_side(
    subject: Retrained, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [Leave(HALF, 0), Leave(~HALF, 0), Leave(HALF, 0)]
    said: list[str] = []
    found = log_probabilities(subject, wanted, 2, silent, said.append)
    assert "2 trainings" in said[0], "the third is the first"
    assert (found[0] == found[2]).all()
    assert (found[0] != found[1]).any()
    before = digests(subject.home.root)
    for folder in (subject.home.root / "retrainings").iterdir():  # as if one process had made them
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert (log_probabilities(subject, wanted, 1, silent) == found).all()
    assert digests(subject.home.root) == before
    monkeypatch.setattr(retraining, "retrain", lambda *_: pytest.fail("it is there already"))
    assert (log_probabilities(subject, wanted[:2], 1, silent) == found[:2]).all()
    made = [read_manifest(folder) for folder in sorted((subject.home.root / "retrainings").iterdir())]
    assert {manifest.config["passages"] for manifest in made} == {int(HALF.sum()), int((~HALF).sum())}


def test_an_interrupted_series_keeps_what_was_made(subject: Retrained, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = retraining.retrain, []

    def third_fails(*arguments: object) -> np.ndarray:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    wanted = [Leave(HALF, seed) for seed in range(3)]
    monkeypatch.setattr(retraining, "retrain", third_fails)
    with pytest.raises(KeyboardInterrupt):
        log_probabilities(subject, wanted, 1, silent)
    assert len(subject.home.finished("retraining")) == 2
    log_probabilities(subject, wanted, 1, silent)
    assert len(calls) == 4


def test_nothing_kept_is_refused(subject: Retrained) -> None:
    with pytest.raises(InputError, match="at least one passage"):
        retrain(subject, ~ALL, 0)
