"""R, lambda and the preconditioner against direct formulas."""

from __future__ import annotations

import numpy as np
import pytest

from backend.core.errors import UserError
from backend.curvature.autocorrelation import (
    joint_autocorrelation,
    mix,
    mixing_by_crossing,
    rows_autocorrelation,
    store_autocorrelation,
)
from backend.curvature.preconditioner import Identity, JointPreconditioner, Preconditioner
from backend.gradients.store import LayerSlice
from tests.oracles.trackstar import crossing_lambda
from tests.synthetic_stores import DIMS, LAYERS, write_store


def rows(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((count, DIMS)) * random.uniform(0.2, 3, DIMS)


def test_store_autocorrelation_is_the_mean_outer_product_and_does_not_depend_on_shards(tmp_path):
    data = rows(50, 0).astype(np.float16).astype(np.float64)
    one = store_autocorrelation(write_store(tmp_path / "one", data, shards=1, scales=(1, 1, 1)), "raw")
    many = store_autocorrelation(write_store(tmp_path / "many", data, shards=7, scales=(1, 1, 1)), "raw")
    for layer, left, right in zip(LAYERS, one, many, strict=True):
        part = data[:, layer.span]
        np.testing.assert_allclose(left, sum(np.outer(row, row) for row in part) / len(part), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


def test_scales_are_undone(tmp_path):
    data = rows(40, 1)
    plain = store_autocorrelation(write_store(tmp_path / "a", data, scales=(1, 1, 1), dtype="float32"), "raw")
    scaled = store_autocorrelation(write_store(tmp_path / "b", data, scales=(8, 0.25, 2), dtype="float32"), "raw")
    for left, right in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12)


def test_lambda_is_where_the_spectra_cross():
    train, evaluation = rows_autocorrelation(rows(200, 2), LAYERS), rows_autocorrelation(rows(90, 3) * 3, LAYERS)
    mixing = mixing_by_crossing(train, evaluation)
    assert mixing.component == 1
    assert mixing.weight == pytest.approx(crossing_lambda(train, evaluation, 1), abs=1e-9)
    np.testing.assert_allclose(mix(train, evaluation, 0.25)[1], 0.25 * evaluation[1] + 0.75 * train[1])


def test_lambda_is_zero_where_r_eval_has_no_such_component():
    layers = [LayerSlice("wide", 0, 16, 16)]
    train = rows_autocorrelation(np.random.default_rng(0).standard_normal((400, 256)), layers)
    few = rows_autocorrelation(np.random.default_rng(1).standard_normal((2, 256)), layers)
    mixing = mixing_by_crossing(train, few)
    assert mixing.component == 4
    assert mixing.weight == 0.0


def test_preconditioner_is_the_damped_inverse():
    data = rows(120, 4)
    blocks = rows_autocorrelation(data, LAYERS)
    preconditioner = Preconditioner(blocks, LAYERS, damping_factor=0.1)
    expected = np.empty_like(data)
    for layer, block in zip(LAYERS, blocks, strict=True):
        damped = block + 0.1 * np.trace(block) / layer.dims * np.eye(layer.dims)
        expected[:, layer.span] = np.linalg.solve(damped, data[:, layer.span].T).T
    np.testing.assert_allclose(preconditioner.apply(data), expected, rtol=1e-9)
    np.testing.assert_allclose(preconditioner.norms(data), np.sqrt(np.einsum("nd,nd->n", data, expected)), rtol=1e-9)


@pytest.mark.parametrize("identity", [False, True])
def test_store_norms_agree_with_direct_norms(tmp_path, identity):
    data = rows(60, 5)
    store = write_store(tmp_path / "s", data)
    preconditioner = Identity(LAYERS) if identity else Preconditioner(rows_autocorrelation(data, LAYERS), LAYERS)
    np.testing.assert_allclose(preconditioner.store_norms(store, "raw"), preconditioner.norms(data), rtol=2e-3)


def test_a_layer_too_wide_for_r_is_refused_with_the_reason():
    layers = [LayerSlice("huge", 0, 100, 100)]
    with pytest.raises(UserError, match="'huge' has 10000 projected dimensions"):
        rows_autocorrelation(np.zeros((1, 10_000)), layers)


def test_a_layer_without_any_gradient_is_left_out(tmp_path):
    data = rows(60, 6)
    data[:, LAYERS[1].span] = 0
    store = write_store(tmp_path / "s", data)
    preconditioner = Preconditioner(rows_autocorrelation(data, LAYERS), LAYERS)
    norms = preconditioner.store_norms(store, "raw")
    assert np.isfinite(norms).all()
    assert (norms > 0).all()
    query = np.ones((1, DIMS))
    assert (preconditioner.apply(query)[:, LAYERS[1].span] == 0).all()
    assert np.abs(preconditioner.apply(query)).max() < 1e6


def test_joint_autocorrelation_is_of_all_dims_with_every_layers_scale_undone(tmp_path):
    data = rows(50, 7).astype(np.float16).astype(np.float64)
    want = sum(np.outer(row, row) for row in data) / 50
    for shards in (1, 7):
        store = write_store(tmp_path / str(shards), data, shards=shards, scales=(8, 0.25, 2), dtype="float32")
        np.testing.assert_allclose(joint_autocorrelation(store, "raw"), want, rtol=1e-12, atol=1e-12)
    again = joint_autocorrelation(store, "raw")
    assert (joint_autocorrelation(store, "raw") == again).all()


def test_joint_preconditioner_is_the_damped_inverse(tmp_path):
    data = rows(20, 8)
    autocorrelation = data.T @ data / 20
    before = autocorrelation.copy()
    preconditioner = JointPreconditioner(autocorrelation, damping_factor=0.1)
    assert (autocorrelation == before).all()
    damped = autocorrelation + 0.1 * np.linalg.eigvalsh(autocorrelation).mean() * np.eye(DIMS)
    expected = np.linalg.solve(damped, data.T).T
    np.testing.assert_allclose(preconditioner.apply(data), expected, rtol=1e-8, atol=1e-10)
    norms = np.sqrt(np.einsum("nd,nd->n", data, expected))
    np.testing.assert_allclose(preconditioner.norms(data), norms, rtol=1e-9)
    store = write_store(tmp_path / "s", data, dtype="float32")
    np.testing.assert_allclose(preconditioner.store_norms(store, "raw"), norms, rtol=1e-6)


def test_without_any_gradient_joint_k_is_zero(tmp_path):
    store = write_store(tmp_path / "s", np.zeros((5, DIMS)))
    preconditioner = JointPreconditioner(joint_autocorrelation(store, "raw"))
    query = np.ones((2, DIMS))
    assert not preconditioner.apply(query).any()
    assert not preconditioner.norms(query).any()
