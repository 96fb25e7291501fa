"""LoGra, its l-RelatIF and TRAK against direct formulas, on exact gradients and on rows of a store."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.core.artifacts import Home
from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.curvature.autocorrelation import LARGEST_BLOCK
from backend.gradients.build import EncodableModel, EncodeConfig, build_passage_store, build_query_store
from backend.gradients.examples import Example
from backend.gradients.layers import select_layers
from backend.gradients.projections import ProjectionConfig
from backend.gradients.store import GradientStore
from backend.methods.logra import LoGra
from backend.methods.protocol import EvaluationQueries, MethodInputs
from backend.methods.registry import find_method
from tests.oracles import influence
from tests.oracles.gradients import exact_gradients, exact_output_gradients
from tests.oracles.trackstar import trackstar_scores
from tests.synthetic_stores import DIMS, LAYERS, write_store
from tests.tiny_models import VOCABULARY, tiny_llama

SPANS = [layer.span for layer in LAYERS]
FACTS, OTHERS = 20, 5
QUERIES = [Query(f"q{at}", "facts" if at < FACTS else "controls", "A", "b") for at in range(FACTS + OTHERS)]
PASSAGES = [Passage(f"p{at:03d}", "word " * (at % 7)) for at in range(150)]


# --- exact gradients of a model, nothing projected away


def confident_llama() -> torch.nn.Module:
    """A small Llama whose probabilities are not all next to nothing."""
    model = tiny_llama(hidden=8, layers=1)
    with torch.no_grad():
        model.lm_head.weight *= 4
    return model


class Exact:
    """Stores at full rank, and what plain autograd says of the same examples."""

    def __init__(self, root: Path) -> None:
        random = np.random.default_rng(5)
        oracle = confident_llama()
        layers = select_layers(oracle).tracked
        self.names = [layer.name for layer in layers]
        starts = np.cumsum([0, *(layer.outputs * layer.inputs for layer in layers)])
        self.spans = [slice(a, b) for a, b in pairwise(starts)]
        passages = [random.integers(0, VOCABULARY, length).tolist() for length in random.integers(2, 14, 40)]
        asked = [self._completed(oracle, random.integers(0, VOCABULARY, 5).tolist()) for _ in range(8)]
        self.passages = np.array([self._row(exact_gradients(oracle, ids, 1, self.names)) for ids in passages])
        self.asked = np.array([self._row(exact_gradients(oracle, ids, 5, self.names)) for ids in asked])
        of_passages = [exact_output_gradients(oracle, ids, 1, self.names) for ids in passages]
        of_asked = [exact_output_gradients(oracle, ids, 5, self.names) for ids in asked]
        self.passage_outputs = np.array([self._row(gradients) for gradients, _ in of_passages])
        self.asked_outputs = np.array([self._row(gradients) for gradients, _ in of_asked])
        self.passage_probabilities = np.array([probability for _, probability in of_passages])
        self.asked_probabilities = np.array([probability for _, probability in of_asked])
        self.store, self.gradients = self._stores(Home(root), passages, asked)

    @staticmethod
    def _completed(model: torch.nn.Module, prompt: list[int]) -> list[int]:
        """The prompt and its likeliest next token."""
        with torch.no_grad():
            return [*prompt, int(model(input_ids=torch.tensor([prompt])).logits[0, -1].argmax())]

    def _row(self, gradients: dict[str, torch.Tensor]) -> np.ndarray:
        return torch.cat([gradients[name].flatten() for name in self.names]).numpy()

    @staticmethod
    def _stores(home: Home, passages: list[list[int]], asked: list[list[int]]) -> tuple[GradientStore, np.ndarray]:
        config = EncodeConfig(projection=ProjectionConfig(rank=None), dtype="float32")
        examples = [Example(f"p{at}", ids, 1) for at, ids in enumerate(passages)]
        store_id = build_passage_store(
            home,
            "m",
            lambda: EncodableModel(confident_llama(), {}, None),
            "c",
            lambda: (examples, []),
            config,
            lambda *_: None,
        )
        query_store_id = build_query_store(
            home,
            "m",
            lambda: EncodableModel(confident_llama(), {}, None),
            "q",
            lambda: [Example(f"q{at}", ids, 5) for at, ids in enumerate(asked)],
            store_id,
            config,
        )
        return GradientStore.open(home, store_id), GradientStore.open(home, query_store_id).values("raw")

    def scores(self, slug: str) -> np.ndarray:
        """(queries, passages) of a method over the stores."""
        inputs = MethodInputs([Passage(f"p{at}", "") for at in range(40)], self.store)
        queries = [Query(f"q{at}", "facts", "", "") for at in range(8)]
        scorer = find_method(slug).prepare(inputs).score(queries, self.gradients).scorer
        return np.array([scorer.exact(at, np.arange(40)) for at in range(8)])


@pytest.fixture(scope="module")
def exact(tmp_path_factory) -> Exact:
    return Exact(tmp_path_factory.mktemp("exact"))


def assert_close(found: np.ndarray, wanted: np.ndarray, relative: float) -> None:
    """Each query's scores, as a vector, to a relative error."""
    errors = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert errors.max() < relative


