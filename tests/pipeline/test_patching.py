"""`proponent evaluate tail-patch` over the tiny demonstration: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import select

from backend.catalogue.database import open_catalogue, read_session, write_session
from backend.catalogue.models import Metric, PatchSet, Prompt, RankedPassage, Ranking, Run
from backend.core.artifacts import Home, read_manifest
from backend.core.errors import UserError
from backend.core.files import read_jsonl
from backend.core.metrics import BUCKETS
from backend.evaluation.patches import PatchConfig
from backend.evaluation.tail_patch import TailPatch
from backend.models.loading import load_model
from backend.pipeline.patching import evaluate_tail_patch
from backend.pipeline.workspace import Workspace
from backend.settings import Settings
from tests.command import digests, proponent

KEYS = ["method", "task", "bucket", "n", "tail_patch", "tail_patch_1", "tail_patch_3", "tail_patch_5"]
BASELINES = {"random passage", "entailing passages"}
FOUR = ("evaluate", "tail-patch", "--queries", "4", "--json")


@pytest.fixture(scope="module")
def measured(tiny_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A copy of the tiny demonstration with four queries measured by the command; stdout and stderr of it."""
    home = shutil.copytree(tiny_demo, tmp_path_factory.mktemp("measured") / "home")
    done = proponent(home, *FOUR)
    assert done.returncode == 0, done.stderr
    return home, done.stdout, done.stderr


@pytest.fixture
def work(tiny_demo: Path, tmp_path: Path) -> Any:
    home = shutil.copytree(tiny_demo, tmp_path / "home")
    threads = torch.get_num_threads()
    with Workspace(Settings(home=home, threads=1), "evaluate") as made:
        yield made
    torch.set_num_threads(threads)


def test_rows_have_the_contract_s_shape(measured):
    home, stdout, stderr = measured
    rows = json.loads(stdout)
    assert all(list(row) == KEYS for row in rows)
    assert {row["task"] for row in rows} == {"facts"}
    runs = json.loads(proponent(home, "status", "--json").stdout)["runs"]
    assert {row["method"] for row in rows} == {run["method"] for run in runs} | BASELINES
    assert {row["n"] for row in rows if row["bucket"] is None} == {4}
    for method in BASELINES:
        places = [(None, *BUCKETS).index(row["bucket"]) for row in rows if row["method"] == method]
        assert len(places) > 1
        assert places == sorted(places), "all first, then from seldom to often stated"
    assert "pairs of passage and query" in stderr
    value = {row["method"]: row["tail_patch_1"] for row in rows if row["bucket"] is None}
    assert value["bm25"] > value["random passage"]


def test_again_it_changes_nothing_and_prints_the_same(measured):
    home, stdout, _ = measured
    before = digests(home)
    again = proponent(home, *FOUR)
    assert again.stdout == stdout
    assert "pairs of passage" not in again.stderr
    assert digests(home) == before
    text = proponent(home, *FOUR[:-1]).stdout
    assert "entailing passages" in text
    assert "percentage points" in text
    assert proponent(home, "verify").returncode == 0


def test_a_catalogue_built_from_the_artifacts_is_the_same(measured, tmp_path):
    def table() -> Any:
        return json.loads(proponent(home, "evaluate", "--json").stdout)

    home = shutil.copytree(measured[0], tmp_path / "home")
    before = table()
    facts = [row for row in before if row["task"] == "facts" and row["bucket"] is None]
    assert all(isinstance(row["tail_patch"], float) for row in facts)
    assert "tail-patch" in proponent(home, "evaluate").stdout
    for path in home.glob("proponent.db*"):
        path.unlink()
    assert proponent(home, *FOUR).stdout == measured[1]
    assert table() == before


