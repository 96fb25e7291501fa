"""Comparisons in the catalogue: means, intervals, the order of prompts, and that nothing takes such a model itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from backend.catalogue import models as m
from backend.catalogue.comparisons import (
    Wanted,
    cells,
    cells_by_stated,
    comparisons_with,
    count_changes,
    difference_interval,
    every_change,
    find_comparison,
    list_changes,
    list_comparisons,
    sources_left_out,
    unknown_slugs,
)
from backend.catalogue.database import read_session
from backend.catalogue.evaluation import newest_runs
from backend.catalogue.left_out import base_of_model, left_out_ids
from backend.catalogue.loading import load_home
from backend.catalogue.runs import current_runs, page_of_runs
from backend.core.errors import CorruptArtifact
from backend.core.files import write_json
from backend.core.left_out import LIST, LeftOut, is_of_part
from tests.catalogue.factories import TinyHome, finish, related_scores, started, tiny_home, write_outputs, write_run

KENYA = ("fact-kenya-0", "fact-kenya-1", "fact-kenya-2")
"""All that state the third capital; of the fifth, Norway's, one of twelve is left out."""

IDS = (*KENYA, "fact-norway-0", "prose-3")


@dataclass(frozen=True)
class Pair:
    """A tiny home and a model in it that was trained without some passages, with answers and a run of its own."""

    tiny: TinyHome
    model: str
    run: str


def write_model_without(tiny: TinyHome, text: str | None = None) -> Path:
    """The model's folder."""
    left_out = LeftOut(tiny.model, IDS)
    inputs: dict[str, str | None] = {"corpus": tiny.corpus}
    config = {"name": "Without five", "without": left_out.settings}
    folder = started(tiny.home, "model", inputs, config)
    write_json(folder / "training.json", {"curve": [], "validation": [], "checkpoints": [], "steps": 9, "tokens": 9})
    (folder / LIST).write_text(left_out.text)
    finish(folder, "model", inputs, config, parameters=1234)
    if text is not None:
        (folder / LIST).write_text(text)
    return folder


@pytest.fixture
def pair(tmp_path: Path, catalogue_url: str) -> Pair:
    tiny = tiny_home(tmp_path, catalogue_url)
    model = write_model_without(tiny)
    corpus, query_set = tiny.home.folder("corpus", tiny.corpus), tiny.home.folder("queries", tiny.query_set)
    # From the second query on the answers of ``write_outputs`` are those of the query before: every third is wrong.
    shifted = [tiny.queries[-1], *tiny.queries[:-1]]
    outputs = write_outputs(tiny.home, model, query_set, shifted)
    assert outputs
    scores = related_scores(tiny.queries, tiny.passages, 3, 1.0)
    run = write_run(tiny.home, "trackstar", corpus, query_set, model, scores, seed=9)
    load_home(tiny.engine, tiny.home)
    return Pair(tiny, model.name, run.name)


def test_means_are_those_of_the_prompts(pair: Pair) -> None:
    with read_session(pair.tiny.engine) as session:
        found = find_comparison(session, pair.model)
        assert found is not None
        by_cell = cells(session, found)
        every = list(every_change(session, found, Wanted()))
    assert len(every) == len(pair.tiny.queries)
    assert by_cell["", ""].gained > 0 < by_cell["", ""].lost
    for task, bucket in (("facts", ""), ("facts", "2-4"), ("arithmetic", ""), ("open-generation", ""), ("", "")):
        own = [c for c in every if task in ("", c.task) and bucket in ("", c.bucket)]
        cell = by_cell[task, bucket]
        assert cell.n == len(own) > 0
        judged = [c for c in own if c.correct_before is not None and c.correct_after is not None]
        assert cell.judged == len(judged)
        if not judged:
            assert (cell.accuracy_before, cell.difference, cell.low) == (None, None, None)
            continue
        assert cell.accuracy_before == sum(bool(c.correct_before) for c in judged) / len(judged)
        assert cell.accuracy_after == sum(bool(c.correct_after) for c in judged) / len(judged)
        assert cell.gained == sum(bool(c.correct_after) and not c.correct_before for c in judged)
        assert cell.lost == sum(bool(c.correct_before) and not c.correct_after for c in judged)
        assert cell.difference == pytest.approx((cell.gained - cell.lost) / len(judged))
        assert cell.probability_before == pytest.approx(np.mean([c.probability_before for c in own]))
        assert cell.probability_after == pytest.approx(np.mean([c.probability_after for c in own]))


