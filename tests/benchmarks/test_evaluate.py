"""The benchmarks of evaluating print what they promise, over the tiny demonstration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from backend.core.artifacts import Home, seal
from backend.core.files import load_array, save_array, write_jsonl
from backend.core.records import fact_queries
from backend.corpora.artifact import load_queries
from tests.benchmarks.test_ask import printed


@pytest.mark.full
def test_ranking_by_all_store_methods(tiny_demo: Path) -> None:
    value = printed("evaluate.py", "--home", str(tiny_demo), "--threads", "1")
    assert value["ratio"] >= 1
    by_method = dict(value["by_method"])  # type: ignore[call-overload]
    assert len(by_method) == 7
    assert sum(by_method.values()) == pytest.approx(value["seconds"], abs=0.1)


def test_tail_patch_is_compared_query_by_query(tiny_demo: Path, tmp_path: Path) -> None:
    """TrackStar's passages are given one point more than others: that is the difference, on every query."""
    root = Path(shutil.copytree(tiny_demo, tmp_path / "home"))
    home = Home(root)
    found = {}
    for run in home.finished("run"):
        manifest = json.loads((home.find("run", run) / "MANIFEST.json").read_text())
        if manifest["config"]["method"] in ("trackstar", "random"):
            found.setdefault(manifest["inputs"]["queries"], {})[manifest["config"]["method"]] = run
    queries_id, runs = next((q, r) for q, r in found.items() if fact_queries(load_queries(home, q)))
    rows = fact_queries(load_queries(home, queries_id))[:5]
    lists = {m: load_array(home.find("run", run) / "proponents.i32.npy")[rows, :10] for m, run in runs.items()}
    pairs = sorted(
        {(int(p), row) for made in lists.values() for row, of in zip(rows, made, strict=True) for p in of if p >= 0}
    )
    led = {(int(p), row) for row, of in zip(rows, lists["trackstar"], strict=True) for p in of}
    folder = home.folder("patches", "made")
    folder.mkdir(parents=True)
    save_array(folder / "pairs.i32.npy", np.array(pairs, np.int32))
    save_array(folder / "changes.f64.npy", np.array([1.0 if pair in led else 0.0 for pair in pairs]))
    write_jsonl(folder / "queries.jsonl", [{"position": row} for row in rows])
    corpus = json.loads((home.find("queries", queries_id) / "MANIFEST.json").read_text())["inputs"]["corpus"]
    config = {"runs": list(runs.values()), "k": 10}
    inputs: dict[str, str | None] = {"queries": queries_id, "corpus": corpus}
    seal(folder, kind="patches", inputs=inputs, config=config, facts={}, seconds=0, command="")
    value: dict = printed("tail_patch_pairs.py", "--home", str(root), "--patches", "made", arguments_only=True)
    assert value["queries"] == 5
    both = {(int(p), row) for row, of in zip(rows, lists["random"], strict=True) for p in of} & led
    first = next(row for row in value["differences"] if row["first"] == 10)
    assert first["other"] == "random"
    assert first["mean"] == pytest.approx(1 - len(both) / 50, abs=1e-3)
    assert (first["more"], first["less"]) == (5, 0)
    assert first["interval"][0] <= first["mean"] <= first["interval"][1]
    kinds = value["by_statement"]["trackstar"]
    assert kinds["stating"]["passages"] + kinds["others"]["passages"] == sum((lists["trackstar"] >= 0).sum(1))
    assert {kind["tail_patch"] for kind in kinds.values() if kind["passages"]} == {1.0}
