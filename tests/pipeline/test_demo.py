"""The tiny demonstration end to end: what it holds, its golden numbers, and that a second run does nothing."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from backend.catalogue.database import open_catalogue, read_session
from backend.catalogue.models import Output, Prompt, Ranking, Run
from backend.core.artifacts import Home, read_manifest
from backend.core.files import read_jsonl
from backend.core.metrics import BUCKETS
from backend.core.records import TASKS
from backend.gradients.store import GradientStore
from backend.pipeline.serving import web_process
from backend.settings import Settings
from tests.command import digests, proponent
from tests.oracles.trackstar import crossing_lambda, trackstar_scores

GOLDEN = Path(__file__).parents[1] / "assets" / "tiny_demo.json"
METHODS = {"trackstar", "bm25", "trackstar-general", "gradient-dot", "gradient-cosine", "random"}
METHODS |= {"logra", "logra-relatif", "trak", "length", "representation"}
MODEL_FREE = {"bm25", "length", "random"}


def test_status_and_contents(tiny_demo):
    status = json.loads(proponent(tiny_demo, "status", "--json").stdout)
    assert status["demo"] == {"complete": True, "stage": None}
    assert set(status["prompts"]["by_task"]) == set(TASKS)
    assert {run["method"] for run in status["runs"]} == METHODS


def test_golden_metrics(tiny_demo):
    """Refactoring must not move these; `UPDATE_GOLDEN=1` writes them anew after a change that is meant to."""
    rows = json.loads(proponent(tiny_demo, "evaluate", "--json").stdout)
    assert {row["bucket"] for row in rows if row["task"] == "facts"} == {None, *BUCKETS[1:]}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps(rows, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert [(row["method"], row["task"], row["bucket"], row["n"]) for row in rows] == [
        (row["method"], row["task"], row["bucket"], row["n"]) for row in golden
    ]
    for row, expected in zip(rows, golden, strict=True):
        # Other processors round otherwise, and a training amplifies it; what needs no model is exact.
        slack = 1e-9 if row["method"] in MODEL_FREE else 1.0 / row["n"] if row["bucket"] else 0.12
        for name in ("mrr", "recall_at_10", "precision_at_1", "precision_at_10"):
            assert row[name] == pytest.approx(expected[name], abs=slack), row


def test_a_second_run_changes_nothing(tiny_demo):
    before, times = digests(tiny_demo), {path: path.stat().st_mtime_ns for path in tiny_demo.rglob("MANIFEST.json")}
    assert proponent(tiny_demo, "demo", "--tiny", "--no-serve").returncode == 0
    assert digests(tiny_demo) == before
    assert {path: path.stat().st_mtime_ns for path in tiny_demo.rglob("MANIFEST.json")} == times


def test_every_prompt_has_an_answer_samples_and_a_ranking_by_every_method(tiny_demo):
    with read_session(open_catalogue(Settings(home=tiny_demo))) as session:
        prompts = session.query(Prompt).all()
        outputs = {output.prompt_pk: output for output in session.query(Output)}
        runs = {run.id: run.method for run in session.query(Run)}
        ranked: dict[int, set[str]] = {}
        for ranking in session.query(Ranking):
            ranked.setdefault(ranking.prompt_pk, set()).add(runs[ranking.run_id])
            assert sum(ranking.histogram) == ranking.scored == 298
        for prompt in prompts:
            assert ranked[prompt.pk] == METHODS
            assert outputs[prompt.pk].samples
            assert 0 <= outputs[prompt.pk].completion_probability <= 1


def test_trackstar_of_the_real_store_is_its_definition(tiny_demo):
    """The whole chain, from the rows on disk, by an independent implementation with exact matrix roots."""
    home = Home(tiny_demo)
    run = next(
        manifest
        for run_id in home.finished("run")
        if (manifest := read_manifest(home.folder("run", run_id))).config["method"] == "trackstar"
    )
    store, asked = (GradientStore.open(home, run.inputs[name]) for name in ("store", "query_store"))
    passages, queries = store.values("v"), asked.values("v")
    folder = home.folder("run", run.id)
    facts = json.loads((folder / "query_facts.json").read_text())
    tasks = [row["task"] for row in read_jsonl(home.folder("queries", run.inputs["queries"]) / "queries.jsonl")]
    spans = [layer.span for layer in store.plan.layers]

    def second_moments(rows: np.ndarray) -> list[np.ndarray]:
        return [rows[:, span].T @ rows[:, span] / len(rows) for span in spans]

    train, evaluation = second_moments(passages), second_moments(queries[[task == "facts" for task in tasks]])
    weight = crossing_lambda(train, evaluation, store.plan.dims // 64)
    stored = np.load(folder / "proponents.i32.npy"), np.load(folder / "proponent_scores.f64.npy")
    for query in (0, len(tasks) - 1):
        mixed = tasks[query] == "facts"
        assert facts[query]["lambda"] == pytest.approx(weight if mixed else 0.0, abs=1e-6)
        blocks = [weight * e + (1 - weight) * t for t, e in zip(train, evaluation, strict=True)] if mixed else train
        want = trackstar_scores(passages, queries[query : query + 1], blocks, spans)[0]
        order = np.argsort(-want)[:20]
        np.testing.assert_allclose(stored[1][query][:20], want[order], rtol=1e-3, atol=1e-4)
        assert len(set(stored[0][query][:20]) & set(order.tolist())) >= 19


def test_the_catalogue_can_be_lost(tiny_demo, tmp_path):
    """Without its database the home is whole again after the next run."""
    home = tmp_path / "home"
    shutil.copytree(tiny_demo, home)
    before = proponent(home, "evaluate", "--json").stdout
    for path in home.glob("proponent.db*"):
        path.unlink()
    assert proponent(home, "demo", "--tiny", "--no-serve").returncode == 0
    assert proponent(home, "evaluate", "--json").stdout == before


def test_the_site_answers_before_there_is_anything(tmp_path):
    settings = Settings(home=tmp_path / "home", port=0)
    with web_process(settings) as web, urllib.request.urlopen(web.url) as answer:
        assert answer.status == 200
        assert b"proponent demo" in answer.read()
