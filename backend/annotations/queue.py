"""The blind queue: which item of a pool an annotator judges next, and how far everybody is.

Each annotator has an order of their own, drawn from the pool's seed and their name. An item is open to an annotator who
has not judged it while fewer than the pool's target have. Two who work at the same time may both take an item's last
place: then it has one judgement more than was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import and_, case, func, select
from sqlalchemy.orm import Session

from backend.annotations.pools import by_hash
from backend.catalogue.annotation_models import Annotation, Pool, PoolItem, PoolSkip

_STANDS = (Annotation.deleted_at.is_(None), Annotation.label.is_not(None))


@dataclass(frozen=True, slots=True)
class Item:
    """An item as its annotator may know it: without ranks."""

    pk: int
    query_hash: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A pool from one annotator's place."""

    items: Sequence[Item]
    """Those that the annotator has judged or may judge, in the annotator's order."""
    judged: frozenset[int]
    """Items that the annotator has judged."""
    aside: frozenset[int]
    """Items that the annotator has put aside and not judged."""
    total: int
    """All items of the pool."""
    judgements: int
    """Of all annotators, at most the target of each item."""
    target: int

    @property
    def open(self) -> list[Item]:
        """What is left to judge, without what was put aside."""
        return [item for item in self.items if item.pk not in self.judged and item.pk not in self.aside]

    def next(self) -> Item | None:
        """What to judge next; at the end what was put aside; None when nothing is left."""
        left = self.open or [item for item in self.items if item.pk in self.aside]
        return left[0] if left else None

    def find(self, pk: int) -> Item | None:
        """An item by its number; None where the annotator has no business with it."""
        return next((item for item in self.items if item.pk == pk), None)

    def beside(self, pk: int) -> tuple[Item | None, Item | None]:
        """The items before and behind one in the annotator's order."""
        place = next((place for place, item in enumerate(self.items) if item.pk == pk), None)
        if place is None:
            return None, None
        before = self.items[place - 1] if place else None
        behind = self.items[place + 1] if place + 1 < len(self.items) else None
        return before, behind


def read_queue(session: Session, pool: Pool, user_id: int, user_name: str) -> Queue:
    """The pool as an annotator works through it; three queries, whatever its size."""
    wanted = select(PoolItem.pk, PoolItem.query_hash, PoolItem.content_hash)
    items = [Item(*row) for row in session.execute(wanted.where(PoolItem.pool_id == pool.id))]
    own = func.sum(case((Annotation.user_id == user_id, 1), else_=0))
    rows = session.execute(
        select(Annotation.query_hash, Annotation.content_hash, func.count().label("judgements"), own.label("own"))
        .where(Annotation.pool_id == pool.id, *_STANDS)
        .group_by(Annotation.query_hash, Annotation.content_hash)
    )
    counts = {(row.query_hash, row.content_hash): (row.judgements, bool(row.own)) for row in rows}
    skips = select(PoolSkip.item_pk).join(PoolItem, PoolItem.pk == PoolSkip.item_pk)
    skipped = set(session.scalars(skips.where(PoolItem.pool_id == pool.id, PoolSkip.user_id == user_id)))

    def count(item: Item) -> tuple[int, bool]:
        return counts.get((item.query_hash, item.content_hash), (0, False))

    judged = frozenset(item.pk for item in items if count(item)[1])
    mine_to_judge = [item for item in items if item.pk in judged or count(item)[0] < pool.target]
    return Queue(
        items=sorted(mine_to_judge, key=lambda i: by_hash(pool.seed, user_name, i.query_hash, i.content_hash)),
        judged=judged,
        aside=frozenset(item.pk for item in mine_to_judge if item.pk in skipped) - judged,
        total=len(items),
        judgements=sum(min(count(item)[0], pool.target) for item in items),
        target=pool.target,
    )


class Progress(NamedTuple):
    """How far a pool is."""

    judgements: int
    """Of all annotators, at most the target of each item."""
    own: int
    """Items that the annotator has judged."""
    full: int
    """Items that enough others have judged, and the annotator has not."""


def progress_of_pools(session: Session, user_id: int) -> dict[str, Progress]:
    """Pool id -> how far it is, of every pool with a judgement; one query."""
    of_item = (
        select(
            Annotation.pool_id,
            func.count().label("judgements"),
            func.max(case((Annotation.user_id == user_id, 1), else_=0)).label("own"),
        )
        .where(Annotation.pool_id.is_not(None), *_STANDS)
        .group_by(Annotation.pool_id, Annotation.query_hash, Annotation.content_hash)
        .subquery()
    )
    many = of_item.c.judgements >= Pool.target
    rows = session.execute(
        select(
            of_item.c.pool_id,
            func.sum(case((many, Pool.target), else_=of_item.c.judgements)),
            func.sum(of_item.c.own),
            func.sum(case((and_(many, of_item.c.own == 0), 1), else_=0)),
        )
        .join(Pool, Pool.id == of_item.c.pool_id)
        .group_by(of_item.c.pool_id)
    )
    return {row[0]: Progress(*map(int, row[1:])) for row in rows}


def last_saved(session: Session, pool_id: str, user_id: int) -> Annotation | None:
    """What an annotator saved last in a pool; None for nothing, or where it was taken back."""
    latest = session.scalar(
        select(Annotation)
        .where(Annotation.pool_id == pool_id, Annotation.user_id == user_id)
        .order_by(Annotation.updated_at.desc(), Annotation.id)
        .limit(1)
    )
    return None if latest is None or latest.deleted_at is not None else latest


def item_of(session: Session, annotation: Annotation) -> int | None:
    """The item that an annotation of a pool judges; None where it is none."""
    return session.scalar(
        select(PoolItem.pk).where(
            PoolItem.pool_id == annotation.pool_id,
            PoolItem.query_hash == annotation.query_hash,
            PoolItem.content_hash == annotation.content_hash,
        )
    )
