"""Projections onto principal axes: what they are, what they keep, and that a store of them resumes to equal bytes."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.core.artifacts import Home, artifact_id, verify
from backend.core.errors import IncompatibleStores, UserError
from backend.gradients import build as build_module
from backend.gradients import principal_axes as axes_module
from backend.gradients.build import EncodableModel, EncodeConfig, build_passage_store, build_query_store
from backend.gradients.examples import Example
from backend.gradients.layers import select_layers
from backend.gradients.principal_axes import AXES, load_axes
from backend.gradients.projections import ProjectionConfig, projection_matrix
from backend.gradients.query_encoder import open_encoder
from backend.gradients.second_moment import SECOND_MOMENT, load_second_moments
from backend.gradients.store import GradientStore, StorePlan, check_comparable
from tests.command import digests
from tests.tiny_models import VOCABULARY, tiny_gpt2, tiny_llama

CONFIG = EncodeConfig(projection=ProjectionConfig(rank=6, kind="pca"), dtype="float32")
EXACT = EncodeConfig(projection=ProjectionConfig(rank=None), dtype="float32")


def examples(count: int = 30, length: int | None = None) -> list[Example]:
    random = np.random.default_rng(5)
    lengths = [length or int(random.integers(2, 14)) for _ in range(count)]
    return [Example(f"p{i}", random.integers(0, VOCABULARY, n).tolist(), 1) for i, n in enumerate(lengths)]


def build(home: Home, given: list[Example], config: EncodeConfig = CONFIG, make=tiny_llama) -> GradientStore:
    store_id = build_passage_store(
        home,
        "model",
        lambda: EncodableModel(make(), {"sha256": "t"}, None),
        "corpus",
        lambda: (given, []),
        config,
        lambda *_: None,
    )
    return GradientStore.open(home, store_id)


def products(store: GradientStore, row_set: str) -> np.ndarray:
    rows = store.values(row_set)
    return rows @ rows.T


def token_activations(model: torch.nn.Module, given: list[Example]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layer -> (inputs, gradients at outputs), a row a token, by plain autograd in float64, one example at a time."""
    seen: dict[str, tuple[list, list]] = {}
    model = copy.deepcopy(model).double().requires_grad_(True)
    for layer in select_layers(model).tracked:
        found = seen.setdefault(layer.name, ([], []))
        layer.module.register_full_backward_hook(lambda m, i, o, found=found: found[1].append(o[0][0].numpy()))
        layer.module.register_forward_hook(lambda m, a, o, found=found: found[0].append(a[0][0].detach().numpy()))
    for example in given:
        ids = torch.tensor([list(example.ids)])
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").backward()
    return {
        name: (np.concatenate([x[:-1] for x in inputs]), np.concatenate([d[:-1] for d in gradients]))
        for name, (inputs, gradients) in seen.items()
    }


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_axes_are_the_leading_right_singular_vectors_of_all_tokens(tmp_path, make):
    given = examples()
    store = build(Home(tmp_path), given, make=make)
    found, moments = load_axes(store.folder / AXES), load_second_moments(store.folder / SECOND_MOMENT)
    for name, (x, d) in token_activations(make(), given).items():
        left, right = (scaling.numpy() for scaling in moments[name].scalings())
        for row_set, inputs, outputs in (("raw", x, d), ("v", x * right, d * left)):
            for axes, values in ((found[name][row_set].inputs, inputs), (found[name][row_set].outputs, outputs)):
                want = np.linalg.svd(values)[2][:6].T
                np.testing.assert_allclose(axes.mT @ axes, np.eye(6), atol=1e-5)
                np.testing.assert_allclose(np.abs(axes.double().mT.numpy() @ want), np.eye(6), atol=2e-3)
                assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all(), "signs are settled"


def test_nothing_is_lost_where_the_corpus_spans_no_more_than_the_rank(tmp_path):
    """Two passages of four tokens: six tokens with a loss, so at most six directions of 16 or 24."""
    given = examples(2, length=4)
    store, exact = build(Home(tmp_path), given), build(Home(tmp_path), given, EXACT)
    assert store.plan.dims < exact.plan.dims / 4
    for row_set in ("raw", "v"):
        want = products(exact, row_set)
        np.testing.assert_allclose(products(store, row_set), want, atol=1e-4 * np.abs(want).max())


def test_at_full_rank_products_are_exact(tmp_path):
    given = examples()
    full = replace(CONFIG, projection=ProjectionConfig(rank=24, kind="pca"))
    rotated = replace(CONFIG, projection=ProjectionConfig(rank=23, kind="pca"))
    exact = build(Home(tmp_path), given, EXACT)
    for row_set in ("raw", "v"):
        want = products(exact, row_set)
        np.testing.assert_allclose(
            products(build(Home(tmp_path), given, full), row_set), want, atol=1e-4 * np.abs(want).max()
        )
        nearly = products(build(Home(tmp_path), given, rotated), row_set)
        assert np.abs(nearly - want).max() > 1e-4 * np.abs(want).max(), "one axis of the wide layers is missing"


