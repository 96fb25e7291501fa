"""The blind queue's page: one passage to judge, without method, rank and score."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app.annotate.forms import Typed
from app.http.formats import address
from app.labels_text import LabelText, label_text
from app.prompts.highlight import prompt_pieces
from backend.annotations.queue import Item, Queue, item_of, last_saved, read_queue
from backend.annotations.subjects import Pair, pair_of_hashes
from backend.annotations.writing import About, find_own
from backend.catalogue.annotation_models import Annotation, Pool


@dataclass(frozen=True, slots=True)
class Last:
    """What was saved last, for taking it back."""

    annotation_id: str
    version: int
    label: LabelText
    again: str
    """Address of its item."""


@dataclass(frozen=True, slots=True)
class QueuePage:
    """A pool from one annotator's place, at one item."""

    pool: Pool
    queue: Queue
    item: Item | None
    """None where nothing is left to judge."""
    pair: Pair | None
    """None where the corpus that held the passage is gone."""
    pieces: tuple[str, str, str]
    typed: Typed
    own: Annotation | None
    last: Last | None
    previous: str | None
    next: str | None
    is_aside: bool
    faults: dict[str, str] = field(default_factory=dict)
    standing: Annotation | None = None
    """What another window of the same annotator has saved meanwhile."""

    @property
    def here(self) -> str:
        """The pool's address."""
        return pool_address(self.pool.id)

    @property
    def draft(self) -> str:
        """What a browser keeps unsaved words under."""
        return f"{self.pool.id}/{self.item.pk if self.item else ''}"

    @property
    def place(self) -> int:
        """The item's place in the annotator's order, from 1."""
        return 0 if self.item is None else 1 + list(self.queue.items).index(self.item)


def pool_address(pool_id: str, item: int | None = None) -> str:
    """Address of a pool's queue, at an item or at what is next."""
    return address(f"/annotate/pools/{pool_id}", {"item": item})


def build_queue(
    session: Session,
    pool: Pool,
    user: tuple[int, str],
    item_pk: int | None,
    *,
    typed: Typed | None = None,
    faults: dict[str, str] | None = None,
    standing: Annotation | None = None,
) -> QueuePage | None:
    """The page at an item, or at what is next; None where the annotator has no such item.

    With ``faults`` or ``standing`` it shows the form as it was typed.
    """
    user_id, name = user
    queue = read_queue(session, pool, user_id, name)
    item = queue.next() if item_pk is None else queue.find(item_pk)
    if item is None and item_pk is not None:
        return None
    pair, own = None, None
    if item is not None:
        pair = pair_of_hashes(session, item.query_hash, item.content_hash)
        own = find_own(session, user_id, About(item.query_hash, item.content_hash, pool.id, {}))
    previous, following = queue.beside(item.pk) if item else (None, None)
    return QueuePage(
        pool=pool,
        queue=queue,
        item=item,
        pair=pair,
        pieces=prompt_pieces(pair.prompt.prompt, pair.prompt.completion) if pair else ("", "", ""),
        typed=typed or Typed.of(own),
        own=own,
        last=_last(session, pool.id, user_id),
        previous=pool_address(pool.id, previous.pk) if previous else None,
        next=pool_address(pool.id, following.pk) if following else None,
        is_aside=item is not None and item.pk in queue.aside,
        faults=faults or {},
        standing=standing,
    )


def queue_json(page: QueuePage) -> dict[str, Any]:
    """The JSON twin: what to judge, for a program that judges; without whose lists it stood in."""
    item = None
    if page.item is not None and page.pair is not None and page.pool.closed_at is None:
        prompt, passage = page.pair.prompt, page.pair.passage
        item = {
            "item": page.item.pk,
            "prompt": prompt.prompt,
            "completion": prompt.completion,
            "passage_id": passage.passage_id,
            "text": passage.text,
            "label": page.typed.label or None,
            "version": page.typed.version,
        }
    return {
        "id": page.pool.id,
        "name": page.pool.name,
        "guidelines": page.pool.guidelines,
        "closed_at": page.pool.closed_at.isoformat() if page.pool.closed_at else None,
        "judged_by_me": len(page.queue.judged),
        "left_for_me": len(page.queue.open) + len(page.queue.aside),
        "item": item,
    }


def _last(session: Session, pool_id: str, user_id: int) -> Last | None:
    saved = last_saved(session, pool_id, user_id)
    if saved is None:
        return None
    return Last(saved.id, saved.version, label_text(saved.label), pool_address(pool_id, item_of(session, saved)))
