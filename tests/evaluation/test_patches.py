"""Tail-patch of whole runs: its numbers, that pairs are measured once, and that a cut-off measurement goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch

from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import InputError, UserError
from backend.core.files import read_jsonl
from backend.core.records import Query
from backend.core.tokenizer import EncodedQuery
from backend.evaluation import patches
from backend.evaluation.patches import PatchConfig, PatchedRun, PatchSubject, measure_runs
from backend.evaluation.tail_patch import TailPatch
from backend.models.loading import LoadedModel, load_model, register_model
from backend.models.training import train
from tests.command import digests
from tests.models.tiny import CONFIG
from tests.models.tiny_corpus import CAPITALS, tiny_passages
from tests.tiny_models import save_gpt2

PASSAGES = tiny_passages()


def queries() -> list[Query]:
    """Five facts, one that nothing states, and a query of another task that something entails."""
    facts = [
        Query(s, "facts", f"The capital of {s} is", f" {o}", entails=tuple(p.id for p in PASSAGES if s in p.text))
        for s, o in CAPITALS.items()
    ]
    other = Query("other", "commonsense", "All roads lead to", " Vesk", entails=("p002",))
    return [facts[0], other, *facts[1:3], Query("unstated", "facts", "Nowhere is", " far", entails=()), *facts[3:]]


def proponents(seed: int, width: int = 12) -> np.ndarray:
    """Lists over the first twenty passages, so that runs and queries share many; the last query's holds four."""
    random = np.random.default_rng(seed)
    lists = np.stack([random.permutation(20)[:width] for _ in queries()]).astype(np.int32)
    lists[-1, 4:] = -1
    return lists


RUNS = (
    PatchedRun("bm25-1", "bm25", proponents(1)),
    PatchedRun("trackstar-2", "trackstar", proponents(2)),
    PatchedRun("none-3", "none", np.full((7, 12), -1, np.int32)),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str]:
    home = Home(Path(tmp_path_factory.mktemp("trained")))
    return home, train(home, "corpus", PASSAGES, CONFIG, quiet)


