"""Which layers of a model are tracked: the linear maps inside its blocks, found by type."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from backend.core.errors import UserError


@dataclass(frozen=True)
class TrackedLayer:
    """A linear layer whose per-example gradient ``G = sum_t d_t x_t^T`` (outputs x inputs) is projected."""

    name: str
    module: nn.Module
    inputs: int
    outputs: int

    @property
    def transposed(self) -> bool:
        """True where the layer keeps its weight as inputs x outputs (transformers' Conv1D)."""
        return isinstance(self.module, Conv1D)


@dataclass(frozen=True)
class LayerSelection:
    """The tracked layers in the model's own order, and what has parameters but is left out."""

    tracked: tuple[TrackedLayer, ...]
    skipped: tuple[str, ...]
    """``name (type)`` of every module that holds parameters of its own and is not tracked."""


def select_layers(model: PreTrainedModel) -> LayerSelection:
    """Track every ``nn.Linear`` and ``Conv1D`` but the output head; raises UserError where there is none."""
    head = model.get_output_embeddings()
    tracked, skipped = [], []
    for name, module in model.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if module is not head and type(module) is nn.Linear:
            tracked.append(TrackedLayer(name, module, module.in_features, module.out_features))
        elif module is not head and isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            tracked.append(TrackedLayer(name, module, inputs, outputs))
        else:
            skipped.append(f"{name} ({type(module).__name__})")
    if not tracked:
        raise UserError(
            "The model has no linear layer that could be tracked.",
            "Gradient methods need torch.nn.Linear or transformers' Conv1D layers; quantised models must be "
            "loaded unquantised.",
        )
    return LayerSelection(tuple(tracked), tuple(skipped))
