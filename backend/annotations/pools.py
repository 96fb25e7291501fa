"""Pools: passages of several methods' lists, gathered to be judged without knowing whose they are."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from backend.accounts.audit import Actor, note
from backend.catalogue.annotation_models import Pool, PoolItem
from backend.catalogue.models import Passage, Prompt, RankedPassage, Ranking
from backend.catalogue.prompt_lists import PromptFilter
from backend.catalogue.runs import runs_by_id
from backend.core.errors import UserError

MOST_ITEMS = 5_000
"""Items of a pool: each page of it looks at all of them."""

BATCH = 200
"""Prompts whose lists are read at a time."""

GUIDELINES = """\
Judge what the passage says, not whether it is good. Read the prompt with its completion as one claim, then choose the \
first label that holds:

1  states the fact: somebody who reads only this passage can answer the prompt with this completion.
2  prior on the relation: it makes this kind of completion likelier (says how the relation usually turns out), without \
stating the fact.
3  prior on the entity: it is about the subject or the object, and makes the completion likelier without stating it.
4  prior on the name: only a name or a part of one is shared.
5  template: only the wording or the form is shared.
6  contradicts: it states something that cannot be true together with the claim.
7  irrelevant: none of these.

Where two labels hold, take the one with the smaller number; contradicts goes before all but the first. If you cannot \
tell, put it aside; a note says why."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What a pool is made of."""

    name: str
    guidelines: str
    run_ids: tuple[str, ...]
    depth: int
    """How many of each list (k)."""
    target: int
    """How many annotators judge each item (n)."""
    seed: int
    wanted: PromptFilter
    asked: dict[str, Any]
    """The filter as parameters of an address, for people."""
    amount: int
    """How many prompts are drawn from the filter."""


def make_pool(session: Session, actor: Actor, plan: PoolPlan) -> Pool:
    """Draw the prompts, gather the first passages of every run's list, and store them as a pool. Raises UserError.

    Prompts are drawn by the hash of seed and texts, so that the same plan over the same texts gives the same pool.
    """
    assert actor.user_id is not None
    runs = runs_by_id(session, plan.run_ids)
    if missing := [run_id for run_id in plan.run_ids if run_id not in runs]:
        raise UserError(f"There is no run {', '.join(missing)} here.", "Choose among the runs that the form offers.")
    drawn = _draw(session, plan)
    if not drawn:
        raise UserError("No prompt passes the filter with a list of one of these runs.", "Widen the filter.")
    items = _gather(session, plan, drawn)
    if len(items) > MOST_ITEMS:
        raise UserError(
            f"This would be {len(items):,} passages to judge; a pool holds at most {MOST_ITEMS:,}.",
            "Take fewer prompts, fewer runs or fewer passages of each list.",
        )
    pool = Pool(
        id=secrets.token_hex(6),
        name=plan.name,
        guidelines=plan.guidelines,
        runs=list(plan.run_ids),
        depth=plan.depth,
        target=plan.target,
        seed=plan.seed,
        prompts={"filter": plan.asked, "drawn": len(drawn)},
        created_at=datetime.now(UTC),
        created_by=actor.user_id,
        closed_at=None,
    )
    session.add(pool)
    session.flush()
    session.execute(insert(PoolItem), [{"pool_id": pool.id, **item} for item in items])
    note(session, actor, "pool.make", pool.id, name=pool.name, items=len(items))
    return pool


def close_pool(session: Session, actor: Actor, pool: Pool) -> None:
    """Nobody is asked to judge its items any more; what was judged stays."""
    pool.closed_at = pool.closed_at or datetime.now(UTC)
    note(session, actor, "pool.close", pool.id)


def open_pool_again(session: Session, actor: Actor, pool: Pool) -> None:
    """Ask for judgements again."""
    pool.closed_at = None
    note(session, actor, "pool.open", pool.id)


def all_pools(session: Session) -> list[tuple[Pool, int]]:
    """Every pool with the number of its items: open ones first, then the newest."""
    rows = session.execute(
        select(Pool, func.count(PoolItem.pk))
        .outerjoin(PoolItem)
        .group_by(Pool.id)
        .order_by(Pool.closed_at.is_not(None), Pool.created_at.desc(), Pool.id)
    )
    return [(pool, count) for pool, count in rows]


def by_hash(seed: int, *names: str) -> str:
    """A sort key that shuffles: the same on every machine and after an import."""
    return hashlib.sha256("/".join((str(seed), *names)).encode()).hexdigest()


class Drawn(NamedTuple):
    """A prompt that was drawn."""

    pk: int
    slug: str
    query_hash: str


def _draw(session: Session, plan: PoolPlan) -> list[Drawn]:
    """The prompts, each pair of texts once."""
    dialect = session.get_bind().dialect.name
    ranked = select(Ranking.prompt_pk).where(Ranking.run_id.in_(plan.run_ids))
    rows = session.execute(
        select(Prompt.pk, Prompt.slug, Prompt.query_hash)
        .where(*plan.wanted.conditions(dialect), Prompt.pk.in_(ranked))
        .order_by(Prompt.pk)
    )
    once = {row.query_hash: Drawn(*row) for row in rows}
    return sorted(once.values(), key=lambda row: by_hash(plan.seed, row.query_hash))[: plan.amount]


def _gather(session: Session, plan: PoolPlan, drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    """The items: each passage of a prompt once, with its best rank in each run; by prompt and passage."""
    prompts = {row.pk: row for row in drawn}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for batch in _batches(list(prompts), BATCH):
        rows = session.execute(
            select(Ranking.prompt_pk, Ranking.run_id, RankedPassage.rank, Passage.passage_id, Passage.content_hash)
            .join(RankedPassage, RankedPassage.ranking_pk == Ranking.pk)
            .join(Passage, Passage.pk == RankedPassage.passage_pk)
            .where(Ranking.prompt_pk.in_(batch), Ranking.run_id.in_(plan.run_ids))
            .where(RankedPassage.rank.between(1, plan.depth))
        )
        for row in rows:
            prompt = prompts[row.prompt_pk]
            item = found.setdefault(
                (prompt.query_hash, row.content_hash),
                {
                    "query_hash": prompt.query_hash,
                    "content_hash": row.content_hash,
                    "slug": prompt.slug,
                    "passage_id": row.passage_id,
                    "ranks": {},
                },
            )
            item["ranks"][row.run_id] = min(row.rank, item["ranks"].get(row.run_id, row.rank))
    return [found[key] for key in sorted(found)]


def _batches(values: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
