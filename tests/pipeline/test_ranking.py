"""The ranking stage: stores that may not be compared, and a run that is there already."""

from __future__ import annotations

import numpy as np
import pytest

from backend.core.artifacts import Home
from backend.core.errors import IncompatibleStores
from backend.core.records import Passage, Query
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.methods.registry import find_method
from backend.pipeline.ranking import rank
from tests.command import digests
from tests.synthetic_stores import DIMS, FINGERPRINT, write_store

PASSAGES = [Passage(f"p{i}", f"passage {i}") for i in range(20)]
QUERIES = [Query(f"q{i}", "facts", "The capital of X is", "Y") for i in range(3)]


def ranked(tmp_path, method, inputs, query_store):
    return rank(
        Home(tmp_path / "home"),
        find_method(method),
        inputs,
        QUERIES,
        query_store,
        corpus_id="c",
        query_set_id="q",
        model_id="m",
        progress=lambda done, total, message: None,
    )


@pytest.fixture
def stores(tmp_path):
    random = np.random.default_rng(3)
    other = {**FINGERPRINT, "seed": 1}
    return {
        "passages": write_store(tmp_path / "passages", random.standard_normal((20, DIMS))),
        "queries": write_store(tmp_path / "queries", random.standard_normal((3, DIMS)), shards=1),
        "other": write_store(tmp_path / "other", random.standard_normal((3, DIMS)), shards=1, fingerprint=other),
    }


def test_differently_projected_stores_refuse_to_be_compared(stores, tmp_path):
    with pytest.raises(IncompatibleStores, match="differ in their seed"):
        ranked(tmp_path, "gradient-dot", MethodInputs(PASSAGES, stores["passages"]), stores["other"])
    evaluation = EvaluationQueries("set", stores["other"], np.arange(3))
    with pytest.raises(IncompatibleStores, match="differ in their seed"):
        ranked(tmp_path, "trackstar", MethodInputs(PASSAGES, stores["passages"], evaluation), stores["queries"])
    assert digests(tmp_path / "home") == {}


def test_a_finished_run_is_not_made_again(stores, tmp_path):
    inputs = MethodInputs(PASSAGES, stores["passages"])
    first = ranked(tmp_path, "gradient-cosine", inputs, stores["queries"])
    before = digests(tmp_path / "home")
    assert ranked(tmp_path, "gradient-cosine", inputs, stores["queries"]) == first
    assert digests(tmp_path / "home") == before
    assert f"runs/{first}/norms.f32.npy" in before
