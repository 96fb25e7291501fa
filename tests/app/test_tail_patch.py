"""Tail-patch of whole runs on pages: beside passages, in the means of lists and of runs, and in their JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from backend.catalogue.loading import load_home
from tests.app.example_catalogue import settings_for
from tests.catalogue.factories import TinyHome, patch_change, tiny_home, write_patches

ROWS = (4, 5, 6)
"""The queries that are measured; the first is what Kenya's capital is."""


@pytest.fixture
def tiny(tmp_path: Path) -> TinyHome:
    tiny = tiny_home(tmp_path)
    home = tiny.home
    parts = (("corpus", tiny.corpus), ("queries", tiny.query_set), ("model", tiny.model))
    trackstar = home.folder("run", tiny.runs[1])
    write_patches(home, *(home.folder(kind, name) for kind, name in parts), [trackstar], ROWS)
    load_home(tiny.engine, home)
    return tiny


@pytest.fixture
def pages(tiny: TinyHome) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(tiny.home.root)), follow_redirects=False) as made:
        yield made


def test_a_prompt_shows_what_each_passage_did(pages: TestClient, tiny: TinyHome) -> None:
    proponents = np.load(tiny.home.folder("run", tiny.runs[1]) / "proponents.i32.npy")
    text = pages.get("/prompts/capital-kenya-0?methods=trackstar").text
    changes = [patch_change(int(place), 4) for place in proponents[4, :10]]
    assert all(f"tail-patch {change:+.2f} pp" in text for change in changes[:5])
    found = pages.get("/prompts/capital-kenya-0.json?methods=trackstar").json()
    (ranking,) = (ranking for ranking in found["rankings"] if ranking["run"] == tiny.runs[1])
    listed = [entry["tail_patch"] for entry in ranking["proponents"]]
    assert listed[:10] == changes[: len(listed)]
    assert set(listed[10:]) <= {None}


def test_a_passage_shows_what_it_did_to_each_prompt(pages: TestClient, tiny: TinyHome) -> None:
    first = int(np.load(tiny.home.folder("run", tiny.runs[1]) / "proponents.i32.npy")[4, 0])
    passage, change = tiny.passages[first].id, patch_change(first, 4)
    found = pages.get(f"/passages/{passage}.json?limit=500").json()["influences"]
    prompts = {
        prompt["slug"]: prompt["tail_patch"]
        for influence in found
        if (influence["method"], influence["side"]) == ("trackstar", "proponents")
        for prompt in influence["prompts"]
    }
    assert prompts["capital-kenya-0"] == change
    assert None in prompts.values(), "prompts that were not measured"
    assert f"tail-patch {change:+.2f} pp" in pages.get(f"/passages/{passage}").text
    assert "tail_patch" in pages.get(f"/passages/{passage}.csv").text.partition("\n")[0]


def test_lists_show_the_mean_over_their_prompts(pages: TestClient, tiny: TinyHome) -> None:
    means = pages.get("/prompts.json").json()["metrics"]
    proponents = np.load(tiny.home.folder("run", tiny.runs[1]) / "proponents.i32.npy")
    expected = np.mean([patch_change(int(place), row) for row in ROWS for place in proponents[row, :10]])
    assert means["trackstar"]["tail_patch"] == pytest.approx(expected)
    assert means["trackstar"]["tail_patch_n"] == len(ROWS)
    assert (means["bm25"]["tail_patch"], means["bm25"]["tail_patch_n"]) == (None, 0)
    assert f"{expected:+.2f} pp" in pages.get("/prompts").text
    wrong = pages.get("/prompts.json?correct=false").json()["metrics"]
    assert wrong["trackstar"]["tail_patch_n"] == 1, "every third answer of the tiny home is wrong"


def test_a_run_shows_its_means_and_how_many_they_are_over(pages: TestClient, tiny: TinyHome) -> None:
    text = pages.get(f"/runs/{tiny.runs[1]}").text
    assert "Tail-patch@1" in text
    assert "percentage points" in text
    line = next(
        line
        for line in pages.get(f"/runs/{tiny.runs[1]}.json").json()["metrics"]
        if (line["task"], line["bucket"]) == ("facts", None)
    )
    assert (line["n"], line["tail_patch_n"]) == (10, len(ROWS))
    assert f"{line['tail_patch_3']:+.2f}" in text
    assert {"tail_patch", "tail_patch_1", "tail_patch_3", "tail_patch_5"} <= line.keys()
    assert "Tail-patch@1" not in pages.get(f"/runs/{tiny.runs[0]}").text
