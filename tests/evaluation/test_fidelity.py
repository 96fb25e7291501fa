"""Fidelity of projected dot products: against gradients by plain autograd, and the correlations by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from backend.evaluation import fidelity
from backend.evaluation.fidelity import FidelitySubject, agreement, measure_fidelity
from backend.gradients.build import EncodableModel, Example
from backend.gradients.layers import select_layers
from backend.gradients.second_moment import FactoredSecondMoment
from tests.oracles.gradients import exact_gradients
from tests.tiny_models import VOCABULARY, tiny_llama


def test_correlations_are_means_over_queries_and_equal_values_share_a_rank() -> None:
    right = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    left = np.array([[2.0, 4.0, 6.0, 80.0], [4.0, 3.0, 2.0, 1.0]])
    found = agreement(left, right)
    assert found["spearman"] == pytest.approx(0.0)
    assert found["pearson"] == pytest.approx((np.corrcoef(left[0], right[0])[0, 1] - 1) / 2)
    tied = agreement(np.array([[1.0, 1.0, 2.0, 3.0]]), right[:1])
    assert tied["spearman"] == pytest.approx(np.corrcoef([1.5, 1.5, 3.0, 4.0], right[0])[0, 1])
    assert agreement(right[:1] + 5, right[:1]) == pytest.approx({"pearson": 1, "spearman": 1, "noise": 0})
    assert agreement(np.zeros((1, 4)), right[:1]) == {"pearson": 0.0, "spearman": 0.0, "noise": 1.0}
    assert agreement(right[:1], np.zeros((1, 4)))["noise"] == 0.0
    assert agreement(np.vstack([-right, right[:1]]), np.vstack([right, right[:1]]))["noise"] == pytest.approx(2.0)


@pytest.mark.parametrize("most_bytes", [fidelity.MOST_BYTES, 1])
def test_it_grows_with_rank_and_is_one_where_nothing_is_projected(
    monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(fidelity, "RANKS", (1, 4, 12, 23))
    monkeypatch.setattr(fidelity, "MOST_BYTES", most_bytes)
    model = tiny_llama()
    oracle = copy.deepcopy(model)
    layers = select_layers(model).tracked
    generator = torch.Generator().manual_seed(1)
    moments = {
        layer.name: FactoredSecondMoment(
            torch.rand(layer.outputs, generator=generator) + 0.01, torch.rand(layer.inputs, generator=generator) + 0.01
        )
        for layer in layers
    }
    examples = [
        Example(str(n), torch.randint(0, VOCABULARY, (5 + n % 4,), generator=generator).tolist(), 1 + n % 3)
        for n in range(24)
    ]
    subject = FidelitySubject(EncodableModel(model, {}, None), moments, examples[3:], examples[:3], examples)
    said: list[tuple[int, int]] = []
    rows = measure_fidelity(subject, 0, lambda done, total, message: said.append((done, total)))
    assert said[-1] == (2 * 21, 2 * 21)
    expected = [(s, kind, r) for s in ("raw", "v") for kind in ("random", "pca") for r in (1, 4, 12, 23)]
    assert [(row["row_set"], row["projection"], row["rank"]) for row in rows] == expected
    assert [row["dims"] for row in rows][:2] == [len(layers), 16 * len(layers)]
    for start in (0, 4, 8, 12):
        first, *_, last = [row["pearson"] for row in rows[start : start + 4]]
        assert first < last
    assert all(rows[at]["pearson"] > rows[at - 4]["pearson"] for at in (6, 14)), "axes are truer than a random draw"
    # No layer is wider than 24: that rank keeps everything, and must agree with gradients by another way.
    exact = {name: np.empty((3, 21)) for name in ("raw", "v")}
    gradients = [
        exact_gradients(oracle, list(example.ids), example.first_target, [layer.name for layer in layers])
        for example in examples
    ]
    for name, of_name in exact.items():
        for q in range(3):
            for p in range(21):
                total = 0.0
                for layer in layers:
                    moment = moments[layer.name]
                    V = torch.outer(moment.row.double(), moment.col.double()) / moment.row.double().mean()
                    product = gradients[q][layer.name] * gradients[3 + p][layer.name]
                    total += float((product / V if name == "v" else product).sum())
                of_name[q, p] = total
    projections = fidelity.layer_projections(layers, fidelity.ProjectionConfig(24), moments)
    found = fidelity._products(
        subject, {(name, "random", 24): projections[name] for name in exact}, lambda done, total: None
    )
    for name, of_name in exact.items():
        assert agreement(found[name, "random", 24], of_name)["pearson"] == pytest.approx(1.0, abs=1e-6)
        np.testing.assert_allclose(found[name, "random", 24], of_name, rtol=1e-3, atol=1e-4 * np.abs(of_name).max())
