"""Corpora and query sets as artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.core.artifacts import Home, read_manifest, verify
from backend.core.errors import CorruptArtifact, InputError, MissingArtifact
from backend.core.records import Aliases, Passage, Query
from backend.core.text import join_query
from backend.corpora import artifact
from backend.corpora.artifact import (
    build_corpus,
    build_query_set,
    load_passages,
    load_queries,
    wrong_predictions,
)

PASSAGES = [
    Passage("a", "The capital of France is Paris.", "atlas", "France", None, "CC0"),
    Passage("b", "the capital of France is Paris", "web"),
    Passage("c", "Lyon is in France.", "web"),
]
QUERY = Query(
    "q",
    "facts",
    "The capital of France is",
    "Paris",
    "capital",
    "France",
    "Paris",
    Aliases((), ("Lutetia",)),
    ("a",),
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_corpus_comes_back_with_its_groups(home: Home) -> None:
    identifier = build_corpus(home, PASSAGES, name="capitals", reader_config={"format": "jsonl"})
    loaded = load_passages(home, identifier)
    assert [passage.group for passage in loaded] == ["a", "a", None]
    assert [passage.text for passage in loaded] == [passage.text for passage in PASSAGES]
    manifest = read_manifest(home.find("corpus", identifier))
    assert manifest.facts == {
        "passages": 3,
        "sources": {"atlas": 1, "web": 2},
        "near_duplicate_groups": 1,
    }
    assert manifest.config["name"] == "capitals"
    assert verify(home.find("corpus", identifier)) == []


def test_building_again_is_a_no_op(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_corpus(home, PASSAGES, name="x")
    before = (home.find("corpus", first) / "MANIFEST.json").stat().st_mtime_ns
    monkeypatch.setattr(artifact, "with_groups", None)
    assert build_corpus(home, load_passages(home, first), name="x") == first
    assert (home.find("corpus", first) / "MANIFEST.json").stat().st_mtime_ns == before


def test_the_id_depends_on_what_is_in_it(home: Home) -> None:
    ids = {
        build_corpus(home, PASSAGES, name="x"),
        build_corpus(home, PASSAGES[:2], name="x"),
        build_corpus(home, PASSAGES[::-1], name="x"),
        build_corpus(home, PASSAGES, name="y"),
    }
    assert len(ids) == 4


def test_an_error_leaves_nothing_behind(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(artifact, "seal", broken)
    with pytest.raises(OSError, match="disk"):
        build_corpus(home, PASSAGES, name="x")
    assert list(home.root.rglob("*")) == [home.root / "corpora"]


def test_empty_corpora_and_repeated_ids_are_refused(home: Home) -> None:
    with pytest.raises(InputError, match="no passage"):
        build_corpus(home, [], name="x")
    with pytest.raises(InputError, match="'a' occurs twice"):
        build_corpus(home, [*PASSAGES, PASSAGES[0]], name="x")


def test_queries_come_back(home: Home) -> None:
    corpus = build_corpus(home, PASSAGES, name="x")
    queries = [QUERY, Query("r", "controls", "p", "c")]
    identifier = build_query_set(home, corpus, queries, "mine")
    assert load_queries(home, identifier) == queries
    manifest = read_manifest(home.find("queries", identifier))
    assert manifest.inputs == {"corpus": corpus, "model": None, "outputs": None}
    assert manifest.facts == {"queries": 2, "by_task": {"facts": 1, "controls": 1}}
    assert build_query_set(home, corpus, queries, "mine") == identifier
    assert build_query_set(home, corpus, queries, "mine", model="m", outputs="o") != identifier


def test_queries_need_their_corpus(home: Home) -> None:
    with pytest.raises(MissingArtifact):
        build_query_set(home, "none", [QUERY], "mine")
    corpus = build_corpus(home, PASSAGES[1:], name="x")
    with pytest.raises(InputError, match="names passage 'a'"):
        build_query_set(home, corpus, [QUERY], "mine")
    assert not (home.root / "query_sets").exists()


def test_damaged_files_are_named(home: Home) -> None:
    corpus = build_corpus(home, PASSAGES, name="x")
    path = home.find("corpus", corpus) / "passages.jsonl"
    for damage in ('{"id": ', '{"identifier": 1}'):
        path.write_text(damage)
        with pytest.raises(CorruptArtifact, match=r"passages\.jsonl"):
            load_passages(home, corpus)


def test_wrong_predictions() -> None:
    queries = [
        QUERY,
        Query("right", "facts", "p", "c", subject="s", object="c"),
        Query("empty", "facts", "p", "c", subject="s", object="c"),
        Query("sum", "arithmetic", "1 + 1 =", "2"),
        Query("unasked", "facts", "p", "c"),
    ]
    outputs = [
        {"id": "q", "text": " Lyon ", "correct": False},
        {"id": "right", "text": "c", "correct": True},
        {"id": "empty", "text": " .", "correct": False},
        {"id": "sum", "text": "3", "correct": False},
    ]
    (wrong,) = wrong_predictions(queries, outputs)
    assert wrong == Query(
        "q-wrong", "wrong-predictions", "The capital of France is", "Lyon", "capital", "France", "Lyon",
        Aliases(), None,
    )  # fmt: skip
    assert join_query(wrong.prompt, wrong.completion)[0] == "The capital of France is Lyon"


def test_a_wrong_answer_that_starts_with_a_sign_keeps_its_space() -> None:
    (wrong,) = wrong_predictions([QUERY], [{"id": "q", "text": ' "Lyon"', "correct": False}])
    assert join_query(wrong.prompt, wrong.completion)[0] == 'The capital of France is "Lyon"'
    assert wrong.object == '"Lyon"'
