"""Questions by methods that read something other than the usual store: the worker finds what their runs name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, select

from backend.catalogue.database import read_session
from backend.catalogue.models import Output, Prompt
from backend.core.artifacts import read_manifest
from backend.core.errors import UserError
from backend.jobs.subjects import subjects
from backend.methods import registry
from backend.pipeline import stages
from backend.pipeline.own_data import rank_queries
from backend.pipeline.workspace import Workspace
from backend.search.scoring import RowScorer, Scoring
from backend.settings import Settings
from tests.command import digests
from tests.jobs.test_worker import asked, listed, question, stored_facts


def test_a_question_by_a_method_over_principal_axes_gets_the_stored_list(home: Path, database: Engine) -> None:
    """The store is made where it is missing, and taken again after that."""
    slugs = ["logra-pca", "trackstar-pca"]
    with Workspace(Settings(home=home, device="cpu", threads=1), "test") as workspace:
        runs = rank_queries(workspace, slugs, None, None, None)
        before = workspace.home.finished("store")
        assert rank_queries(workspace, slugs, None, None, None) == runs
        assert workspace.home.finished("store") == before
    assert_asked_is_stored(home, database, slugs)


@pytest.mark.parametrize("method", ["representation", pytest.param("dense", marks=pytest.mark.full)])
def test_a_question_by_embeddings_gets_the_stored_list(home: Path, database: Engine, method: str) -> None:
    with Workspace(Settings(home=home, device="cpu", threads=1), "test") as workspace:
        rank_queries(workspace, [method], None, None, None)
        assert workspace.home.finished("embeddings")
    assert_asked_is_stored(home, database, [method])
    with read_session(database) as session:
        subject = subjects(session)[0]
        probabilities = select(Output.completion_probability).where(Output.prompt_pk == Prompt.pk, Prompt.asked)
        said = session.scalars(probabilities).all()
    if method == "dense":
        assert (subject.runs[method].model_id, said) == (None, [])
    else:
        assert subject.runs[method].model_id == subject.model_id
        assert len(said) == 3
        assert all(0 < probability <= 1 for probability in said), "the model is asked what it says itself"


@dataclass(frozen=True)
class ShortFirst:
    """A user's own method: a file with no more than the protocol asks for."""

    slug: str = "short-first"
    row_set: str | None = None

    def config(self):
        return {}

    def prepare(self, inputs):
        self_scores = np.array([1 / (1 + len(passage.text)) for passage in inputs.passages])

        class Scores(RowScorer):
            def row(self, query: int) -> np.ndarray:
                return self_scores

        class Prepared:
            def score(self, queries, gradients):
                return Scoring(Scores(len(queries)))

        return Prepared()


def test_an_own_method_needs_to_say_nothing_of_stores_and_embeddings(
    home: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.register(ShortFirst())
    with Workspace(Settings(home=home, device="cpu", threads=1), "test") as workspace:
        rank_queries(workspace, ["short-first"], None, None, None)
    assert_asked_is_stored(home, database, ["short-first"])


def test_a_store_of_the_other_kind_is_refused(home: Path) -> None:
    with Workspace(Settings(home=home, device="cpu", threads=1), "test") as workspace:
        store = next(
            manifest
            for store_id in workspace.home.finished("store")
            if (manifest := read_manifest(workspace.home.folder("store", store_id))).inputs["corpus"]
        )
        (query_set_id, *_) = workspace.home.finished("queries")
        subject = stages.Subject(str(store.inputs["corpus"]), query_set_id, store.inputs["model"], store.id)
        with pytest.raises(UserError, match="encode --projection pca"):
            stages.rank_passages(workspace, "logra-pca", subject, lambda done, total, message: None)


def assert_asked_is_stored(home: Path, database: Engine, methods: list[str]) -> None:
    """Stored facts asked again have the scores of their stored lists."""
    with read_session(database) as session:
        subject = subjects(session)[0]
    facts, before = stored_facts(database, 3), digests(home)
    pairs = [(method, prompt) for method in methods for prompt in facts]
    jobs = asked(home, database, [question(subject, m, p.prompt, p.completion, "facts") for m, p in pairs])
    for (method, prompt), job in zip(pairs, jobs, strict=True):
        assert (job.state, job.error) == ("done", None)
        run_id = subject.runs[method].id
        stored, answer = listed(database, run_id, prompt.slug), listed(database, run_id, job.slug or "")
        first = list(stored)[:20]
        assert len(first) == 20
        assert [answer[passage] for passage in first] == pytest.approx([stored[p] for p in first], rel=1e-3)
    assert digests(home) == before, "a question changes no artifact"
