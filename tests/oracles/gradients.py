"""Exact per-example gradients by plain autograd, one example at a time, weights and all."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def exact_gradients(model: nn.Module, ids: list[int], first_target: int, names: list[str]) -> dict[str, Tensor]:
    """Layer -> gradient of the summed loss at its weight (as the model stores it), float64."""
    return _gradients(-_log_probability(model, ids, first_target), model, names)


def exact_output_gradients(
    model: nn.Module, ids: list[int], first_target: int, names: list[str]
) -> tuple[dict[str, Tensor], float]:
    """(layer -> gradient of TRAK's log(p / (1 - p)) at its weight, p), p the probability of all targets together."""
    log_p = _log_probability(model, ids, first_target)
    return _gradients(torch.log(log_p.exp() / (1 - log_p.exp())), model, names), log_p.exp().item()


def _log_probability(model: nn.Module, ids: list[int], first_target: int) -> Tensor:
    log_probabilities = model.double()(input_ids=torch.tensor([ids]), use_cache=False).logits.log_softmax(-1)[0]
    return torch.stack([log_probabilities[t - 1, ids[t]] for t in range(max(1, first_target), len(ids))]).sum()


def _gradients(value: Tensor, model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(value, [parameters[f"{name}.weight"] for name in names])
    return dict(zip(names, gradients, strict=True))
