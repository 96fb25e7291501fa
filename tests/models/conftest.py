"""A tiny corpus and the model trained on it, made once."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path

import pytest
import torch

from backend.core.artifacts import Home
from backend.core.records import Passage
from backend.models.loading import LoadedModel, load_model
from backend.models.training import train
from tests.models.tiny import CONFIG
from tests.models.tiny_corpus import tiny_passages


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def passages() -> list[Passage]:
    return tiny_passages()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(Path(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def model_id(home: Home, passages: list[Passage]) -> str:
    return train(home, "corpus", passages, CONFIG, lambda done, total, message: None)


@pytest.fixture(scope="session")
def loaded(home: Home, model_id: str) -> LoadedModel:
    return load_model(home, model_id, "cpu")
