"""Tail-patch: one more training step, on one passage alone, and what it does to a completion's probability
(TrackStar, arXiv 2410.17413: "tail-patch" scores).

The step is the training's own (``backend.models.training``): the same loss code, the same Adafactor with its
saved state and step count. It differs in two points. Its loss is the passage's mean token loss at full weight,
which in a training batch is divided by ``batch_passages``; Adafactor's own clipping bounds the step. Its learning
rate is that of the training's last step, but at least a tenth of the peak. Trainings here have no dropout,
so the model stays in eval mode.

A model from elsewhere has no optimizer state. Adafactor or Adam at its first step would move every parameter by
about the learning rate, whatever the size of its gradient, which is no step of the model's training. Instead the
whole parameter vector moves a fixed way down the passage's gradient g: ``theta - learning_rate * g / |g|``
(normalised SGD). Such numbers compare passages for one model; their size depends on the learning rate chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from backend.core.artifacts import Home, read_manifest
from backend.core.errors import CorruptArtifact, InputError, UserError
from backend.core.files import read_json
from backend.core.tokenizer import EncodedQuery
from backend.models.decoding import target_log_probabilities
from backend.models.loading import LoadedModel
from backend.models.training import build_optimizer, summed_loss

LEAST_SHARE_OF_PEAK = 0.1
"""Least learning rate of the step, as a share of the training's peak: a schedule may end at 0."""

STEP_LENGTH = 0.03
"""Default learning rate of normalised SGD: the Euclidean length of the step.

On the demonstration's model each of 120 passages, stating a fact or drawn at random, lowered its own loss at this
length (by 0.2 nats a token on average; the training's own step: 0.5); some raised it at lengths of 0.05 and more.
"""


@dataclass(frozen=True)
class TailPatchSettings:
    """How the step is taken."""

    optimizer: Literal["adafactor", "normalised-sgd"]
    """adafactor: the training's, with its saved state; normalised-sgd: for a model without one."""
    learning_rate: float
    """adafactor: relative step, a share of each parameter's root mean square; normalised-sgd: length of the step."""

    def __post_init__(self) -> None:
        if self.optimizer not in ("adafactor", "normalised-sgd"):
            raise InputError(f"There is no optimizer {self.optimizer!r}.", "Use adafactor or normalised-sgd.")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"A learning rate of {self.learning_rate} is not a positive number.", "Give one.")

    @property
    def state(self) -> Literal["saved", "none"]:
        """Whether the optimizer starts from the training's state."""
        return "saved" if self.optimizer == "adafactor" else "none"


def read_settings(home: Home, loaded: LoadedModel, learning_rate: float | None = None) -> TailPatchSettings:
    """The settings for a model: from its training where its optimizer state is there, else normalised SGD.

    ``learning_rate`` None is the training's (of its end, whatever checkpoint is loaded), or ``STEP_LENGTH``. Raises
    MissingArtifact where there is no such model, CorruptArtifact where its training's record is damaged.
    """
    folder = home.find("model", loaded.id)
    record = folder / "training.json"
    if loaded.optimizer_state is None or not record.exists():
        return TailPatchSettings("normalised-sgd", STEP_LENGTH if learning_rate is None else learning_rate)
    if learning_rate is None:
        try:
            final = read_json(record)["curve"][-1]["learning_rate"]
            learning_rate = max(final, LEAST_SHARE_OF_PEAK * read_manifest(folder).config["peak_learning_rate"])
        except (KeyError, IndexError, TypeError) as error:
            raise CorruptArtifact(
                f"{record} and its manifest do not tell the learning rate.", "Make the model artifact again."
            ) from error
    return TailPatchSettings("adafactor", learning_rate)


