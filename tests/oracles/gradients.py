"""Exact per-example gradients by plain autograd, one example at a time, weights and all."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exact_gradients(model: nn.Module, ids: list[int], first_target: int, names: list[str]) -> dict[str, Tensor]:
    """Layer -> gradient of the summed loss at its weight (as the model stores it), float64."""
    model = model.double()
    parameters = dict(model.named_parameters())
    tokens = torch.tensor([ids])
    log_probabilities = model(input_ids=tokens, use_cache=False).logits.log_softmax(-1)[0]
    loss = -sum(log_probabilities[t - 1, ids[t]] for t in range(max(1, first_target), len(ids)))
    weights = [parameters[f"{name}.weight"] for name in names]
    gradients = torch.autograd.grad(loss, weights)
    return dict(zip(names, gradients, strict=True))
