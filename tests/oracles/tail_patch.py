"""Tail-patch by a copy of the model, plain torch.optim.Adafactor and a plain log_softmax, one query at a time."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


def stepped_copy(
    model: PreTrainedModel, state: Mapping[str, Tensor], learning_rate: float, passage_ids: Sequence[int]
) -> PreTrainedModel:
    """A copy of the model after one Adafactor step on one passage, in training mode, from a saved state."""
    copied = copy.deepcopy(model).train().requires_grad_(True)
    parameters = dict(copied.named_parameters())
    optimizer = torch.optim.Adafactor(
        parameters.values(), lr=learning_rate, beta2_decay=-0.8, eps=(1e-30, 1e-3), d=1.0, weight_decay=0.0
    )
    saved = {
        index: {kind: state[f"{name}.{kind}"].clone() for kind in ("step", "row_var", "col_var")}
        if parameter.dim() == 2
        else {kind: state[f"{name}.{kind}"].clone() for kind in ("step", "variance")}
        for index, (name, parameter) in enumerate(parameters.items())
    }
    optimizer.load_state_dict({"state": saved, "param_groups": optimizer.state_dict()["param_groups"]})
    # Not the model's own loss for labels, which would round a double model's logits to single precision.
    log_probabilities = copied(input_ids=torch.tensor([list(passage_ids)]), use_cache=False).logits[0].log_softmax(-1)
    targets = range(1, len(passage_ids))
    (-sum(log_probabilities[at - 1, passage_ids[at]] for at in targets) / len(targets)).backward()
    optimizer.step()
    return copied.eval()


def completion_probability(model: PreTrainedModel, ids: Sequence[int], first_target: int) -> float:
    """Product of the probabilities of ``ids[first_target:]``."""
    with torch.no_grad():
        log_probabilities = model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits.double().log_softmax(-1)
    probability = 1.0
    for at in range(first_target, len(ids)):
        probability *= log_probabilities[0, at - 1, ids[at]].exp().item()
    return probability


def tail_patch(
    model: PreTrainedModel,
    state: Mapping[str, Tensor],
    learning_rate: float,
    passage_ids: Sequence[int],
    query: tuple[Sequence[int], int],
) -> float:
    """Change of the completion's probability, in percentage points."""
    after = stepped_copy(model, state, learning_rate, passage_ids)
    return 100 * (completion_probability(after, *query) - completion_probability(model, *query))
