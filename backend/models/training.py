"""Train a small causal LM from scratch on exactly a corpus's passages, one passage a sequence.

Killed at any moment, the same call goes on from the last resume checkpoint and ends with the same bytes as an
undisturbed training (at the same thread count): batches depend on seed and epoch alone, there is no dropout,
and a checkpoint holds all that the next step depends on. Seconds are kept apart, in ``timings.json``.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from backend.core.artifacts import Home, artifact_id, is_finished, seal
from backend.core.errors import InputError, UserError
from backend.core.files import atomic_file, read_json, write_json
from backend.core.left_out import LIST, WITHOUT, LeftOut
from backend.core.records import Passage
from backend.core.tokenizer import TextTokenizer, Tokenization
from backend.models.architecture import ArchitectureConfig, build_model
from backend.models.batching import equal_length_batches
from backend.models.checkpoints import (
    OPTIMIZER,
    WEIGHTS,
    find_checkpoints,
    model_tensors,
    optimizer_tensors,
    prune_checkpoints,
    restore_checkpoint,
    save_checkpoint,
    save_tensors,
)
from backend.models.head_loss import head_loss
from backend.models.tokenizer_training import save_tokenizer, train_tokenizer

Progress = Callable[[int, int, str], None]
"""(done, total, message), in tokens."""

EPSILON = (1e-30, 1e-3)
"""Adafactor's two epsilons, as in the paper (Shazeer and Stern 2018)."""

CURVE_ROWS = 200
"""About as many rows has a learning curve."""

ACCURACY_PASSAGES = 1000
"""The model's token accuracy is measured on as many passages, evenly spaced over the corpus."""


@dataclass(frozen=True)
class TrainingConfig:
    """What determines a trained model beside its corpus."""

    name: str = "demonstration"
    """What pages call the model."""
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    """Shape of the model."""
    vocabulary: int = 4096
    """Most tokens of the byte-level BPE tokenizer, which is trained on the same passages."""
    epochs: int = 4
    """Times that every passage is trained on."""
    batch_passages: int = 16
    """Passages of an optimizer step at most; they are of one length in tokens."""
    batch_tokens: int = 4096
    """Tokens of an optimizer step at most (but at least one passage)."""
    peak_learning_rate: float = 0.03
    """Adafactor's largest relative step: a step changes a parameter by about this share of its root mean
    square.
    """
    final_learning_rate: float = 0.1
    """Learning rate of the last step, as a share of the peak; at least 0.1, so that tail-patch has a rate to
    use.
    """
    warmup: float = 0.05
    """Share of the steps in which the learning rate rises linearly from 0."""
    decay: str = "linear"
    """From the peak to the final learning rate: linear or cosine."""
    checkpoints: int = 6
    """Number of kept checkpoints, evenly spaced; the last one is the finished model."""
    seed: int = 0
    """Of the initial weights and the order of the batches."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.checkpoints, self.batch_passages, self.batch_tokens) < 1:
            raise InputError("A training needs at least one epoch, one checkpoint and one passage a batch.")
        if self.peak_learning_rate <= 0 or not 0 <= self.warmup < 1 or not 0.1 <= self.final_learning_rate <= 1:
            raise InputError("The learning rate must be positive, the warm-up below 1, the final rate 0.1 to 1.")
        if self.decay not in ("linear", "cosine"):
            raise InputError(f"There is no learning-rate decay {self.decay!r}.", "Use linear or cosine.")

    @classmethod
    def of_model(cls, settings: Mapping[str, Any]) -> Self:
        """What a model trained here was trained with, of its manifest's configuration."""
        own = {name: value for name, value in settings.items() if name != WITHOUT}
        return cls(**{**own, "architecture": ArchitectureConfig(**settings["architecture"])})

    def learning_rate(self, step: int, steps: int) -> float:
        """Learning rate of step 1 to ``steps``."""
        warmup = max(1, round(self.warmup * steps))
        if step <= warmup:
            return self.peak_learning_rate * step / warmup
        at = (step - warmup) / max(1, steps - warmup)
        shape = 1 - at if self.decay == "linear" else (1 + math.cos(math.pi * at)) / 2
        return self.peak_learning_rate * (self.final_learning_rate + (1 - self.final_learning_rate) * shape)


