"""Lists in the format of the paper's result viewer: what comes in goes out again, and is loaded on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, event, select

from backend.catalogue.database import open_catalogue, read_session
from backend.catalogue.loading import load_home
from backend.catalogue.models import (
    Corpus,
    Entailment,
    Metric,
    Model,
    Output,
    Passage,
    Prompt,
    RankedPassage,
    Ranking,
    Run,
)
from backend.core.artifacts import Home, read_manifest
from backend.corpora.artifact import build_query_set
from backend.pipeline.verification import verify_home
from tests.catalogue.dump import counts, ranked
from tests.catalogue.factories import tiny_home, write_run
from tests.catalogue.viewer_files import Record, exported, imported, record, settings, strictly, without, write
from tests.command import digests

PAPER_LIKE = [
    record(1, "c1", "c2", proponent_correct=[False, True], c4_frequency=12, c4_frequency_bucket=3, fact_id="f1",
           relation="capital", has_trex_sentence=True,
           **{"8b_generations": ["City 1", "City 9", "City 1"], "8b_confidence": 2 / 3}),
    record(2, "c2", "c3", proponent_ais_scores=[0.5, 0.51], c4_frequency=0, relation="capital", fact_id=None),
    record(3, "c4", opponents=["Text of c1."], opponent_ids=["c1"], opponent_scores=[-1e-300], proponent_correct=None),
    record(4, task="arithmetic", is_8b_correct=False, other={"deep": [1, None, {"x": True}]}, opponents=None),
    without(record(5, "x", "y", "x", task="PIQA"), "proponent_ids", "example_id", "query_set"),
    record(6, "c1", groundtruth="City 7", is_8b_correct=None, proponent_scores=[12345678901234567890]),
    without(record(7), "proponents", "proponent_ids", "proponent_scores"),
    record(10, "c1", "c2", "c3", "c4", proponent_scores=[5e-324, 1.7976931348623157e308, 0.1 + 0.2, -0.0]),
    record(8, "a b", "c1", proponent_ids=["not an\naddress", 17], proponents=["Text of ab", "Text of 17"]),
    record(9, "nul", proponents=["be\0fore"], inputs_plaintext="N\0UL", relation="N\0", proponent_note="\0",
           targets_plaintext="日本 😀", **{"8b_generations": "on\0ly", "is_8b_correct": 1}),
]  # fmt: skip


def engine_of(home: Path, url: str | None = None) -> Engine:
    return open_catalogue(settings(home, url))


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Two methods over five prompts, of which each file lacks one; the second is in another order."""
    bm25 = [
        record(1, "c1", "c2", proponent_correct=[False, True], c4_frequency=60),
        record(2, "c3", "c4", proponent_correct=[False, False], c4_frequency=7),
        record(3, "c5", proponent_correct=[False], c4_frequency=0),
        record(4, "c1"),
    ]
    trackstar = [
        record(5, "c9", proponent_ais_scores=[0.9], opponents=["Text of c1."], opponent_ids=["c1"],
               opponent_scores=[-4.0]),
        record(2, "c3", "c6", relation="capital", **{"8b_confidence": 0.25}),
        record(1, "c7", "c2", "c8", proponent_correct=[True, False, False], c4_frequency=61),
        record(4, "c2"),
    ]  # fmt: skip
    files = [
        write(tmp_path / "trex_retrievals_bm25.jsonl", bm25),
        write(tmp_path / "trex_retrievals_trackstar.jsonl", trackstar),
    ]
    return tmp_path / "home", imported(tmp_path / "home", files)


def test_an_import_gives_every_record_back(tmp_path: Path, catalogue_url: str) -> None:
    file = write(tmp_path / "c4_trex_retrievals_trackstar.jsonl", PAPER_LIKE)
    result = imported(tmp_path / "home", [file], url=catalogue_url)
    assert result["queries"] == len(PAPER_LIKE)
    (run,) = result["runs"]
    assert run == {**run, "method": "trackstar", "file": str(file), "records": len(PAPER_LIKE)}
    found = exported(engine_of(tmp_path, catalogue_url), run["run"])
    assert [strictly(one) for one in found] == [strictly(one) for one in PAPER_LIKE]


