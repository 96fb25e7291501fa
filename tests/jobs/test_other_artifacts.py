"""Questions by methods that read something other than the usual store: the worker finds what their runs name."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from backend.catalogue.database import read_session
from backend.jobs.subjects import subjects
from backend.pipeline.own_data import rank_queries
from backend.pipeline.workspace import Workspace
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