def test_axes_hold_more_variance_and_give_better_products_than_random_projections_of_their_rank(tmp_path):
    given = examples(60)
    store, exact = build(Home(tmp_path), given), build(Home(tmp_path), given, EXACT)
    random = build(Home(tmp_path), given, replace(CONFIG, projection=ProjectionConfig(rank=6)))
    axes = load_axes(store.folder / AXES)
    for layer in select_layers(tiny_llama()).tracked:
        x, d = token_activations(tiny_llama(), given)[layer.name] if layer.name.endswith("down_proj") else (None, None)
        if x is None:
            continue
        for side, values in (("inputs", x), ("outputs", d)):
            of_axes = getattr(axes[layer.name]["raw"], side).double().numpy()
            other = projection_matrix(values.shape[1], ProjectionConfig(rank=6), layer.name, side).numpy()
            held = [np.square(values @ np.linalg.qr(basis)[0]).sum() for basis in (of_axes, other)]
            assert np.square(values).sum() > held[0] > 1.3 * held[1]
    for row_set in ("raw", "v"):
        want = products(exact, row_set)
        above = np.triu_indices(60, 1)
        fidelity = [np.corrcoef(products(built, row_set)[above], want[above])[0, 1] for built in (store, random)]
        assert fidelity[0] > fidelity[1] + 0.1, fidelity


def test_layers_in_groups_have_the_same_axes(tmp_path, monkeypatch):
    together = build(Home(tmp_path / "a"), examples())
    monkeypatch.setattr(axes_module, "COVARIANCE_BYTES", 8 * 2 * 16**2)
    apart = build(Home(tmp_path / "b"), examples())
    assert (apart.folder / AXES).read_bytes() == (together.folder / AXES).read_bytes()


@pytest.mark.parametrize("at", ["before the axes", "before the plan", "before the rows"])
def test_killed_it_resumes_to_equal_bytes(tmp_path, monkeypatch, at):
    whole = Home(tmp_path / "whole")
    build(whole, examples())
    broken = Home(tmp_path / "broken")

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if at == "before the axes":
            patched.setattr(build_module, "save_axes", killed)
        elif at == "before the plan":
            patched.setattr(StorePlan, "write", killed)
        else:
            patched.setattr(build_module, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            build(broken, examples())
    if at != "before the axes":
        monkeypatch.setattr(build_module, "principal_axes", killed)
    store = build(broken, examples())
    assert digests(broken.root) == digests(whole.root)
    assert AXES in store.manifest.files
    assert verify(store.folder) == []


def test_queries_are_encoded_with_the_axes_of_their_passages(tmp_path):
    home, asked = Home(tmp_path), [Example("q", [4, 5, 6, 7], 3)]
    store = build(home, examples())
    model = EncodableModel(tiny_llama(), {"sha256": "t"}, None)
    query_store_id = build_query_store(home, "model", lambda: model, "set", lambda: asked, store.folder.name, CONFIG)
    query_store = GradientStore.open(home, query_store_id)
    check_comparable(store.plan, query_store.plan)
    assert not (query_store.folder / AXES).exists()
    ids = torch.tensor([asked[0].ids])
    rows = open_encoder(model, store).encode(ids, torch.arange(4)[None] >= 3).rows
    for row_set in ("raw", "v"):
        np.testing.assert_allclose(rows[row_set].numpy(), query_store.values(row_set), rtol=1e-5, atol=1e-9)
    random = build(home, examples(), replace(CONFIG, projection=ProjectionConfig(rank=6)))
    with pytest.raises(IncompatibleStores, match="differ in their projection, "):
        check_comparable(random.plan, query_store.plan)


def test_a_passage_that_is_not_finite_is_named(tmp_path):
    def broken():
        model = tiny_llama()
        with torch.no_grad():
            model.get_input_embeddings().weight[VOCABULARY - 1] = float("nan")
        return model

    state = {}
    for layer in select_layers(tiny_llama()).tracked:
        state[f"{layer.name}.weight.row_var"] = torch.ones(layer.outputs, 1)
        state[f"{layer.name}.weight.col_var"] = torch.ones(1, layer.inputs)
    given = [Example("fine", [1, 2, 3], 1), Example("broken", [1, VOCABULARY - 1, 3], 1)]
    with pytest.raises(UserError, match="'broken' is not a finite number"):
        build_passage_store(
            Home(tmp_path),
            "model",
            lambda: EncodableModel(broken(), {}, state),
            "corpus",
            lambda: (given, []),
            CONFIG,
            lambda *_: None,
        )
    assert not list(tmp_path.rglob(AXES))


def test_random_stores_keep_their_ids():
    inputs = {"model": "m", "corpus": "c", "queries": None, "store": None}
    assert artifact_id("store", inputs, build_module._settings(EncodeConfig())) == "11b340231bd5"