def test_what_the_catalogue_holds(tmp_path: Path, catalogue_url: str) -> None:
    file = write(tmp_path / "c4_trex_retrievals_trackstar.jsonl", PAPER_LIKE)
    result = imported(tmp_path / "home", [file], url=catalogue_url)
    with read_session(engine_of(tmp_path, catalogue_url)) as session:
        corpus, model = session.get_one(Corpus, result["corpus"]), session.get_one(Model, result["model"])
        run = session.get_one(Run, result["runs"][0]["run"])
        prompts = list(session.scalars(select(Prompt).order_by(Prompt.position)))
        passages = list(session.scalars(select(Passage).order_by(Passage.position)))
        rankings = list(session.scalars(select(Ranking).order_by(Ranking.prompt_pk)))
        percentiles = set(session.scalars(select(RankedPassage.percentile)))
        answers = {output.prompt_pk: output for output in session.scalars(select(Output))}
        stating = session.execute(
            select(Prompt.query_id, Passage.passage_id)
            .join(Entailment, Entailment.prompt_pk == Prompt.pk)
            .join(Passage, Passage.pk == Entailment.passage_pk)
        ).all()
    assert corpus.name == "c4_trex_retrievals_trackstar"
    assert corpus.manifest["config"]["imported"] == "viewer"
    assert (model.parameter_count, model.corpus_id, run.model_id) == (0, None, model.id)
    assert [passage.passage_id for passage in passages[:4]] == ["c1", "c2", "c3", "c4"]
    assert [passage.passage_id for passage in passages[4:7]] == [
        passages[4].passage_id, passages[5].passage_id, f"{passages[4].passage_id}~2",
    ]  # fmt: skip
    assert passages[6].near_duplicates == passages[4].near_duplicates == passages[4].passage_id
    assert passages[4].passage_id.startswith("text-")
    assert passages[7].passage_id.startswith("id-")
    assert {passage.source for passage in passages} == {corpus.name}
    assert passages[9].text == "be\N{REPLACEMENT CHARACTER}fore"
    assert [prompt.task for prompt in prompts] == [
        "facts", "facts", "facts", "arithmetic", "commonsense", "wrong-predictions", "facts", "facts", "facts", "facts",
    ]  # fmt: skip
    assert [(prompt.frequency, prompt.bucket) for prompt in prompts[:3]] == [(12, "10-49"), (0, "0"), (None, None)]
    assert sorted(map(tuple, stating)) == [("q1", "c2"), ("q2", "c3")]
    assert prompts[0].extra is not None
    assert prompts[0].extra["fact_id"] == "f1"
    assert (prompts[0].confidence, prompts[0].correct, prompts[2].has_opponents) == (2 / 3, None, True)
    answer = answers[prompts[0].pk]
    assert (answer.text, answer.completion_probability) == ("City 1", None)
    assert [sample["text"] for sample in answer.samples] == ["City 1", "City 9", "City 1"]
    assert {sample["probability"] for sample in answer.samples} == {None}
    assert answers[prompts[9].pk].text == "on\N{REPLACEMENT CHARACTER}ly"
    assert answers[prompts[3].pk].text == ""
    assert prompts[5].pk not in answers
    assert {(one.scored, one.minimum, one.maximum, one.histogram) for one in rankings} == {(None, None, None, None)}
    assert percentiles == {None}


def test_files_stand_side_by_side(two: tuple[Path, dict[str, Any]]) -> None:
    home, result = two
    assert (result["passages"], result["queries"]) == (9, 5)
    engine = engine_of(home)
    with read_session(engine) as session:
        prompts = {prompt.query_id: prompt for prompt in session.scalars(select(Prompt).order_by(Prompt.position))}
        runs = {run.method: run for run in session.scalars(select(Run))}
    assert list(prompts) == ["q1", "q2", "q3", "q4", "q5"]
    assert (prompts["q1"].frequency, prompts["q2"].relation) == (60, "capital")
    assert (runs["bm25"].model_id, runs["trackstar"].model_id) == (None, result["model"])
    assert runs["bm25"].query_set_id == runs["trackstar"].query_set_id == result["query_set"]
    lists: dict[tuple[str, str], list[str]] = {}
    for run_id, slug, _, passage_id, _, _ in ranked(engine):
        lists.setdefault((run_id.partition("-")[0], slug), []).append(passage_id)
    assert lists["bm25", "q1"] == ["c1", "c2"]
    assert lists["trackstar", "q1"] == ["c7", "c2", "c8"]
    assert lists["trackstar", "q5"] == ["c1", "c9"]
    assert ("bm25", "q5") not in lists
    assert ("trackstar", "q3") not in lists
    for run in result["runs"]:
        original = [json.loads(line) for line in Path(run["file"]).read_text().splitlines()]
        assert [strictly(one) for one in exported(engine, run["run"])] == [strictly(one) for one in original]


