"""Pools hold what the lists hold; each annotator goes through them in an order of their own, blind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from backend.annotations.pools import PoolPlan, all_pools, close_pool, make_pool
from backend.annotations.queue import item_of, last_saved, read_queue
from backend.annotations.reading import of_prompt
from backend.annotations.subjects import pair_in_place, pair_of_hashes
from backend.annotations.writing import About, Judgement, save, skip, undo
from backend.catalogue.database import read_session, write_session
from backend.catalogue.models import Passage, Pool, PoolItem, Prompt, RankedPassage, Ranking
from backend.catalogue.prompt_lists import PromptFilter
from backend.core.errors import UserError
from backend.core.labels import Label
from backend.core.spans import span_at
from tests.annotations.conftest import BM25, TRACKSTAR, Site

PLAN = PoolPlan(
    name="first",
    guidelines="Read.",
    run_ids=(TRACKSTAR, BM25),
    depth=3,
    target=1,
    seed=7,
    wanted=PromptFilter(task="facts"),
    asked={"task": "facts"},
    amount=4,
)
YES = Judgement(Label.STATES_FACT, None, "")


def test_a_pool_is_the_union_of_the_lists_and_drawn_again_the_same(any_site: Site) -> None:
    with write_session(any_site.engine) as session:
        one, other = make_pool(session, any_site.ada, PLAN), make_pool(session, any_site.ada, PLAN)
        elsewhere = make_pool(session, any_site.ada, replace(PLAN, seed=8))

        def held(pool: Pool) -> dict[tuple[str, str], dict[str, int]]:
            items = session.scalars(select(PoolItem).where(PoolItem.pool_id == pool.id))
            return {(item.query_hash, item.content_hash): item.ranks for item in items}

        assert held(one) == held(other) != held(elsewhere)
        rows = session.execute(
            select(Prompt.query_hash, Passage.content_hash, Ranking.run_id, func.min(RankedPassage.rank))
            .join(Ranking, Ranking.prompt_pk == Prompt.pk)
            .join(RankedPassage, RankedPassage.ranking_pk == Ranking.pk)
            .join(Passage, Passage.pk == RankedPassage.passage_pk)
            .where(RankedPassage.rank.in_([1, 2, 3]), Prompt.task == "facts")
            .group_by(Prompt.query_hash, Passage.content_hash, Ranking.run_id)
        )
        expected: dict[tuple[str, str], dict[str, int]] = {}
        for query, content, run, rank in rows:
            expected.setdefault((query, content), {})[run] = rank
        chosen = {query for query, _ in held(one)}
        assert len(chosen) == 4
        assert held(one) == {pair: ranks for pair, ranks in expected.items() if pair[0] in chosen}
        assert {pool.id for pool, count in all_pools(session) if count == len(held(one))} >= {one.id, other.id}


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (replace(PLAN, run_ids=("nothing-1",)), "There is no run nothing-1 here"),
        (replace(PLAN, wanted=PromptFilter(q="nobodysays")), "No prompt passes the filter"),
    ],
)
def test_a_pool_that_cannot_be_says_why(site: Site, plan: PoolPlan, reason: str) -> None:
    with write_session(site.engine) as session:
        with pytest.raises(UserError, match=reason):
            make_pool(session, site.ada, plan)
        assert all_pools(session) == []


def test_annotators_go_through_it_in_orders_of_their_own_until_everybody_is_done(any_site: Site) -> None:
    with write_session(any_site.engine) as session:
        pool = make_pool(session, any_site.ada, PLAN)
        ids = any_site.ada.user_id, any_site.ben.user_id
        adas, bens = read_queue(session, pool, ids[0] or 0, "ada"), read_queue(session, pool, ids[1] or 0, "ben")
        assert sorted(item.pk for item in adas.items) == sorted(item.pk for item in bens.items)
        assert [item.pk for item in adas.items] != [item.pk for item in bens.items]
        assert read_queue(session, pool, ids[0] or 0, "ada").items == adas.items
        total = len(adas.items)
        for turn in range(total):  # by turns, each with what is next for them
            actor = (any_site.ada, any_site.ben)[turn % 2]
            queue = read_queue(session, pool, actor.user_id or 0, actor.name)
            item = queue.next()
            assert item is not None
            assert queue.judgements == turn
            assert item.pk not in queue.judged
            save(session, actor, About(item.query_hash, item.content_hash, pool.id, {}), YES, 0)
        for actor in (any_site.ada, any_site.ben):
            queue = read_queue(session, pool, actor.user_id or 0, actor.name)
            assert queue.next() is None
            assert queue.judgements == queue.total == total
            assert {item.pk for item in queue.items} == queue.judged


def test_what_is_put_aside_comes_back_at_the_end(site: Site) -> None:
    with write_session(site.engine) as session:
        pool = make_pool(session, site.ada, PLAN)
        user = site.ada.user_id or 0
        first = read_queue(session, pool, user, "ada").next()
        assert first is not None
        skip(session, user, first.pk)
        skip(session, user, first.pk)
        while (queue := read_queue(session, pool, user, "ada")).open:
            item = queue.next()
            assert item is not None
            assert item.pk != first.pk
            save(session, site.ada, About(item.query_hash, item.content_hash, pool.id, {}), YES, 0)
        assert queue.next() == first
        assert queue.aside == {first.pk}


def test_the_last_judgement_can_be_taken_back_and_is_then_open_again(site: Site) -> None:
    with write_session(site.engine) as session:
        pool = make_pool(session, site.ada, PLAN)
        user = site.ada.user_id or 0
        assert last_saved(session, pool.id, user) is None
        item = read_queue(session, pool, user, "ada").next()
        assert item is not None
        made = save(session, site.ada, About(item.query_hash, item.content_hash, pool.id, {}), YES, 0)
        assert last_saved(session, pool.id, user) is made
        assert item_of(session, made) == item.pk
        undo(session, site.ada, made.id, 1)
        assert last_saved(session, pool.id, user) is None
        assert read_queue(session, pool, user, "ada").next() == item


def test_judgements_of_an_open_pool_are_hidden_from_others_and_shown_when_it_is_closed(site: Site) -> None:
    with write_session(site.engine) as session:
        pool = make_pool(session, site.ada, PLAN)
        item = read_queue(session, pool, site.ada.user_id or 0, "ada").items[0]
        pair = pair_of_hashes(session, item.query_hash, item.content_hash)
        assert pair is not None
        assert (pair.prompt.query_hash, pair.passage.content_hash) == (item.query_hash, item.content_hash)
        save(session, site.ada, pair.about(pool.id, {}), YES, 0)

    def seen(user_id: int | None, *, others: bool = True) -> list[str]:
        with read_session(site.engine) as session:
            passages = {pair.passage.passage_id: (pair.passage.content_hash, pair.passage.text)}
            found = of_prompt(session, item.query_hash, passages, user_id, others=others)
            return [one.author for shown in found.values() for one in shown]

    assert seen(site.ada.user_id) == ["ada"]
    assert seen(site.ben.user_id) == seen(None) == []
    with write_session(site.engine) as session:
        close_pool(session, site.ada, session.get_one(Pool, pool.id))
    assert seen(site.ben.user_id) == seen(None) == ["ada"]
    assert seen(site.ben.user_id, others=False) == []


def test_a_passage_whose_text_has_changed_keeps_what_was_said_of_it(site: Site) -> None:
    with write_session(site.engine) as session:
        pair = pair_in_place(session, "capital-peru", "fact/capital/peru/0")
        assert pair is not None
        text = pair.passage.text
        save(session, site.ada, pair.about(None, {}), Judgement(None, span_at(text, 2, 9), ""), 0)
        changed = {pair.passage.passage_id: ("0" * 64, f"New words. {text}")}
        shown = of_prompt(session, pair.prompt.query_hash, changed, None, others=True)[pair.passage.passage_id][0]
        assert shown.earlier_text
        assert shown.span is not None
        assert shown.span.start == 2 + len("New words. ")
        gone = {pair.passage.passage_id: ("0" * 64, "Other words.")}
        shown = of_prompt(session, pair.prompt.query_hash, gone, None, others=True)[pair.passage.passage_id][0]
        assert (shown.lost, shown.span, shown.quote) == (True, None, text[2:9])
