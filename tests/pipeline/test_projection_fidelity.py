"""`evaluate fidelity` over the tiny demonstration."""

from __future__ import annotations

import shutil

import torch

from backend.core.artifacts import read_manifest
from backend.pipeline.projection_fidelity import evaluate_fidelity
from backend.pipeline.tables import fidelity_text
from backend.pipeline.workspace import Workspace
from backend.settings import Settings


def test_facts_have_the_contract_s_shape_and_fidelity_grows_with_rank(tiny_demo, tmp_path):
    home = shutil.copytree(tiny_demo, tmp_path / "home")
    threads = torch.get_num_threads()
    with Workspace(Settings(home=home, threads=1), "evaluate") as work:
        facts = evaluate_fidelity(work, queries=6, passages=100)
        (measured,) = [name for name in work.home.finished("measurement") if name.startswith("fidelity-")]
        manifest = read_manifest(work.folder("measurement", measured))
        assert evaluate_fidelity(work, queries=6, passages=100) == facts
    torch.set_num_threads(threads)
    assert manifest.command == "proponent evaluate fidelity --queries 6 --passages 100 --seed 0"
    assert (facts["queries"], facts["passages"], facts["store_rank"]) == (6, 100, 12)
    ranks = [2, 4, 8, 12, 16, 24, 32]  # the widest side of a layer has 64
    kinds = [(row_set, projection) for row_set in ("raw", "v") for projection in ("random", "pca")]
    named = [(row["row_set"], row["projection"], row["rank"]) for row in facts["rows"]]
    assert named == [(*kind, rank) for kind in kinds for rank in ranks]
    assert all(
        set(row) == {"row_set", "projection", "rank", "dims", "pearson", "spearman", "noise"} for row in facts["rows"]
    )
    for kind in kinds:
        of_kind = [row for row in facts["rows"] if (row["row_set"], row["projection"]) == kind]
        pearson = {row["rank"]: row["pearson"] for row in of_kind}
        assert pearson[2] < pearson[12] < pearson[32] < 1
    assert "store has rank 12" in fidelity_text(facts)