def test_metrics_of_imported_lists(two: tuple[Path, dict[str, Any]]) -> None:
    """Flags of all files count; a list judged in vain counts as zeros unless nothing states the fact."""
    home, _ = two
    with read_session(engine_of(home)) as session:
        rows = session.execute(
            select(Run.method, Prompt.query_id, Ranking.reciprocal_rank)
            .join(Ranking, Ranking.run_id == Run.id)
            .join(Prompt, Prompt.pk == Ranking.prompt_pk)
        )
        found = {(method, query_id): value for method, query_id, value in rows}
        mean = session.scalars(select(Metric).filter_by(task="facts", bucket="", name="mrr").join(Run)).all()
        bucket = session.scalars(select(Metric).filter_by(task="facts", bucket="5-9", name="mrr")).all()
    assert found == {
        ("bm25", "q1"): 1 / 2,
        ("bm25", "q2"): 0.0,
        ("bm25", "q3"): None,  # frequency 0: stated nowhere
        ("bm25", "q4"): None,  # nobody judged it
        ("bm25", "q5"): None,  # not in the file
        ("trackstar", "q1"): 1.0,
        ("trackstar", "q2"): 0.0,
        ("trackstar", "q3"): None,
        ("trackstar", "q4"): None,
        ("trackstar", "q5"): 1.0,
    }
    assert sorted((metric.value, metric.n) for metric in mean) == [(1 / 4, 2), (2 / 3, 3)]
    assert [(metric.value, metric.n) for metric in bucket] == [(0.0, 1), (0.0, 1)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"proponent_correct": [False]}, 0.0),
        ({"proponent_correct": [False], "c4_frequency": 3}, 0.0),
        ({"proponent_correct": [False], "c4_frequency": 0}, None),
        ({"proponent_correct": [False], "c4_frequency": 0, "has_trex_sentence": True}, 0.0),
        ({"proponent_correct": [False], "c4_frequency": 3, "has_trex_sentence": False}, None),
        ({"proponent_correct": [True], "c4_frequency": 0}, 1.0),
        ({"proponent_ais_scores": [0.5]}, 0.0),
        ({"proponent_ais_scores": [0.51]}, 1.0),
        ({"proponent_ais_scores": [0.9], "proponent_correct": [False]}, 0.0),
        ({"proponent_ais_scores": [None]}, 0.0),
        ({"c4_frequency": 3}, None),
        ({}, None),
    ],
)
def test_when_a_list_has_metrics(tmp_path: Path, fields: Record, expected: float | None) -> None:
    file = write(tmp_path / "bm25.jsonl", [record(1, "c1", **fields)])
    imported(tmp_path / "home", [file])
    with read_session(engine_of(tmp_path / "home")) as session:
        assert session.scalars(select(Ranking.reciprocal_rank)).one() == expected


@pytest.mark.parametrize("method", [0, 1], ids=["bm25", "trackstar"])
def test_a_run_made_here_goes_out_and_comes_in(tmp_path: Path, catalogue_url: str, method: int) -> None:
    tiny = tiny_home(tmp_path / "native", catalogue_url)
    native = exported(tiny.engine, tiny.runs[method])
    assert len(native) == 30
    tokyo = next(one for one in native if one["targets_plaintext"] == " Tokyo")
    assert (tokyo["c4_frequency"], tokyo["c4_frequency_bucket"], tokyo["relation"]) == (1, 1, "capital")
    assert (tokyo["query_set"], tokyo["task"], sum(tokyo["proponent_correct"])) == ("Tiny queries", "facts", 1)
    assert tokyo["8b_confidence"] == 0.5
    assert len(tokyo["8b_generations"]) == 2
    assert len(tokyo["opponents"]) == len(tokyo["opponent_ids"]) == len(tokyo["opponent_scores"]) == 20
    story = next(one for one in native if one["task"] == "open-generation")
    assert not {"is_8b_correct", "proponent_correct", "c4_frequency", "relation"} & story.keys()

    file = write(tmp_path / f"{tiny.runs[method]}.jsonl", native)
    result = imported(tmp_path / "fresh", [file])
    assert result["runs"][0]["method"] == tiny.runs[method].rpartition("-")[0]
    fresh = engine_of(tmp_path / "fresh")
    again = exported(fresh, result["runs"][0]["run"])
    assert [strictly(one) for one in again] == [strictly(one) for one in native]
    assert means(fresh) == means(tiny.engine, tiny.runs[method])