def train(
    home: Home,
    corpus_id: str,
    passages: Sequence[Passage],
    config: TrainingConfig,
    progress: Progress,
    *,
    device: str = "cpu",
    resume_seconds: float = 30.0,
    command: str = "",
    left_out: LeftOut | None = None,
) -> str:
    """Train tokenizer and model; returns the model artifact's id. A no-op where it is finished.

    With ``left_out`` the model is trained without these passages, with the tokenizer of the model that it is compared
    with. At most ``resume_seconds`` of work (and one step) are lost at a kill. Raises InputError without passages, and
    UserError naming the step where the loss stops being a number.
    """
    inputs, settings = model_identity(corpus_id, config, left_out)
    model_id = artifact_id("model", inputs, settings)
    folder = home.folder("model", model_id)
    if is_finished(folder):
        return model_id
    tokenizer = None
    if left_out is not None:
        passages = left_out.rest(passages)
        tokenizer = TextTokenizer.load(home.find("model", left_out.base))
    if not passages:
        raise InputError("A model cannot be trained on a corpus without passages.", "Import passages first.")
    folder.mkdir(parents=True, exist_ok=True)
    if left_out is not None:
        with atomic_file(folder / LIST) as stream:
            stream.write(left_out.text.encode())
    training = Training(folder, [passage.text for passage in passages], config, device, tokenizer)
    training.resume()
    training.run(progress, resume_seconds)
    facts = training.finish()
    seal(
        folder,
        kind="model",
        inputs=inputs,
        config=settings,
        facts=facts,
        seconds=training.seconds,
        command=command,
    )
    return model_id


def model_identity(
    corpus_id: str, config: TrainingConfig, left_out: LeftOut | None = None
) -> tuple[dict[str, str | None], dict[str, Any]]:
    """Inputs and configuration of the artifact that a training makes."""
    settings = asdict(config) if left_out is None else {**asdict(config), WITHOUT: left_out.settings}
    return {"corpus": corpus_id}, settings


def build_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Adafactor:
    """The optimizer of every training here: no weight decay, and no clipping but Adafactor's own, by which no
    update has a root mean square above 1.
    """
    return torch.optim.Adafactor(model.parameters(), lr=learning_rate, eps=EPSILON, foreach=True)


def summed_loss(model: LlamaForCausalLM, ids_BT: Tensor) -> Tensor:
    """Cross-entropy in nats of all tokens but the first of each sequence, summed; differentiable."""
    hidden = model.model(input_ids=ids_BT[:, :-1], use_cache=False).last_hidden_state
    return head_loss(hidden.flatten(0, 1), model.lm_head.weight, ids_BT[:, 1:].flatten())


