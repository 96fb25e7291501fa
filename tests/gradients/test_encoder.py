"""The encoder against autograd, and a row's independence of its batch."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.gradients.encoder import GradientEncoder
from backend.gradients.layers import select_layers
from backend.gradients.projections import ProjectionConfig, layer_projections
from backend.gradients.second_moment import FactoredSecondMoment
from tests.oracles.gradients import exact_gradients
from tests.tiny_models import VOCABULARY, tiny_gpt2, tiny_llama


def build(model: torch.nn.Module, rank: int | None) -> tuple[GradientEncoder, dict, list, dict]:
    layers = select_layers(model).tracked
    generator = torch.Generator().manual_seed(1)
    moments = {
        layer.name: FactoredSecondMoment(
            torch.rand(layer.outputs, generator=generator) + 0.01, torch.rand(layer.inputs, generator=generator) + 0.01
        )
        for layer in layers
    }
    projections = layer_projections(layers, ProjectionConfig(rank, seed=3), moments)
    return GradientEncoder(model, layers, projections), projections, list(layers), moments


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
@pytest.mark.parametrize("rank", [None, 5])
def test_rows_are_projected_exact_gradients(make, rank):
    model = make()
    oracle = copy.deepcopy(model)
    encoder, projections, layers, moments = build(model, rank)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, VOCABULARY, (3, 9), generator=generator)
    first = [1, 4, 8]
    mask = torch.arange(9)[None] >= torch.tensor(first)[:, None]
    encoded = encoder.encode(ids, mask)
    for row in range(3):
        gradients = exact_gradients(oracle, ids[row].tolist(), first[row], [layer.name for layer in layers])
        expected = {"raw": [], "v": []}
        for index, layer in enumerate(layers):
            G_OI = gradients[layer.name].mT if layer.transposed else gradients[layer.name]
            moment = moments[layer.name]
            V = torch.outer(moment.row.double(), moment.col.double()) / moment.row.double().mean()
            raw = projections["raw"][index]
            for name, corrected in (("raw", G_OI), ("v", G_OI / V.sqrt())):
                expected[name].append((raw.outputs.double().mT @ corrected @ raw.inputs.double()).flatten())
        for name in ("raw", "v"):
            want = torch.cat(expected[name])
            torch.testing.assert_close(encoded.rows[name][row].double(), want, rtol=1e-3, atol=1e-4 * want.abs().max())


def test_losses_are_summed_over_the_targets():
    model = tiny_llama()
    encoder, *_ = build(model, 4)
    ids = torch.randint(0, VOCABULARY, (2, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(7)[None] >= torch.tensor([[1], [5]])
    losses = encoder.encode(ids, mask).losses
    with torch.no_grad():
        log_probabilities = model(input_ids=ids).logits.log_softmax(-1)
    token = -log_probabilities[:, :-1].gather(2, ids[:, 1:, None]).squeeze(2)
    torch.testing.assert_close(losses, (token * mask[:, 1:]).sum(1), rtol=1e-5, atol=1e-5)


def test_capped_logits_take_the_plain_path():
    model = tiny_llama()
    plain, *_ = build(copy.deepcopy(model), 4)

    class Scaled(type(model)):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits * 0.5
            return output

    scaled = copy.deepcopy(model)
    scaled.__class__ = Scaled
    encoder, _, layers, _ = build(scaled, None)
    assert encoder._head is None
    assert plain._head is not None
    ids = torch.randint(0, VOCABULARY, (1, 6), generator=torch.Generator().manual_seed(0))
    rows = encoder.encode(ids, torch.arange(6)[None] >= 1).rows["raw"][0].double()
    oracle = copy.deepcopy(scaled).requires_grad_(True)
    gradients = exact_gradients(oracle, ids[0].tolist(), 1, [layer.name for layer in layers])
    want = torch.cat([gradients[layer.name].flatten() for layer in layers])
    torch.testing.assert_close(rows, want, rtol=1e-3, atol=1e-4 * want.abs().max().item())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(2, 12))
def test_batch_invariance(seed, mates, length):
    model = tiny_llama()
    encoder, *_ = build(model, 4)
    ids = torch.randint(0, VOCABULARY, (1 + mates, length), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(length)[None].expand(1 + mates, -1) >= 1
    alone = encoder.encode(ids[:1], mask[:1])
    together = encoder.encode(ids, mask)
    for name in ("raw", "v"):
        left, right = alone.rows[name][0], together.rows[name][0]
        assert (left - right).norm() <= 1e-5 * left.norm() + 1e-12


def test_a_layer_that_is_called_twice_adds_up_its_calls():
    model = tiny_llama()
    model.model.layers[1].mlp = model.model.layers[0].mlp
    oracle = copy.deepcopy(model)
    encoder, _, layers, _ = build(model, None)
    ids = torch.randint(0, VOCABULARY, (1, 6), generator=torch.Generator().manual_seed(0))
    rows = encoder.encode(ids, torch.arange(6)[None] >= 1).rows["raw"][0].double()
    gradients = exact_gradients(oracle, ids[0].tolist(), 1, [layer.name for layer in layers])
    want = torch.cat([gradients[layer.name].flatten() for layer in layers])
    torch.testing.assert_close(rows, want, rtol=1e-3, atol=1e-4 * want.abs().max().item())


class Flattened(torch.nn.Module):
    """An MLP that sees all tokens of a batch as one list, as some architectures' do."""

    def __init__(self, mlp: torch.nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.mlp(hidden.flatten(0, -2)).view(hidden.shape)


def test_flattened_activations_get_their_examples_back():
    model = tiny_llama()
    plain, *_ = build(copy.deepcopy(model), 4)
    for layer in model.model.layers:
        layer.mlp = Flattened(layer.mlp)
    flattened = GradientEncoder(model, select_layers(model).tracked, build(tiny_llama(), 4)[1])
    ids = torch.randint(0, VOCABULARY, (3, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(6)[None].expand(3, -1) >= 1
    torch.testing.assert_close(flattened.encode(ids, mask).rows["raw"], plain.encode(ids, mask).rows["raw"])


def test_skipped_layers_are_named():
    selection = select_layers(tiny_llama())
    assert "lm_head (Linear)" in selection.skipped
    assert "model.embed_tokens (Embedding)" in selection.skipped
    assert len(selection.tracked) == 14


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rows_on_cuda_are_those_of_the_cpu():
    model = tiny_llama()
    layers = select_layers(model).tracked
    ones = {layer.name: FactoredSecondMoment(torch.ones(layer.outputs), torch.ones(layer.inputs)) for layer in layers}
    projections = layer_projections(layers, ProjectionConfig(5), ones)
    ids = torch.randint(0, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9)[None].expand(3, -1) >= 1
    moved = copy.deepcopy(model).cuda()
    on_cpu = GradientEncoder(model, layers, projections).encode(ids, mask)
    on_cuda = GradientEncoder(moved, select_layers(moved).tracked, projections, "cuda").encode(ids, mask)
    for name in ("raw", "v"):
        scale = on_cpu.rows[name].abs().max().item()
        torch.testing.assert_close(on_cuda.rows[name].cpu(), on_cpu.rows[name], rtol=1e-3, atol=1e-4 * scale)
