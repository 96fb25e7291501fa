"""Loading artifacts: what comes to be in the catalogue, once, and whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from backend.catalogue.database import migrate, open_catalogue, read_session, write_session
from backend.catalogue.loading import (
    _slug_giver,
    load_corpus,
    load_home,
    load_model,
    load_outputs,
    load_query_set,
    load_run,
)
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
from backend.core.artifacts import Home
from backend.core.errors import CorruptArtifact, MissingArtifact
from backend.core.records import Passage as PassageRecord
from backend.core.records import Query
from tests.catalogue.dump import counts, ranked
from tests.catalogue.factories import (
    TinyHome,
    tiny_home,
    tiny_passages,
    write_corpus,
    write_model,
    write_outputs,
    write_query_set,
    write_run,
    write_tiny_home,
)


@pytest.fixture
def tiny(tmp_path: Path, catalogue_url: str) -> TinyHome:
    return tiny_home(tmp_path, catalogue_url)


@pytest.fixture
def lite(tmp_path: Path) -> TinyHome:
    return tiny_home(tmp_path)


def test_everything_is_there(tiny: TinyHome) -> None:
    found = counts(tiny.engine)
    assert found["passages"] == 130
    assert found["prompts"] == found["outputs"] == 30
    assert found["rankings"] == 60
    assert found["ranked_passages"] == 60 * 120
    with read_session(tiny.engine) as session:
        passage = session.scalars(select(Passage).filter_by(passage_id="fact-egypt-1")).one()
        prompt = session.scalars(select(Prompt).filter_by(query_id="capital.Egypt.0")).one()
        stating = session.scalars(select(Entailment.passage_pk).filter_by(prompt_pk=prompt.pk)).all()
        model, run = session.get_one(Model, tiny.model), session.get_one(Run, tiny.runs[1])
        corpus = session.get_one(Corpus, tiny.corpus)
    assert passage.text == "Cairo is the capital of Egypt."
    assert passage.near_duplicates == "fact-egypt-0"
    assert passage.content_hash == PassageRecord("", passage.text).content_hash
    assert (prompt.slug, prompt.task, prompt.bucket, prompt.frequency) == (
        "capital-egypt-0",
        "facts",
        "50+",
        54,
    )
    assert prompt.aliases == {"subject": [], "object": ["City of Cairo"]}
    assert len(stating) == 54
    assert passage.pk in stating
    assert model.parameter_count == 1234
    assert model.training is not None
    assert model.training["steps"] == 9
    assert (run.method, run.corpus_id, run.model_id) == ("trackstar", tiny.corpus, tiny.model)
    assert "files" not in corpus.manifest
    assert corpus.manifest["config"]["name"] == corpus.name == "Tiny corpus"
    assert corpus.created_at.utcoffset() is not None


def test_rankings_are_those_of_the_arrays(tiny: TinyHome) -> None:
    folder = tiny.home.folder("run", tiny.runs[0])
    positions = np.load(folder / "opponents.i32.npy")
    scores = np.load(folder / "opponent_scores.f64.npy")
    with read_session(tiny.engine) as session:
        statement = (
            select(Passage.position, RankedPassage.score)
            .join(RankedPassage, RankedPassage.passage_pk == Passage.pk)
            .join(Ranking, Ranking.pk == RankedPassage.ranking_pk)
            .join(Prompt, Prompt.pk == Ranking.prompt_pk)
            .where(Ranking.run_id == tiny.runs[0], Prompt.position == 7, RankedPassage.rank < 0)
            .order_by(RankedPassage.rank.desc())
        )
        found = [tuple(row) for row in session.execute(statement)]
        ranking = session.scalars(
            select(Ranking).join(Prompt).where(Ranking.run_id == tiny.runs[0], Prompt.position == 7)
        ).one()
    assert found == list(zip(positions[7].tolist(), scores[7].tolist(), strict=True))
    assert ranking.scored == sum(ranking.histogram) == 130
    assert ranking.minimum == scores[7][0]
    assert ranking.facts == {"lambda": 0.5}


def test_a_small_corpus_leaves_places_empty(lite: TinyHome) -> None:
    corpus = write_corpus(lite.home, lite.passages[:5], name="Five")
    queries = write_query_set(lite.home, corpus, [Query("q", "controls", "a", "b")])
    run = write_run(lite.home, "random", corpus, queries, None, np.arange(5.0)[None])
    load_home(lite.engine, lite.home)
    with read_session(lite.engine) as session:
        ranks = session.scalars(select(RankedPassage.rank).join(Ranking).where(Ranking.run_id == run.name)).all()
    assert sorted(ranks) == [-5, -4, -3, -2, -1, 1, 2, 3, 4, 5]


def test_metrics_are_means_over_entailed_queries(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        rows = session.scalars(select(Metric).filter_by(run_id=tiny.runs[0], task="facts", bucket="")).all()
        ranks = session.scalars(
            select(Ranking.reciprocal_rank)
            .join(Prompt)
            .where(Ranking.run_id == tiny.runs[0], Ranking.reciprocal_rank.is_not(None))
        ).all()
        unstated = session.scalars(select(Metric).filter_by(bucket="0")).all()
    values = {row.name: (row.value, row.n) for row in rows}
    assert set(values) == {"mrr", "recall_at_10", "precision_at_1", "precision_at_10"}
    assert values["mrr"] == (pytest.approx(np.mean([rank for rank in ranks if rank is not None])), 10)
    assert unstated == []


def test_loading_again_changes_nothing(tiny: TinyHome) -> None:
    before = counts(tiny.engine), ranked(tiny.engine)
    assert load_home(tiny.engine, tiny.home) == []
    assert (counts(tiny.engine), ranked(tiny.engine)) == before


def test_each_loader_says_whether_it_loaded(tmp_path: Path) -> None:
    home = Home(tmp_path)
    corpus = write_corpus(home, tiny_passages())
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    with write_session(engine) as session:
        assert load_corpus(session, corpus)
        assert not load_corpus(session, corpus)


def test_samples_are_added_to_greedy_outputs(tiny: TinyHome) -> None:
    with read_session(tiny.engine) as session:
        output = session.scalars(select(Output).join(Prompt).where(Prompt.position == 1)).one()
        story = session.scalars(select(Output).join(Prompt).where(Prompt.query_id == "story 0")).one()
    assert (output.text, output.probability, output.correct) == (" Paris", 0.5, True)
    assert [sample["probability"] for sample in output.samples] == [0.25, 0.125]
    assert story.correct is None


def test_samples_without_greedy_outputs_are_refused(tmp_path: Path) -> None:
    home = Home(tmp_path)
    queries = [Query("q", "controls", "a", "b")]
    corpus = write_corpus(home, tiny_passages())
    query_set = write_query_set(home, corpus, queries)
    model = write_model(home, None)
    samples = write_outputs(home, model, query_set, queries, kind="samples")
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    with write_session(engine) as session:
        load_corpus(session, corpus)
        load_query_set(session, query_set)
        load_model(session, model)
    with pytest.raises(MissingArtifact, match="greedy outputs"), write_session(engine) as session:
        load_outputs(session, samples)
    assert counts(engine)["output_sets"] == 0


def test_newer_outputs_replace_older_ones_and_keep_samples(lite: TinyHome) -> None:
    model, query_set = lite.home.folder("model", lite.model), lite.home.folder("queries", lite.query_set)
    changed = [Query(q.id, q.task, q.prompt, " newer") for q in lite.queries]
    write_outputs(lite.home, model, query_set, changed, max_new_tokens=9)
    assert len(load_home(lite.engine, lite.home)) == 1
    with read_session(lite.engine) as session:
        output = session.scalars(select(Output).join(Prompt).where(Prompt.position == 1)).one()
    assert output.text == " newer"
    assert len(output.samples) == 2


def test_slugs_are_unique_over_the_installation(lite: TinyHome) -> None:
    corpus = lite.home.folder("corpus", lite.corpus)
    clashing = [Query(name, "controls", "a", "b") for name in ("story 0", "Story.0", "story/0", "日本", "?")]
    other = write_query_set(lite.home, corpus, clashing, name="Others")
    load_home(lite.engine, lite.home)
    with read_session(lite.engine) as session:
        slugs = session.scalars(select(Prompt.slug).filter_by(query_set_id=other.name)).all()
    assert slugs[0] == f"story-0-{other.name[:6]}"
    assert slugs[1].startswith("story-0-")
    assert slugs[3] == "prompt"
    assert len(set(slugs)) == 5
    assert not any("." in slug for slug in slugs)


def test_nul_characters_do_not_stop_a_load(tmp_path: Path, catalogue_url: str) -> None:
    home = Home(tmp_path)
    write_corpus(home, [PassageRecord("p", "a\0b")])
    engine = open_catalogue(catalogue_url)
    migrate(engine)
    load_home(engine, home)
    with read_session(engine) as session:
        assert session.scalars(select(Passage.text)).all() == ["a\ufffdb"]


def test_inputs_must_be_loaded_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    ids = write_tiny_home(home)
    engine = open_catalogue(f"sqlite:///{tmp_path / 'proponent.db'}")
    migrate(engine)
    with (
        pytest.raises(MissingArtifact, match=f"needs the corpus {ids['corpus']}"),
        write_session(engine) as s,
    ):
        load_query_set(s, home.folder("queries", ids["queries"]))
    with write_session(engine) as s:
        load_corpus(s, home.folder("corpus", ids["corpus"]))
    with (
        pytest.raises(MissingArtifact, match=f"needs the query set {ids['queries']}"),
        write_session(engine) as s,
    ):
        load_run(s, home.folder("run", ids["bm25"]))
    with write_session(engine) as s:
        load_query_set(s, home.folder("queries", ids["queries"]))
    with pytest.raises(MissingArtifact, match=f"needs the model {ids['model']}"), write_session(engine) as s:
        load_run(s, home.folder("run", ids["trackstar"]))
    with pytest.raises(MissingArtifact, match="no finished artifact"), write_session(engine) as s:
        load_run(s, tmp_path / "runs" / "nothing")
    with pytest.raises(CorruptArtifact, match="holds a corpus, not a run"), write_session(engine) as s:
        load_run(s, home.folder("corpus", ids["corpus"]))


def test_a_query_named_like_a_page_gets_another_slug(tmp_path: Path) -> None:
    engine = open_catalogue(f"sqlite:///{tmp_path / 'c.db'}")
    migrate(engine)
    with write_session(engine) as session:
        assert _slug_giver(session, "set")("random") == "random-set"
