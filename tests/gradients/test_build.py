"""Building a store: invariance, resuming, honest refusals."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.core.artifacts import Home, verify
from backend.core.errors import CorruptArtifact, IncompatibleStores, UserError
from backend.gradients.build import (
    EncodableModel,
    EncodeConfig,
    build_passage_store,
    build_query_store,
)
from backend.gradients.examples import Example
from backend.gradients.layers import select_layers
from backend.gradients.projections import ProjectionConfig
from backend.gradients.second_moment import SecondMomentEstimate
from backend.gradients.store import GradientStore, check_comparable, shard_folder
from tests.oracles.gradients import exact_gradients
from tests.tiny_models import VOCABULARY, tiny_gpt2, tiny_llama

CONFIG = EncodeConfig(projection=ProjectionConfig(rank=4), shard_tokens=65_536)


def examples(count: int = 40, seed: int = 0) -> list[Example]:
    random = np.random.default_rng(seed)
    return [
        Example(f"passage-{i}", random.integers(0, VOCABULARY, random.integers(2, 14)).tolist(), 1)
        for i in range(count)
    ]


def build(home: Home, given: list[Example], config: EncodeConfig = CONFIG, model=None, state=None) -> GradientStore:
    opened = EncodableModel(model or tiny_llama(), {"sha256": "t"}, state)
    store_id = build_passage_store(
        home, "model", lambda: opened, "corpus", lambda: (given, ["passage-3"]), config, lambda *_: None
    )
    return GradientStore.open(home, store_id)


def values(store: GradientStore, row_set: str) -> np.ndarray:
    return store.values(row_set)


def test_rows_do_not_depend_on_shards_or_batches(tmp_path, monkeypatch):
    given = examples()
    whole = build(Home(tmp_path / "a"), given)
    monkeypatch.setattr("backend.gradients.build._Build._shard_ranges", lambda self: ((0, 7), (7, 30), (30, 40)))
    parts = build(Home(tmp_path / "b"), given, replace(CONFIG, max_batch_tokens=16))
    for row_set in ("raw", "v"):
        left, right = values(whole, row_set), values(parts, row_set)
        assert np.linalg.norm(left - right, axis=1).max() <= 1e-3 * np.linalg.norm(left, axis=1).max()
        for row in range(len(given)):
            assert np.linalg.norm(left[row] - right[row]) <= 1e-3 * np.linalg.norm(left[row])
    with pytest.raises(IncompatibleStores):
        check_comparable(
            whole.plan, build(Home(tmp_path / "c"), given, replace(CONFIG, projection=ProjectionConfig(4, 9))).plan
        )


def test_a_shard_that_is_missing_or_damaged_is_made_again_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("backend.gradients.build._Build._shard_ranges", lambda self: ((0, 10), (10, 25), (25, 40)))
    given, home = examples(), Home(tmp_path)
    store = build(home, given)
    before = {path: path.read_bytes() for path in store.folder.rglob("*.npy")}
    (store.folder / "MANIFEST.json").unlink()
    shutil.rmtree(shard_folder(store.folder, 1))
    damaged = shard_folder(store.folder, 2) / "v.f16.npy"
    damaged.write_bytes(damaged.read_bytes()[:-7] + b"garbage")
    assert build(home, given).folder == store.folder
    assert {path: path.read_bytes() for path in store.folder.rglob("*.npy")} == before
    assert verify(store.folder) == []


def test_a_changed_byte_is_found_by_verify(tmp_path):
    store = build(Home(tmp_path), examples())
    path = shard_folder(store.folder, 0) / "raw.f16.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert verify(store.folder) == [f"{path} does not have the SHA-256 of its manifest"]
    path.write_bytes(data[:-40])
    with pytest.raises(CorruptArtifact):
        GradientStore(store.folder).shard(0, "raw")


def test_finished_store_is_a_no_op(tmp_path):
    home = Home(tmp_path)
    store = build(home, examples())

    def refuse(*_):
        raise AssertionError("nothing is to be opened")

    assert build_passage_store(home, "model", refuse, "corpus", refuse, CONFIG, refuse) == store.folder.name


def test_facts_count_what_was_cut(tmp_path):
    facts = build(Home(tmp_path), examples()).manifest.facts
    assert (facts["truncated"], facts["truncated_ids"]) == (1, ["passage-3"])
    assert facts["rows"] == 40
    assert "lm_head (Linear)" in facts["skipped_layers"]


def test_a_gradient_that_is_not_finite_names_the_passage(tmp_path):
    model = tiny_llama()
    with torch.no_grad():
        model.get_input_embeddings().weight[VOCABULARY - 1] = float("nan")
    given = [Example("fine", [1, 2, 3], 1), Example("broken", [1, VOCABULARY - 1, 3], 1)]
    with pytest.raises(UserError, match="'broken' is not a finite number"):
        build(Home(tmp_path), given, model=model, state=_even_state(model))


def test_a_gradient_that_is_not_finite_is_found_while_v_is_estimated(tmp_path):
    model = tiny_llama()
    with torch.no_grad():
        model.get_input_embeddings().weight[VOCABULARY - 1] = float("nan")
    given = [
        *(Example(f"fine-{i}", [1, 2, 3 + i], 1) for i in range(9)),
        Example("broken", [1, VOCABULARY - 1, 3, 4], 1),
    ]
    with pytest.raises(UserError, match="'broken' is not a finite number"):
        build(Home(tmp_path), given, model=model)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_unit_that_was_silent_while_v_was_estimated_is_not_blown_up():
    layers = select_layers(tiny_llama()).tracked[:1]
    estimate = SecondMomentEstimate(layers)
    gradient = torch.ones(layers[0].outputs, layers[0].inputs)
    gradient[3] = 0
    estimate.add(layers[0].name, gradient)
    estimate.examples = 1
    left, right = estimate.result()[layers[0].name].scalings()
    assert left[3] <= 40 * left[0]
    assert right.isfinite().all()


def test_going_on_with_other_projections_is_refused(tmp_path):
    home, given = Home(tmp_path), examples()
    store = build(home, given)
    (store.folder / "MANIFEST.json").unlink()
    (store.folder / "second_moment.safetensors").unlink()
    with pytest.raises(CorruptArtifact, match="begun with other projections"):
        build(home, given, state=_even_state(tiny_llama()))


def test_a_gradient_too_large_for_fp16_names_the_passage(tmp_path, monkeypatch):
    monkeypatch.setattr("backend.gradients.build.HEADROOM", 1e-3)
    with pytest.raises(UserError, match=r"'passage-\d+' is too large for fp16"):
        build(Home(tmp_path), examples())


def test_nothing_to_encode_is_said(tmp_path):
    with pytest.raises(UserError, match="nothing to encode"):
        build(Home(tmp_path), [])


@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_second_moment_is_estimated_from_exact_gradients(tmp_path, make):
    given = examples(12)
    store = build(Home(tmp_path), given, model=make())
    oracle = make()
    layers = select_layers(oracle).tracked
    sums = {layer.name: 0.0 for layer in layers}
    for example in given:
        exact = exact_gradients(oracle, list(example.ids), 1, [layer.name for layer in layers])
        for layer in layers:
            G_OI = exact[layer.name].mT if layer.transposed else exact[layer.name]
            sums[layer.name] = sums[layer.name] + G_OI.square() / len(given)
    from backend.gradients.second_moment import SECOND_MOMENT, load_second_moments

    found = load_second_moments(store.folder / SECOND_MOMENT)
    for layer in layers:
        torch.testing.assert_close(found[layer.name].row.double(), sums[layer.name].mean(1), rtol=1e-3, atol=1e-12)
        torch.testing.assert_close(found[layer.name].col.double(), sums[layer.name].mean(0), rtol=1e-3, atol=1e-12)


def test_query_store_has_the_projections_of_its_passage_store(tmp_path):
    home = Home(tmp_path)
    store = build(home, examples())
    asked = [Example("q", [4, 5, 6, 7], 3)]
    query_store = GradientStore.open(
        home,
        build_query_store(
            home,
            "model",
            lambda: EncodableModel(tiny_llama(), {"sha256": "t"}, None),
            "set",
            lambda: asked,
            store.folder.name,
            replace(CONFIG, dtype="float32"),
        ),
    )
    check_comparable(store.plan, query_store.plan)
    assert query_store.shard(0, "v").dtype == np.float32


def _even_state(model) -> dict[str, torch.Tensor]:
    state = {}
    for layer in select_layers(model).tracked:
        state[f"{layer.name}.weight.row_var"] = torch.ones(layer.outputs, 1)
        state[f"{layer.name}.weight.col_var"] = torch.ones(1, layer.inputs)
    return state