def test_a_wrong_prediction_goes_out_with_the_truth(tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path / "native")
    (outputs,) = (
        outputs_id
        for outputs_id in tiny.home.finished("outputs")
        if read_manifest(tiny.home.find("outputs", outputs_id)).config["kind"] == "greedy"
    )
    wrong = replace(tiny.queries[0], id=f"{tiny.queries[0].id}-wrong", task="wrong-predictions", completion="Lyon")
    wrong_set = build_query_set(tiny.home, tiny.corpus, [replace(wrong, entails=None)], "Wrong", tiny.model, outputs)
    folders = (tiny.home.find("corpus", tiny.corpus), tiny.home.find("queries", wrong_set))
    run = write_run(tiny.home, "bm25", *folders, None, np.arange(130.0)[None])
    load_home(tiny.engine, tiny.home)
    (native,) = exported(tiny.engine, run.name)
    assert (native["task"], native["targets_plaintext"], native["groundtruth"]) == (
        "wrong-predictions", "Lyon", " Paris",
    )  # fmt: skip
    assert "opponents" in native
    result = imported(tmp_path / "fresh", [write(tmp_path / "bm25.jsonl", [native])])
    assert exported(engine_of(tmp_path / "fresh"), result["runs"][0]["run"]) == [native]


def means(engine: Engine, run_id: str | None = None) -> set[tuple[Any, ...]]:
    statement = select(Metric.task, Metric.bucket, Metric.name, Metric.value, Metric.n)
    with read_session(engine) as session:
        rows = session.execute(statement if run_id is None else statement.filter_by(run_id=run_id))
        return {tuple(row) for row in rows}


def test_reading_takes_a_few_statements_however_many_prompts(tmp_path: Path) -> None:
    tiny = tiny_home(tmp_path)
    statements: list[str] = []
    event.listen(tiny.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert len(exported(tiny.engine, tiny.runs[1])) == 30
    assert len([one for one in statements if one.startswith("SELECT")]) < 10


def test_importing_again_changes_nothing(two: tuple[Path, dict[str, Any]]) -> None:
    home, result = two
    before, rows = digests(home), counts(engine_of(home))
    made = {path: path.stat().st_mtime_ns for path in home.rglob("MANIFEST.json")}
    assert imported(home, [Path(run["file"]) for run in result["runs"]]) == result
    assert digests(home) == before
    assert counts(engine_of(home)) == rows
    assert {path: path.stat().st_mtime_ns for path in home.rglob("MANIFEST.json")} == made
    assert verify_home(Home(home), []) == {"verified": 6, "problems": [], "unfinished": []}


def test_a_lost_catalogue_is_built_from_the_artifacts(two: tuple[Path, dict[str, Any]]) -> None:
    home, result = two
    before = ranked(engine_of(home)), means(engine_of(home))
    files = [Path(run["file"]) for run in result["runs"]]
    for path in home.glob("proponent.db*"):
        path.unlink()
    assert imported(home, files) == result
    engine = engine_of(home)
    assert (ranked(engine), means(engine)) == before
    assert load_home(engine, Home(home)) == []


def test_ids_depend_on_name_and_content(tmp_path: Path) -> None:
    first = write(tmp_path / "bm25.jsonl", [record(1, "c1")])
    known = imported(tmp_path / "home", [first], name="One")
    other = imported(tmp_path / "home", [first], name="Two")
    assert known["corpus"] != other["corpus"]
    write(first, [record(1, "c1", proponent_scores=[9])])
    changed = imported(tmp_path / "home", [first], name="One")
    assert (changed["corpus"], changed["query_set"]) == (known["corpus"], known["query_set"])
    assert changed["runs"][0]["run"] != known["runs"][0]["run"]
    manifest = read_manifest(Home(tmp_path / "home").find("run", changed["runs"][0]["run"]))
    assert manifest.config["file"] == "bm25.jsonl"
    assert manifest.command.startswith("proponent import-viewer ")


def test_equal_ids_of_two_query_sets_stay_apart(tmp_path: Path) -> None:
    records = [record(1, "c1", query_set=name, inputs_plaintext=name) for name in ("a", "b")]
    records.append(without(record(1, "c2", inputs_plaintext="none"), "query_set"))
    file = write(tmp_path / "bm25.jsonl", records)
    result = imported(tmp_path / "home", [file])
    with read_session(engine_of(tmp_path / "home")) as session:
        ids = session.scalars(select(Prompt.query_id).order_by(Prompt.position)).all()
    assert ids == ["a/q1", "b/q1", "q1"]
    assert exported(engine_of(tmp_path / "home"), result["runs"][0]["run"]) == records