def test_logra_of_exact_gradients(exact):
    wanted = influence.logra(exact.passages, exact.asked, exact.spans)
    assert_close(exact.scores("logra"), wanted, 2e-5)


def test_relative_logra_of_exact_gradients(exact):
    wanted = influence.relative_logra(exact.passages, exact.asked, exact.spans)
    assert_close(exact.scores("logra-relatif"), wanted, 2e-5)


def test_trak_of_exact_gradients_but_for_the_querys_own_factor(exact):
    wanted = influence.trak(exact.passages, exact.passage_outputs, exact.passage_probabilities, exact.asked_outputs)
    probabilities = exact.asked_probabilities
    assert np.ptp(probabilities) > 0.2, "the factor differs between queries"
    found = exact.scores("trak")
    assert_close(found / (1 - probabilities)[:, None], wanted, 2e-5)
    assert (found.argmax(axis=1) == wanted.argmax(axis=1)).all()


# --- rows of a store


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> tuple[MethodInputs, np.ndarray, np.ndarray]:
    """A store whose row set v holds twice the rows of raw; rows and queries' gradients in raw."""
    folder = tmp_path_factory.mktemp("stores")
    random = np.random.default_rng(11)
    spread = random.uniform(0.2, 3, DIMS)
    rows = (random.standard_normal((150, DIMS)) * spread).astype(np.float16).astype(float)
    asked = random.standard_normal((len(QUERIES), DIMS)) * spread[::-1]
    store = write_store(folder / "passages", rows, dtype="float32")
    evaluation = EvaluationQueries("set", write_store(folder / "queries", asked, dtype="float32"), np.arange(FACTS))
    return MethodInputs(PASSAGES, store, evaluation), rows, asked


def scored(slug: str, given: MethodInputs, asked: np.ndarray) -> np.ndarray:
    scorer = find_method(slug).prepare(given).score(QUERIES, asked).scorer
    return np.array([scorer.exact(at, np.arange(150)) for at in range(len(QUERIES))])


def test_relative_is_per_unit_of_change_over_the_corpus(inputs):
    """l-RelatIF's idea: a passage's size is the root mean square of what it changes over the corpus, layer by layer."""
    given, rows, asked = inputs
    relative = LoGra("logra-relatif", relative=True, damping_factor=1e-9).prepare(given)
    plain = LoGra("logra", relative=False, damping_factor=1e-9).prepare(given)
    size = np.zeros(150)
    for span in SPANS:
        inverse = np.linalg.inv(rows[:, span].T @ rows[:, span] / 150)
        size += np.mean((rows[:, span] @ inverse @ rows[:, span].T) ** 2, axis=0)
    positions = np.arange(150)
    for query in range(3):
        alone = asked[query : query + 1]
        left = relative.score(QUERIES[:1], alone).scorer.exact(0, positions)
        right = plain.score(QUERIES[:1], alone).scorer.exact(0, positions) / np.sqrt(size)
        np.testing.assert_allclose(left, right, rtol=1e-5)


def test_trak_sees_what_layers_share(inputs):
    """With its one R it is not LoGra, unless the layers have nothing to do with each other."""
    given, rows, asked = inputs
    wanted = influence.logra(rows, asked, [slice(0, DIMS)])
    assert_close(scored("trak", given, asked), wanted, 1e-6)
    assert np.abs(scored("logra", given, asked) - wanted).max() > 0.01 * np.abs(wanted).max()


