"""What a training will take, measured on a few of its own steps before it starts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.core.artifacts import peak_memory_bytes
from backend.core.records import Passage
from backend.core.tokenizer import TextTokenizer
from backend.models.checkpoints import model_tensors, optimizer_tensors
from backend.models.head_loss import CHUNK_ELEMENTS
from backend.models.training import Training, TrainingConfig

WARM_STEPS = 2
"""Steps that are not timed: the first ones allocate."""


@dataclass(frozen=True)
class TrainingEstimate:
    """Time, disk and memory of a training on this machine, as it is now."""

    passages: int
    tokens: int
    """Tokens of the corpus, special ones included: what one epoch trains on."""
    truncated: int
    """Passages longer than the context, of which only the beginning is trained on."""
    steps: int
    parameters: int
    tokens_per_second: float
    seconds: float
    disk_bytes: int
    memory_bytes: int
    """Peak resident memory of the process so far, the measured steps included."""


def estimate_training(
    passages: Sequence[Passage],
    config: TrainingConfig,
    *,
    device: str = "cpu",
    measured_steps: int = 6,
    tokenizer: TextTokenizer | None = None,
) -> TrainingEstimate:
    """Tokenise the corpus, take a few steps spread over the first epoch and throw them away."""
    with tempfile.TemporaryDirectory() as scratch:
        training = Training(Path(scratch), [passage.text for passage in passages], config, device, tokenizer)
        total = training.sequences.tokens * config.epochs
        first_epoch = training.steps // config.epochs
        chosen = [first_epoch * i // (measured_steps + WARM_STEPS) for i in range(measured_steps + WARM_STEPS)]
        tokens, started = 0, time.monotonic()
        for number, step in enumerate(chosen):
            if number == WARM_STEPS:
                tokens, started = training.tokens, time.monotonic()
            training.step = step
            training.take_step()
        per_second = (training.tokens - tokens) / (time.monotonic() - started)
    weights = sum(tensor.nbytes for tensor in model_tensors(training.model).values())
    state = sum(tensor.nbytes for tensor in optimizer_tensors(training.model, training.optimizer).values())
    return TrainingEstimate(
        passages=len(passages),
        tokens=training.sequences.tokens,
        truncated=training.sequences.truncated,
        steps=training.steps,
        parameters=weights // 4,
        tokens_per_second=per_second,
        seconds=total / per_second,
        # The finished model, the kept checkpoints, and two resume checkpoints while one takes over.
        disk_bytes=(weights + state) * (1 + config.checkpoints + 2),
        memory_bytes=max(peak_memory_bytes(), 4 * weights + 4 * CHUNK_ELEMENTS),
    )
