"""The output head and its cross-entropy as one differentiable step that never holds all logits.

For a small model the logits are the largest thing in a training step. Here they are made in chunks, in one
buffer, and turned in place into their own gradient (softmax minus one-hot) during the forward pass, which is
all that the backward pass needs (the idea of "Liger Kernel", Hsu et al. 2024, and of "Cut Your Losses",
Wijmans et al. 2024).

Shape suffixes: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 21
"""Logits held at once: 8 MB as float32."""


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> Tensor:
        rows = max(1, CHUNK_ELEMENTS // len(weight_VH))
        buffer = hidden_NH.new_empty(min(rows, len(hidden_NH)), len(weight_VH))
        hidden_gradient = torch.empty_like(hidden_NH)
        weight_gradient = torch.zeros_like(weight_VH)
        loss = hidden_NH.new_zeros(())
        for start in range(0, len(hidden_NH), rows):
            chunk, targets = hidden_NH[start : start + rows], targets_N[start : start + rows, None]
            logits = torch.mm(chunk, weight_VH.mT, out=buffer[: len(chunk)])
            of_target, largest = logits.gather(1, targets), logits.amax(dim=1)
            probabilities = torch.softmax(logits, dim=1, out=logits)
            # log sum exp = largest logit - log of its probability; the target's own may have underflowed.
            loss += (largest - probabilities.amax(dim=1).log()).sum() - of_target.sum()
            probabilities.scatter_add_(1, targets, probabilities.new_full(targets.shape, -1.0))
            torch.mm(probabilities, weight_VH, out=hidden_gradient[start : start + rows])
            weight_gradient.addmm_(probabilities.mT, chunk)
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        (scale,) = gradients
        return hidden_gradient * scale, weight_gradient * scale, None


def head_loss(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> Tensor:
    """Cross-entropy in nats, summed over N tokens, of the logits ``hidden @ weight.T``; differentiable in
    both.
    """
    return _HeadLoss.apply(hidden_NH, weight_VH, targets_N)