def test_the_other_row_set_of_each(inputs):
    """Twice the gradients on both sides and a quarter of K: the same scores, or half of them where one side is unit."""
    given, _, asked = inputs
    for slug in ("logra", "trak"):
        np.testing.assert_allclose(scored(f"{slug}-v", given, 2 * asked), scored(slug, given, asked), rtol=1e-5)
        assert find_method(f"{slug}-v").config() == {**find_method(slug).config(), "row_set": "v"}
    relative = scored("logra-relatif", given, asked)
    np.testing.assert_allclose(scored("logra-relatif-v", given, 2 * asked), relative, rtol=1e-4)


def test_trackstar_dot_is_trackstar_without_its_norms(inputs):
    given, _, asked = inputs
    prepared = find_method("trackstar").prepare(given)
    mixed, train = prepared.geometries[1], prepared.geometries[0]
    unit = scored("trackstar", given, 2 * asked)
    for task, geometry in ((slice(0, FACTS), mixed), (slice(FACTS, None), train)):
        lengths = geometry.preconditioner.norms(2 * asked[task])
        wanted = unit[task] * lengths[:, None] * geometry.passage_norms
        np.testing.assert_allclose(scored("trackstar-dot", given, 2 * asked)[task], wanted, rtol=1e-9)


def test_logra_over_both_lengths_is_general_trackstar_without_v(inputs):
    """The rows of the ablation fit together."""
    given, rows, asked = inputs
    blocks = [rows[:, span].T @ rows[:, span] / 150 for span in SPANS]
    unit = trackstar_scores(rows, asked, blocks, SPANS)
    lengths = np.sqrt(np.diag(influence.logra(rows, rows, SPANS)))
    # The queries' own lengths are all that is missing: a constant for each query.
    ratio = scored("logra", given, asked) / lengths / unit
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-5)


EVERY = ("trak", "trak-v", "logra", "logra-v", "logra-relatif", "logra-relatif-v", "trackstar-dot", "length")


@pytest.fixture(scope="module")
def prepared(inputs) -> dict[str, tuple[object, np.ndarray]]:
    """Slug -> (prepared method, scores of each query alone)."""
    given, _, asked = inputs
    made = {}
    for slug in EVERY:
        method = find_method(slug).prepare(given)
        alone = [
            method.score(QUERIES[at : at + 1], asked[at : at + 1]).scorer.exact(0, np.arange(150))
            for at in range(len(QUERIES))
        ]
        made[slug] = method, np.array(alone)
    return made


@pytest.mark.parametrize("slug", EVERY)
@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.integers(0, FACTS + OTHERS - 1), min_size=1, max_size=9))
def test_a_query_has_the_same_scores_alone_and_among_others(inputs, prepared, slug, chosen):
    method, alone = prepared[slug]
    scorer = method.score([QUERIES[at] for at in chosen], inputs[2][chosen]).scorer
    together = np.concatenate([tile.scores for tile in scorer.tiles()], axis=1 if slug != "length" else 0)
    for at, query in enumerate(chosen):
        exact = scorer.exact(at, np.arange(150))
        np.testing.assert_allclose(exact, alone[query], rtol=1e-9, atol=1e-12 * np.abs(alone[query]).max())
        np.testing.assert_allclose(together[at], exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_trak_is_refused_above_its_limit_before_anything_is_read():
    plan = SimpleNamespace(dims=LARGEST_BLOCK + 1)
    store = SimpleNamespace(plan=plan, folder=Path("stores/abc"))
    with pytest.raises(UserError, match=r"8193 projected dimensions in all.*up to 8192") as refused:
        find_method("trak").prepare(MethodInputs(PASSAGES, store))
    assert "smaller rank" in str(refused.value.remedy)


def test_run_facts_say_what_was_done(inputs):
    given, _, asked = inputs
    assert find_method("trak").config()["query_factor"] == "1 / (1 - p) left out"
    for slug, norms in (("trak", False), ("logra", False), ("trackstar-dot", False), ("logra-relatif", True)):
        scoring = find_method(slug).prepare(given).score(QUERIES, asked)
        assert scoring.facts == {"r_train": {"n": 150}}
        assert ("norms.f32" in scoring.arrays) == norms


def test_length_is_the_words_of_a_passage_whatever_is_asked():
    texts = ["It's two-fold.", "", "...", "one two  three\nfour"]
    passages = [Passage(str(at), text) for at, text in enumerate(texts)]
    scorer = find_method("length").prepare(MethodInputs(passages)).score(QUERIES[:2], None).scorer
    for query in range(2):
        assert scorer.exact(query, np.arange(4)).tolist() == [3, 1, 1, 4]
