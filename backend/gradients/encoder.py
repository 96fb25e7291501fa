"""From a batch of token ids to projected per-example gradients, in one forward and one activation-only backward.

Weights are frozen, so autograd computes gradients of activations alone; a layer's gradient G is never formed:
its inputs are projected on the way forward, the gradients at its outputs on the way back, and their product over
tokens is the projected gradient (LoGra, 2405.13954, section 3.1). The output head stays outside autograd: the
gradient at the last hidden state is ``(softmax - one_hot) W``, in chunks.

Shape suffixes: B batch, T tokens, H hidden, O a layer's outputs, I its inputs, D a row's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from backend.core.errors import UserError
from backend.gradients.layers import TrackedLayer
from backend.gradients.projections import LayerProjection

HEAD_CHUNK_ELEMENTS = 1 << 21
"""Logits held at once in the head's part of the backward pass."""


@dataclass(frozen=True)
class EncodedBatch:
    """Projected gradients of a batch: row set -> (B, D) float32, and the loss (B,) in nats."""

    rows: dict[str, Tensor]
    losses: Tensor


class GradientEncoder:
    """Encodes batches of equal-length token sequences."""

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[TrackedLayer],
        projections: Mapping[str, Sequence[LayerProjection]],
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.layers = tuple(layers)
        self.row_sets = tuple(projections)
        self.dims = {name: sum(p.dims for p in projections[name]) for name in self.row_sets}
        self._inputs, self._outputs = [], []
        for index in range(len(self.layers)):
            of_layer = [projections[name][index] for name in self.row_sets]
            self._inputs.append(torch.cat([p.inputs for p in of_layer], dim=1).to(self.device))
            self._outputs.append(torch.cat([p.outputs for p in of_layer], dim=1).to(self.device))
        self._widths = [
            [(projections[name][i].outputs.shape[1], projections[name][i].inputs.shape[1]) for name in self.row_sets]
            for i in range(len(self.layers))
        ]
        self._head = output_head(model, self.device)

    def encode(self, ids_BT: Tensor, target_mask_BT: Tensor) -> EncodedBatch:
        """Projected gradients of the loss summed over the targets.

        ``target_mask_BT`` is true at the tokens whose log-probability counts (never at token 0). Rows do not
        depend on their batch-mates beyond float32 rounding.
        """
        rows = {name: torch.zeros(len(ids_BT), self.dims[name], device=self.device) for name in self.row_sets}
        offsets = dict.fromkeys(self.row_sets, 0)
        slots = []
        for widths in self._widths:
            slots.append(dict(offsets))
            for name, (outputs, inputs) in zip(self.row_sets, widths, strict=True):
                offsets[name] += outputs * inputs

        def collect(index: int, x_BTI: Tensor, d_BTO: Tensor) -> None:
            projected_x = x_BTI @ self._inputs[index]
            projected_d = d_BTO @ self._outputs[index]
            at_out = at_in = 0
            for name, (outputs, inputs) in zip(self.row_sets, self._widths[index], strict=True):
                left = projected_d[..., at_out : at_out + outputs]
                right = projected_x[..., at_in : at_in + inputs]
                start = slots[index][name]
                rows[name][:, start : start + outputs * inputs] += torch.bmm(left.mT, right).flatten(1)
                at_out, at_in = at_out + outputs, at_in + inputs

        losses = backward_at_layers(
            self.model, self._head, self.layers, ids_BT.to(self.device), target_mask_BT.to(self.device), collect
        )
        return EncodedBatch(rows, losses)