class Sequences:
    """The corpus as token ids: one flat array and where each passage begins."""

    def __init__(self, tokenizer: TextTokenizer, texts: Sequence[str]) -> None:
        encoded = tokenizer.encode_passages(texts)
        self.truncated = sum(passage.truncated for passage in encoded)
        self.lengths = np.array([len(passage.ids) for passage in encoded], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self._flat = torch.tensor([token for passage in encoded for token in passage.ids], dtype=torch.int32)

    @property
    def tokens(self) -> int:
        """All tokens, special ones included."""
        return int(self._starts[-1])

    def batch(self, indices: np.ndarray) -> Tensor:
        """Token ids (B, T), int64, of passages of one length."""
        length = int(self.lengths[indices[0]])
        at = torch.from_numpy(self._starts[indices])[:, None] + torch.arange(length)
        return self._flat[at].long()


class Training:
    """One training: the model, its optimizer and where it stands."""

    def __init__(
        self,
        folder: Path,
        texts: Sequence[str],
        config: TrainingConfig,
        device: str = "cpu",
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        """A tokenizer is trained on the texts where none is given; nothing is written before ``run``."""
        self.folder = folder
        self.config = config
        self.device = torch.device(device)
        context = config.architecture.context
        self.tokenizer = tokenizer or TextTokenizer(
            train_tokenizer(texts, config.vocabulary), Tokenization(0, 0, context)
        )
        self.sequences = Sequences(self.tokenizer, texts)
        self.model: LlamaForCausalLM = build_model(
            config.architecture, self.tokenizer.vocabulary, self.tokenizer.tokenization, config.seed
        ).to(self.device)
        self.optimizer = build_optimizer(self.model, config.peak_learning_rate)
        self.batches = [
            (epoch, batch)
            for epoch in range(config.epochs)
            for batch in equal_length_batches(
                self.sequences.lengths,
                max_tokens=config.batch_tokens,
                max_rows=config.batch_passages,
                seed=config.seed,
                epoch=epoch,
            )
        ]
        self.kept = sorted(
            {max(1, round(self.steps * i / config.checkpoints)) for i in range(1, config.checkpoints + 1)}
        )
        self.step = 0
        self.tokens = 0
        self.curve: list[dict[str, Any]] = []
        self.since_row = {"loss": 0.0, "targets": 0}
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return len(self.batches)

    @property
    def seconds(self) -> float:
        """Seconds of work so far, those before a kill included as far as they were kept."""
        return self._seconds_before + time.monotonic() - self._started

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is any."""
        found = find_checkpoints(self.folder / "resume") + find_checkpoints(self.folder / "checkpoints")
        if not found:
            return
        newest = max(found, key=lambda checkpoint: checkpoint.step)
        state = restore_checkpoint(newest, self.model, self.optimizer)
        self.step, self.tokens = state["step"], state["tokens"]
        self.curve, self.since_row = state["curve"], state["since_row"]
        timings = self.folder / "resume" / "timings.json"
        self._seconds_before = float(read_json(timings)["seconds"]) if timings.exists() else 0.0

    def run(self, progress: Progress, resume_seconds: float = 30.0) -> None:
        """Train to the end."""
        self.model.train()
        total = self.sequences.tokens * self.config.epochs
        saved = time.monotonic()
        while self.step < self.steps:
            loss = self.take_step()
            progress(self.tokens, total, f"step {self.step} of {self.steps}, loss {loss:.3f}")
            if self.step in self.kept:
                save_checkpoint(self.folder / "checkpoints", self.step, self.model, self.optimizer, self._state())
            elif time.monotonic() - saved > resume_seconds:
                resume = self.folder / "resume"
                save_checkpoint(resume, self.step, self.model, self.optimizer, self._state())
                write_json(resume / "timings.json", {"seconds": self.seconds})
                prune_checkpoints(resume, keep=self.step)
                saved = time.monotonic()

    def take_step(self) -> float:
        """One optimizer step; returns its mean loss in nats a token.

        What is differentiated is the sum of the passages' mean token losses over ``batch_passages``: every
        passage weighs the same, whatever its length and however full its batch.
        """
        epoch, batch = self.batches[self.step]
        self.step += 1
        rate = self.config.learning_rate(self.step, self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        ids_BT = self.sequences.batch(batch).to(self.device)
        total = summed_loss(self.model, ids_BT)
        (total / ((ids_BT.shape[1] - 1) * self.config.batch_passages)).backward()
        self.optimizer.step()
        targets = ids_BT[:, 1:].numel()
        loss = total.item()
        if not math.isfinite(loss):
            raise UserError(
                f"The loss of step {self.step} is not a number: the training has diverged.",
                f"Train with a lower peak learning rate than {self.config.peak_learning_rate}.",
            )
        self.tokens += ids_BT.numel()
        self.since_row["loss"] += loss
        self.since_row["targets"] += targets
        if self.step % max(1, self.steps // CURVE_ROWS) == 0 or self.step == self.steps:
            self.curve.append(
                {
                    "step": self.step,
                    "epoch": epoch,
                    "tokens": self.tokens,
                    "loss": self.since_row["loss"] / self.since_row["targets"],
                    "learning_rate": rate,
                }
            )
            self.since_row = {"loss": 0.0, "targets": 0}
        return loss / targets

    def finish(self) -> dict[str, Any]:
        """Write the model's folder; returns the facts of its manifest."""
        folder, seconds = self.folder, self.seconds
        save_tensors(folder / WEIGHTS, model_tensors(self.model))
        save_tensors(folder / OPTIMIZER, optimizer_tensors(self.model, self.optimizer))
        self.model.config.save_pretrained(folder)
        save_tokenizer(folder, self.tokenizer.definition, self.config.architecture.context)
        self.tokenizer.save_tokenization(folder)
        write_json(
            folder / "training.json",
            {
                "curve": self.curve,
                "validation": [],
                "checkpoints": self.kept,
                "steps": self.steps,
                "tokens": self.tokens,
            },
        )
        write_json(
            folder / "timings.json",
            {
                "seconds": seconds,
                "tokens_per_second": self.tokens / seconds,
                "threads": torch.get_num_threads(),
            },
        )
        shutil.rmtree(folder / "resume", ignore_errors=True)
        return {
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "vocabulary": self.tokenizer.vocabulary,
            "passages": len(self.sequences.lengths),
            "truncated": self.sequences.truncated,
            "tokens": self.sequences.tokens,
            "steps": self.steps,
            "loss": self.curve[-1]["loss"],
            "accuracy": self._accuracy(),
        }

    @torch.no_grad()
    def _accuracy(self) -> float:
        """Share of next tokens that the model predicts greedily, over a sample of the passages."""
        self.model.eval()
        count = min(ACCURACY_PASSAGES, len(self.sequences.lengths))
        sample = np.unique(np.linspace(0, len(self.sequences.lengths) - 1, count).round().astype(np.int64))
        right = targets = 0
        for batch in equal_length_batches(self.sequences.lengths[sample], max_tokens=self.config.batch_tokens):
            ids_BT = self.sequences.batch(sample[batch]).to(self.device)
            predicted = self.model(input_ids=ids_BT[:, :-1], use_cache=False).logits.argmax(-1)
            right += int((predicted == ids_BT[:, 1:]).sum())
            targets += predicted.numel()
        return right / targets

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "tokens": self.tokens,
            "epoch": self.batches[self.step - 1][0],
            "learning_rate": self.config.learning_rate(self.step, self.steps),
            "curve": self.curve,
            "since_row": self.since_row,
        }