@pytest.fixture
def home(trained: tuple[Home, str], tmp_path: Path) -> Home:
    """The model's home, for one test to measure in."""
    shutil.copytree(trained[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def loaded(trained: tuple[Home, str]) -> LoadedModel:
    return load_model(trained[0], trained[1], "cpu")


def quiet(done: float, total: float, message: str) -> None:
    """No progress."""


def subject(loaded: LoadedModel, runs: tuple[PatchedRun, ...] = RUNS) -> PatchSubject:
    return PatchSubject(loaded, "corpus", "queries", PASSAGES, queries(), runs)


def measure(home: Home, of: PatchSubject, config: PatchConfig | None = None, **how: Any) -> Path:
    patches_id = measure_runs(
        home, of, config or PatchConfig(), how.get("progress", quiet), how.get("announce", lambda text: None)
    )
    return home.find("patches", patches_id)


def pairs_of(folder: Path) -> dict[tuple[int, int], float]:
    pairs, changes = np.load(folder / "pairs.i32.npy"), np.load(folder / "changes.f64.npy")
    assert pairs.dtype == np.int32
    assert pairs.tolist() == sorted(map(list, {tuple(pair) for pair in pairs.tolist()})), "distinct, by passage"
    return dict(zip(map(tuple, pairs.tolist()), changes.tolist(), strict=True))


def test_changes_are_those_of_each_pair_alone(home: Home, loaded: LoadedModel) -> None:
    folder = measure(home, subject(loaded))
    found = pairs_of(folder)
    patch = TailPatch.open(home, load_model(home, loaded.id, "cpu"))
    for passage, row in list(found)[::17]:
        query = loaded.tokenizer.encode_query(queries()[row].prompt, queries()[row].completion)
        ids = loaded.tokenizer.encode_passage(PASSAGES[passage].text).ids
        assert found[passage, row] == patch.changes(ids, [query])[0]
    rows = {row["position"]: row for row in read_jsonl(folder / "queries.jsonl")}
    assert list(rows) == [0, 2, 3, 5, 6], "facts that a passage entails"
    assert {row for _, row in found} == set(rows)
    for position, row in rows.items():
        query = loaded.tokenizer.encode_query(queries()[position].prompt, queries()[position].completion)
        assert row["probability"] == patch.probability(query)
        assert len(row["random"]) == 1
        assert len(row["entailing"]) == 10
        assert {PASSAGES[place].id for place in row["entailing"]} <= set(queries()[position].entails or ())
        listed = [place for run in RUNS for place in run.proponents[position, :10].tolist() if place >= 0]
        own = {passage for passage, of in found if of == position}
        assert own == {*listed, *row["random"], *row["entailing"]}
    assert verify(folder) == []


def test_means_are_over_lists_and_then_over_queries(home: Home, loaded: LoadedModel) -> None:
    folder = measure(home, subject(loaded))
    found, facts = pairs_of(folder), read_manifest(folder).facts
    means = {(row["method"], row["task"], row["bucket"]): row for row in facts["means"]}
    of_all = means["bm25", "facts", ""]
    lists = [[found[place, row] for place in RUNS[0].proponents[row, :10] if place >= 0] for row in (0, 2, 3, 5, 6)]
    assert len(lists[-1]) == 4, "a short list has the mean of what it holds"
    for name, depth in (("tail_patch", 10), ("tail_patch_1", 1), ("tail_patch_3", 3), ("tail_patch_5", 5)):
        assert of_all[name] == pytest.approx(mean(mean(of[:depth]) for of in lists))
    assert (of_all["run"], of_all["n"]) == ("bm25-1", 5)
    assert means["bm25", "", ""] == {**of_all, "task": ""}
    assert means["bm25", "facts", "50+"] == {**of_all, "bucket": "50+"}
    assert not [key for key in means if key[0] == "none"], "a run without proponents has no means"
    rows = list(read_jsonl(folder / "queries.jsonl"))
    random = means["random passage", "facts", ""]
    assert random["tail_patch"] == pytest.approx(mean(found[row["random"][0], row["position"]] for row in rows))
    entailing = means["entailing passages", "facts", ""]
    assert entailing["tail_patch_1"] == pytest.approx(mean(found[row["entailing"][0], row["position"]] for row in rows))
    assert facts["base_probability"] == pytest.approx(mean(row["probability"] for row in rows))
    assert (facts["queries"], facts["pairs"], facts["state"]) == (5, len(found), "saved")


def test_what_runs_share_is_measured_once(home: Home, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, ...], int]] = []
    original = TailPatch.changes

    def counted(self: TailPatch, ids: list[int], asked: list[EncodedQuery]) -> list[float]:
        seen.append((tuple(ids), len(asked)))
        return original(self, ids, asked)

    monkeypatch.setattr(TailPatch, "changes", counted)
    monkeypatch.setattr(patches, "TRIED", 1)
    folder = measure(home, subject(loaded))
    facts, pairs = read_manifest(folder).facts, np.load(folder / "pairs.i32.npy")
    tried = seen[:2]
    assert tried[0] == tried[1], "the two for the estimate"
    assert len(seen[2:]) == len(np.unique(pairs[:, 0])) == facts["steps"]
    assert sum(count for _, count in seen[2:]) == len(pairs) == facts["pairs"]
    seen.clear()
    assert measure(home, subject(loaded)) == folder
    assert seen == [], "there already"