def output_head(model: PreTrainedModel, device: torch.device) -> nn.Linear | None:
    """The model's head if its logits are exactly ``head(last hidden state)``, else None (scaled or capped logits)."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        return None
    ids = torch.arange(4, device=device).remainder(head.out_features).unsqueeze(0)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        return head if torch.allclose(head(hidden), logits, rtol=1e-4, atol=1e-5) else None


def backward_at_layers(
    model: PreTrainedModel,
    head: nn.Linear | None,
    layers: Sequence[TrackedLayer],
    ids_BT: Tensor,
    target_mask_BT: Tensor,
    collect: Callable[[int, Tensor, Tensor], None],
) -> Tensor:
    """Run one forward and backward pass; calls ``collect(layer index, x_BTI, d_BTO)`` for every layer.

    Returns the losses (B,), summed over the targets, in nats.
    """
    with _hooks(model, layers, _by_example(layers, ids_BT.shape, collect)), torch.enable_grad():
        if head is None:
            logits = model(input_ids=ids_BT, use_cache=False).logits[:, :-1].float()
            token_losses = functional.cross_entropy(logits.mT, ids_BT[:, 1:], reduction="none")
            losses = (token_losses * target_mask_BT[:, 1:]).sum(dim=1)
            losses.sum().backward()
            return losses.detach()
        hidden_BTH = model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
        losses, gradient_BTH = head_backward(head, hidden_BTH.detach(), ids_BT, target_mask_BT)
        hidden_BTH.backward(gradient_BTH)
        return losses


def _by_example(
    layers: Sequence[TrackedLayer], shape: torch.Size, collect: Callable[[int, Tensor, Tensor], None]
) -> Callable[[int, Tensor, Tensor], None]:
    """Give flattened (B x T, width) activations their batch dimension back; some models flatten before their MLP."""

    def reshaped(index: int, x: Tensor, d: Tensor) -> None:
        if x.dim() == 2 and len(x) == shape.numel():
            x, d = x.unflatten(0, shape), d.unflatten(0, shape)
        if x.dim() != 3 or len(x) != shape[0]:
            raise UserError(
                f"Layer {layers[index].name!r} gets inputs of shape {tuple(x.shape)}, not one for each token.",
                "Models with such layers (mixtures of experts, for one) are not supported.",
            )
        collect(index, x, d)

    return reshaped


def head_backward(head: nn.Linear, hidden_BTH: Tensor, ids_BT: Tensor, target_mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (B,) and their gradient at the last hidden state (B, T, H): ``(softmax - one_hot) W``."""
    gradient = torch.zeros_like(hidden_BTH)
    losses = hidden_BTH.new_zeros(hidden_BTH.shape[:2])
    rows_b, rows_t = target_mask_BT[:, 1:].nonzero(as_tuple=True)
    step = max(1, HEAD_CHUNK_ELEMENTS // head.out_features)
    buffer = hidden_BTH.new_empty(min(step, len(rows_b)), head.out_features)
    with torch.no_grad():
        for start in range(0, len(rows_b), step):
            at = rows_b[start : start + step], rows_t[start : start + step]
            targets = ids_BT[at[0], at[1] + 1].unsqueeze(1)
            logits = torch.mm(hidden_BTH[at], head.weight.mT, out=buffer[: len(targets)])
            if head.bias is not None:
                logits += head.bias
            of_target, largest = logits.gather(1, targets).squeeze(1), logits.amax(dim=1)
            probabilities = torch.softmax(logits, dim=1, out=logits)
            # log sum exp = largest logit - log of its probability; the target's own may have underflowed.
            losses[at] = largest - probabilities.amax(dim=1).log() - of_target
            probabilities.scatter_add_(1, targets, probabilities.new_full(targets.shape, -1.0))
            gradient[at] = probabilities @ head.weight
    return losses.sum(dim=1), gradient


@contextmanager
def _hooks(
    model: PreTrainedModel, layers: Sequence[TrackedLayer], collect: Callable[[int, Tensor, Tensor], None]
) -> Iterator[None]:
    """Watch the layers' inputs and output gradients, and let autograd start at the embeddings' output."""

    def watch(index: int) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
        def forward_hook(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            x_BTI = args[0].detach()
            output.register_hook(lambda d_BTO: collect(index, x_BTI, d_BTO))

        return forward_hook

    handles = [layer.module.register_forward_hook(watch(index)) for index, layer in enumerate(layers)]
    embeddings = model.get_input_embeddings()
    handles.append(embeddings.register_forward_hook(lambda _m, _a, output: output.requires_grad_(True)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