def test_prompts_that_a_left_out_passage_states_come_first(pair: Pair) -> None:
    with read_session(pair.tiny.engine) as session:
        found = find_comparison(session, pair.model)
        assert found is not None
        every = list(every_change(session, found, Wanted()))
        pages = [change for start in range(1, 31, 7) for change in list_changes(session, found, Wanted(), start, 7)]
        by_stated = cells_by_stated(session, found)
        most = list_changes(session, found, Wanted(most_changed=True), 1, 100)
        assert sources_left_out(session, found) == [
            ("Planted facts", 4, sum(passage.source == "Planted facts" for passage in pair.tiny.passages)),
            ("Prose", 1, sum(passage.source == "Prose" for passage in pair.tiny.passages)),
        ]
    assert pages == every
    first, rest = every[:4], every[4:]
    assert {(c.query_id.split(".")[1], c.left_out, c.stated_by) for c in first} == {("Kenya", 3, 3), ("Norway", 1, 12)}
    assert all(change.left_out == 0 for change in rest)
    for group in (first, rest, most):
        sizes = [abs((c.probability_after or 0) - (c.probability_before or 0)) for c in group]
        assert sizes == sorted(sizes, reverse=True)
    assert {kind: cell.n for kind, cell in by_stated.items()} == {"all": 2, "some": 2, "none": 6}


def test_prompts_are_chosen(pair: Pair) -> None:
    with read_session(pair.tiny.engine) as session:
        found = find_comparison(session, pair.model)
        assert found is not None
        chosen = Wanted(slugs=("capital-kenya-0", "nobody"))
        assert [change.slug for change in list_changes(session, found, chosen, 1, 9)] == ["capital-kenya-0"]
        assert count_changes(session, found, Wanted(q="governed ken")) == 1
        assert unknown_slugs(session, found, ["capital-kenya-0", "nobody"]) == ["nobody"]


def test_only_such_models_are_comparisons(pair: Pair) -> None:
    with read_session(pair.tiny.engine) as session:
        assert find_comparison(session, pair.tiny.model) is None
        assert find_comparison(session, "nothing") is None
        (listed,) = list_comparisons(session, 1, 10)
        assert (listed.model_id, listed.base_id, listed.left_out) == (pair.model, pair.tiny.model, len(IDS))
        assert comparisons_with(session, pair.tiny.model) == [pair.model]
        assert left_out_ids(session, pair.model) == list(IDS)
        assert left_out_ids(session, pair.tiny.model) == []
        for model in session.scalars(select(m.Model)):
            base = session.scalar(select(base_of_model()).where(m.Model.id == model.id))
            assert (base is not None) == is_of_part(model.manifest["config"]) == (model.id == pair.model)


def test_the_model_is_never_taken_by_itself(pair: Pair) -> None:
    """Though its answers and its run are the newest."""
    with read_session(pair.tiny.engine) as session:
        assert {prompt.output_model_id for prompt in session.scalars(select(m.Prompt))} == {pair.tiny.model}
        assert {run.id for run in current_runs(session)} == set(pair.tiny.runs) == set(newest_runs(session))
        assert {run.id: run.of_part for run in page_of_runs(session, None, 9)} == {
            pair.run: True,
            **dict.fromkeys(pair.tiny.runs, False),
        }


def test_a_list_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path)
    write_model_without(tiny, text="prose-1\n")
    with pytest.raises(CorruptArtifact, match=LIST):
        load_home(tiny.engine, tiny.home)


@pytest.mark.parametrize(("n", "gained", "lost"), [(40, 3, 10), (12, 0, 12), (300, 20, 20)])
def test_the_interval_is_that_of_a_bootstrap_over_prompts(n: int, gained: int, lost: int) -> None:
    low, high = difference_interval(n, gained, lost)
    changes = np.array([1.0] * gained + [-1.0] * lost + [0.0] * (n - gained - lost))
    means = changes[np.random.RandomState(1).randint(0, n, (4000, n))].mean(axis=1)
    expected = np.quantile(means, (0.025, 0.975))
    np.testing.assert_allclose((low, high), expected, atol=2.5 / n)
    assert difference_interval(n, gained, lost) == (low, high)


def test_no_prompts_have_no_interval() -> None:
    assert difference_interval(0, 0, 0) == (None, None)
