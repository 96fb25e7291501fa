"""Numbers about labels, worked out by hand from a few judgements."""

from __future__ import annotations

import pytest

from backend.accounts.roles import Role
from backend.annotations.agreement import Scope, alphas, confused, disputed, pairs, precisions, read_judgements
from backend.annotations.pools import PoolPlan, make_pool
from backend.annotations.subjects import pair_in_place
from backend.annotations.writing import About, Judgement, delete, save
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import PoolItem
from backend.catalogue.prompt_lists import PromptFilter
from backend.core.labels import ORDINAL, Label
from tests.annotations.conftest import BM25, TRACKSTAR, Site, signed_in

YES, NO, PRIOR = (Judgement(label, None, "") for label in (Label.STATES_FACT, Label.IRRELEVANT, Label.PRIOR_ENTITY))


def test_precision_is_the_share_of_judged_passages_that_most_say_state_the_fact(any_site: Site) -> None:
    """All items of three prompts' first five: rank 1 of TrackStar is labelled yes by both, rank 2 by one of two."""
    with write_session(any_site.engine) as session:
        plan = PoolPlan("p", "", (TRACKSTAR, BM25), 3, 2, 1, PromptFilter(task="facts"), {}, 3)
        pool = make_pool(session, any_site.ada, plan)
        items = session.query(PoolItem).filter_by(pool_id=pool.id).all()
        expected: dict[int, list[float]] = {}
        for item in items:
            rank = item.ranks.get(TRACKSTAR)
            about = About(item.query_hash, item.content_hash, pool.id, {"slug": "s", "task": "facts"})
            vote = {1: (YES, YES), 2: (YES, NO), 3: (NO, NO), None: (NO, NO)}[rank]
            for actor, judgement in zip((any_site.ada, any_site.ben), vote, strict=True):
                save(session, actor, about, judgement, 0)
            if rank is not None:
                expected.setdefault(rank, []).append({1: 1.0, 2: 0.5, 3: 0.0}[rank])
    with read_session(any_site.engine) as session:
        judgements = read_judgements(session, Scope())
        found, crossed = precisions(session, judgements, Scope())
        of_trackstar = {cell.k: cell for cell in found if cell.run == TRACKSTAR}
        assert set(of_trackstar) == {1, 3}
        assert of_trackstar[1].labels == 1.0
        assert of_trackstar[1].prompts == of_trackstar[1].compared == 3
        assert of_trackstar[1].judged == of_trackstar[3].judged == 1.0
        by_prompt = {}
        for item in items:
            rank = item.ranks.get(TRACKSTAR)
            if rank:
                by_prompt.setdefault(item.query_hash, []).append({1: 1.0, 2: 0.5, 3: 0.0}[rank])
        mean = sum(sum(votes) / len(votes) for votes in by_prompt.values()) / 3
        assert of_trackstar[3].labels == pytest.approx(mean)
        assert of_trackstar[1].entailment is not None
        decided = sum(item.ranks.get(TRACKSTAR) != 2 for item in items)
        assert crossed.both + crossed.neither + crossed.people_only + crossed.entailment_only == decided
        assert crossed.both + crossed.people_only == len(expected[1])
        assert precisions(session, judgements, Scope(pool="nothing"))[0] == []


def test_what_counts_is_the_standing_judgement_of_the_scope(any_site: Site) -> None:
    with write_session(any_site.engine) as session:
        pair = pair_in_place(session, "capital-peru", "fact/capital/peru/0")
        assert pair is not None
        save(session, any_site.ada, pair.about(None, {}), YES, 0)
        slip = save(session, any_site.ben, pair.about(None, {}), NO, 0)
        save(session, any_site.ben, About("0" * 64, "1" * 64, None, {"task": "arithmetic"}), PRIOR, 0)
    with read_session(any_site.engine) as session:
        assert read_judgements(session, Scope()).labels == {}
        both = read_judgements(session, Scope(in_place=True))
        assert sorted(len(labels) for labels in both.labels.values()) == [1, 2]
        assert len(read_judgements(session, Scope(in_place=True, task="arithmetic")).labels) == 1
        one = disputed(both)
        assert [(found.subject.slug, found.disagreement) for found in one] == [("capital-peru", 1.0)]
        matrix = confused(both)
        first, other = ORDINAL.index(Label.STATES_FACT), ORDINAL.index(Label.IRRELEVANT)
        assert matrix[first][other] == matrix[other][first] == 1
        assert sum(map(sum, matrix)) == 2
        assert [(found.shared, found.same) for found in pairs(both)] == [(1, 0)]
    with write_session(any_site.engine) as session:
        delete(session, any_site.ben, slip.id, 1)
    with read_session(any_site.engine) as session:
        assert disputed(read_judgements(session, Scope(in_place=True))) == []


def test_alpha_of_the_same_judgements_is_that_of_core(site: Site) -> None:
    cleo = signed_in(site.engine, "cleo", Role.ANNOTATOR)
    labels = [(YES, YES, NO), (NO, NO, NO), (PRIOR, YES, None), (YES, YES, YES)]
    with write_session(site.engine) as session:
        for number, given in enumerate(labels):
            about = About(f"{number:064x}", "1" * 64, None, {"task": "facts" if number else "arithmetic"})
            for actor, judgement in zip((site.ada, site.ben, cleo), given, strict=True):
                if judgement is not None:
                    save(session, actor, about, judgement, 0)
    with read_session(site.engine) as session:
        everything, tasks, by_label = alphas(read_judgements(session, Scope(in_place=True)))
        assert (everything.nominal.units, everything.nominal.judgements) == (4, 11)
        assert {task.name: task.nominal.units for task in tasks} == {"arithmetic": 1, "facts": 3}
        unused = next(found for found in by_label if found.name == "template")
        assert unused.nominal.value is None