def test_what_is_beside_the_passages_is_what_one_step_does(measured):
    home = Home(measured[0])
    (patches_id,) = home.finished("patches")
    manifest = read_manifest(home.find("patches", patches_id))
    with read_session(open_catalogue(f"sqlite:///{home.root / 'proponent.db'}")) as session:
        rows = session.execute(
            select(Prompt, RankedPassage.rank, RankedPassage.tail_patch, RankedPassage.passage_pk)
            .join(Ranking, Ranking.prompt_pk == Prompt.pk)
            .join(RankedPassage, RankedPassage.ranking_pk == Ranking.pk)
            .join(Run, Run.id == Ranking.run_id)
            .where(RankedPassage.tail_patch.is_not(None), Run.method == "trackstar")
            .order_by(RankedPassage.ranking_pk, RankedPassage.rank)
        ).all()
        assert session.get_one(PatchSet, patches_id).manifest["facts"] == manifest.facts
        metric = session.scalars(select(Metric).where(Metric.name == "tail_patch_3").limit(1)).one()
    assert metric.n > 0
    run_id = next(run for run in manifest.config["runs"] if run.startswith("trackstar-") and "general" not in run)
    positions = np.load(home.find("run", run_id) / "proponents.i32.npy")
    passages = list(read_jsonl(home.find("corpus", str(manifest.inputs["corpus"])) / "passages.jsonl"))
    torch.set_num_threads(1)
    loaded = load_model(home, str(manifest.inputs["model"]), "cpu")
    patch = TailPatch.open(home, loaded)
    assert {rank for _, rank, _, _ in rows} == set(range(1, 11))
    for prompt, rank, change, _ in rows[::7]:
        text = passages[positions[prompt.position, rank - 1]]["text"]
        query = loaded.tokenizer.encode_query(prompt.prompt, prompt.completion)
        assert change == patch.changes(loaded.tokenizer.encode_passage(text).ids, [query])[0]


def test_chosen_runs_alone(work):
    runs = work.home.finished("run")
    bm25 = next(run for run in runs if run.startswith("bm25-") and _facts(work, run))
    rows = evaluate_tail_patch(work, [bm25], PatchConfig(k=1, queries=2))
    assert {row["method"] for row in rows} == {"bm25"} | BASELINES
    assert all(row["tail_patch"] is None and row["tail_patch_1"] is not None for row in rows)
    (patches_id,) = work.home.finished("patches")
    manifest = read_manifest(work.folder("patches", patches_id))
    assert manifest.config["runs"] == [bm25]
    assert manifest.command == f"proponent evaluate tail-patch --run {bm25} --queries 2 --k 1 --seed 0"


def test_mistakes_are_said(work):
    bm25 = [run for run in work.home.finished("run") if run.startswith("bm25-")]
    facts = next(run for run in bm25 if _facts(work, run))
    other = next(run for run in bm25 if run != facts)
    for runs, said in (
        (["trackstar-nothing"], "There is no run 'trackstar-nothing'"),
        ([facts, other], "different query sets"),
        ([other], "No fact of the query set"),
    ):
        with pytest.raises(UserError, match=said) as caught:
            evaluate_tail_patch(work, runs, PatchConfig(k=1))
        assert caught.value.remedy
    with write_session(work.engine) as session:  # as if no method had looked at a model
        for run in session.scalars(select(Run)):
            run.model_id = None
    for runs, said in (([], "no run of a model"), ([facts], "No model with weights")):
        with pytest.raises(UserError, match=said):
            evaluate_tail_patch(work, runs, PatchConfig(k=1))
    assert not (work.home.root / "patches").exists()


def test_an_evaluation_makes_no_home_and_takes_its_options_last(tmp_path, tiny_demo):
    done = proponent(tiny_demo, "evaluate", "--json", "tail-patch")
    assert (done.returncode, "come last" in done.stderr) == (1, True)
    done = proponent(tmp_path / "nothing", "evaluate", "tail-patch")
    assert (done.returncode, "no home" in done.stderr) == (1, True)
    assert not (tmp_path / "nothing").exists()


def _facts(work: Workspace, run: str) -> bool:
    query_set_id = str(read_manifest(work.folder("run", run)).inputs["queries"])
    return any(query.task == "facts" for query in work.queries(query_set_id))