class TailPatch:
    """Measures what one step on a passage does to queries, for one loaded model.

    A result depends on model, settings, passage and query alone, bit for bit (on one machine, at one thread
    count): queries are evaluated one at a time, and after each passage the weights and the optimizer's state are
    copied back. The copy takes as much memory as the weights. The model belongs to the measurement while it runs:
    nothing else may use it at the same time.
    """

    def __init__(self, loaded: LoadedModel, settings: TailPatchSettings) -> None:
        """Raises UserError for ``adafactor`` without saved state, CorruptArtifact where the state lacks a
        parameter.
        """
        self.loaded = loaded
        self.settings = settings
        self._parameters = list(loaded.model.parameters())
        self._optimizer: torch.optim.Optimizer
        if settings.optimizer == "adafactor":
            self._optimizer = build_optimizer(loaded.model, settings.learning_rate)
            _restore_state(self._optimizer, loaded)
        else:
            self._optimizer = torch.optim.SGD(self._parameters, lr=settings.learning_rate)
        self._live = [*(parameter.detach() for parameter in self._parameters), *_state_tensors(self._optimizer)]
        self._saved = [tensor.clone() for tensor in self._live]
        steps = [int(state["step"]) for state in self._optimizer.state.values()]
        self._step_number = max(steps) + 1 if steps else None
        self._before: dict[tuple[tuple[int, ...], int], float] = {}

    @classmethod
    def open(cls, home: Home, loaded: LoadedModel, learning_rate: float | None = None) -> TailPatch:
        """For a model artifact, with ``read_settings``; raises what it and the constructor raise."""
        return cls(loaded, read_settings(home, loaded, learning_rate))

    @property
    def facts(self) -> dict[str, Any]:
        """What to record beside results: model, optimizer, learning_rate, state, and step, the number of the step
        in the training (None without state).
        """
        return {
            "model": self.loaded.id,
            **asdict(self.settings),
            "state": self.settings.state,
            "step": self._step_number,
        }

    def probability(self, query: EncodedQuery) -> float:
        """Probability of the query's completion before any step."""
        key = tuple(query.ids), query.first_target
        if key not in self._before:
            self._before[key] = self._probability(query)
        return self._before[key]

    def changes(self, passage_ids: Sequence[int], queries: Sequence[EncodedQuery]) -> list[float]:
        """Change of each completion's probability by one step on the passage, in percentage points.

        Above 0, the passage made the completion more likely. Raises InputError for a passage longer than the
        context, UserError where the step leaves no finite weights; the model is as before in any case.
        """
        if not queries:
            return []
        before = [self.probability(query) for query in queries]
        with self.stepped(passage_ids):
            after = [self._probability(query) for query in queries]
        if not all(math.isfinite(probability) for probability in after):
            raise UserError(
                "After one step on a passage the model's probabilities are not numbers.",
                f"Use a smaller learning rate than {self.settings.learning_rate}.",
            )
        return [100 * (then - now) for now, then in zip(before, after, strict=True)]

    @contextmanager
    def stepped(self, passage_ids: Sequence[int]) -> Iterator[None]:
        """Inside the with-block the model is as after the step; behind it, weights and optimizer state are as before,
        byte for byte.

        A passage without a token to predict (fewer than two) takes no step. Raises InputError for one longer than
        the context.
        """
        if len(passage_ids) > self.loaded.context:
            raise InputError(
                f"A passage of {len(passage_ids)} tokens is longer than the model's context of {self.loaded.context}.",
                "Cut it as in training: TextTokenizer.encode_passage does.",
            )
        trainable = [parameter.requires_grad for parameter in self._parameters]
        try:
            if len(passage_ids) > 1:
                self._step(torch.tensor([list(passage_ids)], device=self.loaded.device))
            yield
        finally:
            for live, saved in zip(self._live, self._saved, strict=True):
                live.copy_(saved)
            for parameter, flag in zip(self._parameters, trainable, strict=True):
                parameter.requires_grad_(flag)

    def _step(self, ids_BT: Tensor) -> None:
        for parameter in self._parameters:
            parameter.requires_grad_(True)
            parameter.grad = None
        try:
            with torch.enable_grad():
                self._mean_loss(ids_BT).backward()
            if self.settings.optimizer == "normalised-sgd":
                self._normalise_gradient()
            self._optimizer.step()
        finally:
            for parameter in self._parameters:
                parameter.grad = None

    def _mean_loss(self, ids_BT: Tensor) -> Tensor:
        """Nats a token, over all tokens of the passage but the first."""
        if self.settings.optimizer == "adafactor":
            return summed_loss(self.loaded.model, ids_BT) / (ids_BT.shape[1] - 1)
        logits_BTV = self.loaded.model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
        return functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BT[:, 1:].flatten())

    def _normalise_gradient(self) -> None:
        """Bring the gradient over all parameters to length 1; one of length 0 stays."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        length = torch.nn.utils.get_total_norm(gradients)
        for gradient in gradients:
            gradient.div_(length.to(gradient.device).clamp_min(torch.finfo(gradient.dtype).tiny))

    def _probability(self, query: EncodedQuery) -> float:
        # Alone: batch-mates would move the last bits, and a result should not depend on what else is measured.
        return math.exp(target_log_probabilities(self.loaded, [(query.ids, query.first_target)])[0])


def _restore_state(optimizer: torch.optim.Optimizer, loaded: LoadedModel) -> None:
    """Give the optimizer copies of a loaded model's saved state; ``step`` stays on the CPU, as Adafactor has it."""
    if loaded.optimizer_state is None:
        raise UserError(
            f"Model {loaded.id} has no saved optimizer state, which a step of its training needs.",
            "Use the optimizer normalised-sgd, or a model trained here.",
        )
    of_parameter: dict[str, dict[str, Tensor]] = {}
    for key, tensor in loaded.optimizer_state.items():
        name, _, kind = key.rpartition(".")
        of_parameter.setdefault(name, {})[kind] = tensor.to("cpu" if kind == "step" else loaded.device, copy=True)
    for name, parameter in loaded.model.named_parameters():
        needed = {"step", "row_var", "col_var"} if parameter.dim() > 1 else {"step", "variance"}
        if not needed <= of_parameter.get(name, {}).keys():
            raise CorruptArtifact(
                f"The optimizer state of model {loaded.id} lacks {name}.", "Make the model artifact again."
            )
        optimizer.state[parameter] = of_parameter[name]


def _state_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [tensor for state in optimizer.state.values() for tensor in state.values() if isinstance(tensor, Tensor)]