def test_interrupted_it_goes_on_to_the_same_bytes(
    home: Home, loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(home, subject(loaded))
    expected = digests(home.root)
    shutil.rmtree(whole)
    monkeypatch.setattr(patches, "PART_SECONDS", 0.0)
    steps: list[float] = []

    def stop_after(count: int) -> Any:
        def progress(done: float, total: float, message: str) -> None:
            if message.startswith("one step"):
                steps.append(done)
                if len(steps) % count == 0:
                    raise KeyboardInterrupt

        return progress

    for count in (5, 7):
        steps.clear()
        with pytest.raises(KeyboardInterrupt):
            measure(home, subject(loaded), progress=stop_after(count))
        assert not (whole / "MANIFEST.json").exists()
        assert len(list((whole / "parts").iterdir())) >= 4
    first = steps[0]
    assert measure(home, subject(load_model(home, loaded.id, "cpu"))) == whole
    assert digests(home.root) == expected
    assert not (whole / "parts").exists()
    assert first > 4, "the second attempt did not begin anew"


def test_killed_it_goes_on_to_the_same_bytes(home: Home, loaded: LoadedModel) -> None:
    whole = measure(home, subject(loaded))
    expected = digests(home.root)
    shutil.rmtree(whole)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.evaluation.test_patches", str(home.root), loaded.id],
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + 60
    while len(list((whole / "parts").glob("*.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (whole / "MANIFEST.json").exists()
    kept = len(list((whole / "parts").glob("*.npy")))
    assert kept >= 3
    assert measure(home, subject(loaded)) == whole
    assert digests(home.root) == expected


def test_a_sample_is_drawn_by_the_seed_and_is_part_of_a_larger_one(home: Home, loaded: LoadedModel) -> None:
    def drawn(count: int, seed: int = 0) -> set[str]:
        folder = measure(home, subject(loaded), PatchConfig(k=2, seed=seed, queries=count))
        assert read_manifest(folder).config["queries"] == (count if count < 5 else None)
        return {row["id"] for row in read_jsonl(folder / "queries.jsonl")}

    two, four = drawn(2), drawn(4)
    assert len(two) == 2
    assert two < four
    assert any(drawn(2, seed) != two for seed in range(1, 6))
    before = len(home.finished("patches"))
    assert drawn(5) == drawn(99), "all there are"
    assert len(home.finished("patches")) == before + 1, "one artifact"


def test_less_than_ten_passages_are_no_mean_over_ten(home: Home, loaded: LoadedModel) -> None:
    facts = read_manifest(measure(home, subject(loaded), PatchConfig(k=3))).facts
    assert all(row["tail_patch"] is None and row["tail_patch_5"] is None for row in facts["means"])
    assert all(row["tail_patch_3"] is not None for row in facts["means"])


def test_the_model_is_as_before_and_the_estimate_is_said(home: Home, loaded: LoadedModel) -> None:
    before = [parameter.detach().clone() for parameter in loaded.model.parameters()]
    said: list[str] = []
    folder = measure(home, subject(loaded), PatchConfig(k=1), announce=said.append)
    pairs = np.load(folder / "pairs.i32.npy")
    assert len(said) == 1
    assert f"{len(pairs)} pairs" in said[0]
    assert all(map(torch.equal, before, loaded.model.parameters()))


def test_a_model_without_optimizer_state(home: Home, tmp_path: Path) -> None:
    save_gpt2(tmp_path / "gpt2", [passage.text for passage in PASSAGES])
    foreign = load_model(home, register_model(home, tmp_path / "gpt2"), "cpu")
    manifest = read_manifest(measure(home, subject(foreign), PatchConfig(k=1)))
    assert (manifest.config["optimizer"], manifest.facts["state"]) == ("normalised-sgd", "none")
    assert manifest.facts["step"] is None


def test_mistakes_are_said(home: Home, loaded: LoadedModel) -> None:
    nothing = replace(subject(loaded), queries=[replace(query, entails=None) for query in queries()])
    with pytest.raises(UserError, match="No fact of the query set"):
        measure(home, nothing)
    long = replace(subject(loaded), queries=[replace(queries()[0], prompt="so " * 99), *queries()[1:]])
    with pytest.raises(InputError, match="Query 'Norland'"):
        measure(home, long)
    with pytest.raises(InputError, match="at least one"):
        PatchConfig(k=0)
    assert not (home.root / "patches").exists(), "nothing half-written is left"


if __name__ == "__main__":
    torch.set_num_threads(1)
    patches.PART_SECONDS = 0.0

    def slowly(done: float, total: float, message: str) -> None:
        """Leave time to be killed."""
        time.sleep(0.02)

    of_home = Home(Path(sys.argv[1]))
    measure(of_home, subject(load_model(of_home, sys.argv[2], "cpu")), progress=slowly)
