"""Token sequences as the encoder takes them: in batches of equal length, and passes over a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from backend.core.errors import UserError
from backend.gradients.encoder import backward_at_layers, output_head
from backend.gradients.layers import TrackedLayer
from backend.models.batching import equal_length_batches

Collect = Callable[[int, np.ndarray, Tensor, Tensor], None]
"""(index of the layer, positions of the batch's examples, x_BTI, d_BTO)."""


@dataclass(frozen=True)
class Example:
    """A token sequence and where its loss begins."""

    id: str
    ids: Sequence[int]
    first_target: int
    """Index of the first token whose log-probability counts; at least 1."""


class Examples:
    """All examples of a store, by position."""

    def __init__(self, examples: Sequence[Example], max_batch_tokens: int) -> None:
        self.examples, self._max_batch_tokens = examples, max_batch_tokens
        self.lengths = [len(example.ids) for example in examples]
        self.tokens = sum(self.lengths)

    def __len__(self) -> int:
        return len(self.examples)

    def sample(self, most: int) -> list[np.ndarray]:
        """Batches (positions) over up to ``most`` examples, evenly spaced."""
        count = min(most, len(self.examples))
        sample = np.unique(np.linspace(0, len(self.examples) - 1, count).round().astype(np.int64))
        lengths = [self.lengths[row] for row in sample]
        return [sample[batch] for batch in equal_length_batches(lengths, max_tokens=self._max_batch_tokens)]

    def tensors(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        """Token ids (B, T) and the mask of their targets for examples of equal length."""
        ids = torch.tensor([list(self.examples[row].ids) for row in positions])
        first = torch.tensor([max(1, self.examples[row].first_target) for row in positions])
        return ids, torch.arange(ids.shape[1])[None] >= first[:, None]

    def pass_over_sample(
        self, model: PreTrainedModel, device: str, most: int, layers: Sequence[TrackedLayer], collect: Collect
    ) -> int:
        """One forward and backward pass over up to ``most`` examples; returns how many they were."""
        at = torch.device(device)
        frozen = model.to(at).eval().requires_grad_(False)
        head = output_head(frozen, at)
        batches = self.sample(most)
        for batch in batches:
            ids, mask = self.tensors(batch)

            def of_batch(index: int, x: Tensor, d: Tensor, positions: np.ndarray = batch) -> None:
                collect(index, positions, x, d)

            backward_at_layers(frozen, head, layers, ids.to(at), mask.to(at), of_batch)
        return sum(len(batch) for batch in batches)

    def check_finite(self, position: int, *values: Tensor) -> None:
        """Raise UserError naming the example unless all values, its gradients, are finite."""
        if not all(bool(value.isfinite().all()) for value in values):
            raise self.not_finite(position)

    def not_finite(self, position: int) -> UserError:
        """What is said of an example whose gradient is not finite."""
        return UserError(
            f"The gradient of {self.examples[position].id!r} is not a finite number.",
            "Check the model's weights and this passage; leave the passage out to go on.",
        )
