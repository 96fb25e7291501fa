"""A model that trains on the tiny corpus in two seconds.

Run as a program it trains into a home, slowly enough to be killed on the way.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from backend.core.artifacts import Home
from backend.models.architecture import ArchitectureConfig
from backend.models.training import TrainingConfig, train
from tests.models.tiny_corpus import tiny_passages

CONFIG = TrainingConfig(
    name="tiny",
    architecture=ArchitectureConfig(hidden=32, layers=2, heads=2, intermediate=48, context=32),
    vocabulary=400,
    epochs=8,
    batch_tokens=128,
    peak_learning_rate=0.05,
    checkpoints=3,
)


if __name__ == "__main__":
    torch.set_num_threads(1)

    def slowly(done: int, total: int, message: str) -> None:
        time.sleep(0.01)

    train(Home(Path(sys.argv[1])), "corpus", tiny_passages(), CONFIG, slowly, resume_seconds=0.1)
