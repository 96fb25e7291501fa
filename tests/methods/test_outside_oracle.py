"""Gradient products from the hooks to the ranking's scores, against a package that is none of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.core.artifacts import Home
from backend.core.records import Passage, Query
from backend.gradients.build import EncodableModel, EncodeConfig, build_passage_store, build_query_store
from backend.gradients.examples import Example
from backend.gradients.layers import select_layers
from backend.gradients.projections import ProjectionConfig
from backend.gradients.store import GradientStore
from backend.methods.protocol import MethodInputs
from backend.methods.registry import find_method
from tests.tiny_models import VOCABULARY, tiny_llama


@pytest.mark.filterwarnings(r"ignore:.*torch\.cuda\.amp\.GradScaler:FutureWarning")
@pytest.mark.full
def test_gradient_products_are_those_of_kronfluence(tmp_path: Path) -> None:
    pytest.importorskip("kronfluence", reason="make installs it")
    from tests.oracles.kronfluence_scores import identity_scores

    random = np.random.default_rng(0)
    passages = [(random.integers(0, VOCABULARY, 9).tolist(), 1) for _ in range(12)]
    queries = [(random.integers(0, VOCABULARY, 9).tolist(), first) for first in (5, 6, 7, 8)]
    layers = [layer.name for layer in select_layers(tiny_llama()).tracked]
    products, of_passages, of_queries = identity_scores(tiny_llama(), layers, tmp_path / "oracle", passages, queries)

    home, model = Home(tmp_path / "home"), EncodableModel(tiny_llama(), {}, None)
    config = EncodeConfig(projection=ProjectionConfig(rank=None), dtype="float32")
    given, asked = (
        [Example(f"{name}{at}", ids, first) for at, (ids, first) in enumerate(sequences)]
        for name, sequences in (("p", passages), ("q", queries))
    )
    store_id = build_passage_store(home, "m", lambda: model, "c", lambda: (given, []), config, lambda *_: None)
    query_store_id = build_query_store(home, "m", lambda: model, "s", lambda: asked, store_id, config)
    gradients = GradientStore.open(home, query_store_id).values("raw")
    inputs = MethodInputs([Passage(example.id, "") for example in given], GradientStore.open(home, store_id))

    def scores(slug: str) -> np.ndarray:
        asked_for = [Query(example.id, "facts", "", "") for example in asked]
        scorer = find_method(slug).prepare(inputs).score(asked_for, gradients).scorer
        return np.array([scorer.exact(at, np.arange(12)) for at in range(4)])

    np.testing.assert_allclose(scores("gradient-dot"), products, rtol=1e-3, atol=1e-4 * np.abs(products).max())
    cosines = products / np.sqrt(np.outer(of_queries, of_passages))
    np.testing.assert_allclose(scores("gradient-cosine"), cosines, rtol=1e-3, atol=1e-4)
