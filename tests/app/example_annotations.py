"""People of the example catalogue, two pools, and what was judged in them and in place."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from unittest.mock import patch

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from backend.accounts.access import make_token
from backend.accounts.audit import COMMAND_LINE, Actor
from backend.accounts.roles import Role
from backend.accounts.users import add_user
from backend.annotations.pools import PoolPlan, close_pool, make_pool
from backend.annotations.queue import read_queue
from backend.annotations.subjects import pair_in_place, pair_of_hashes, ranks_of
from backend.annotations.writing import Judgement, delete, save
from backend.catalogue.database import write_session
from backend.catalogue.models import Pool, PoolItem
from backend.catalogue.prompt_lists import PromptFilter
from backend.core.labels import Label
from backend.core.spans import find_span
from backend.curation.flags import Reason, flag, passages_named
from tests.app.addresses import BM25, CLOSED_POOL, OPEN_POOL, TRACKSTAR
from tests.app.example_text import HOSTILE

PEOPLE = {"rita": Role.READER, "ben": Role.ANNOTATOR, "cleo": Role.ANNOTATOR, "ada": Role.CURATOR, "root": Role.ADMIN}
"""Name -> role; nobody has a password."""


def token_of(home: Path, name: str) -> dict[str, str]:
    """The headers with which one of them asks."""
    return {"authorization": f"Bearer {(home / f'{name}.token').read_text()}"}


def add_people(engine: Engine, home: Path) -> dict[str, Actor]:
    """Add the people, with a token each, whose secret is written to a file."""
    actors = {}
    with write_session(engine) as session:
        for name, role in PEOPLE.items():
            user = add_user(session, COMMAND_LINE, name, role, None)
            _, secret = make_token(session, COMMAND_LINE, user, "tests", role, 30)
            (home / f"{name}.token").write_text(secret)
            actors[name] = Actor(name, user.id)
    return actors


def add_annotations(engine: Engine, home: Path) -> None:
    """Add the people, an open and a closed pool, judgements in both, and annotations in place."""
    actors = add_people(engine, home)
    numbers = count(1)
    ids = patch("backend.annotations.writing.secrets.token_hex", lambda _: f"{next(numbers):024x}")
    with ids, write_session(engine) as session:
        closed = _pool(session, actors["ada"], CLOSED_POOL, f"First pool {HOSTILE[0]}")
        opened = _pool(session, actors["ada"], OPEN_POOL, "Second pool")
        for turn, (name, pool) in enumerate(
            (name, pool) for pool in (closed, opened) for name in ("ben", "cleo", "ada")
        ):
            _judge(session, actors[name], pool, turn)
        close_pool(session, actors["ada"], closed)
        for number, name in enumerate(("ben", "cleo")):
            pair = pair_in_place(session, "capital-peru", "fact/capital/peru/0")
            assert pair is not None
            about = pair.about(None, ranks_of(session, pair))
            span = find_span(pair.passage.text, "Lima")
            save(session, actors[name], about, Judgement(list(Label)[number], span, f"={name} {HOSTILE[0]}"), 0)
        flagged = passages_named(session, "c0ffee000001", ["fact/capital/canada/0", "factbook/finland/1"])
        flag(session, actors["ada"], flagged, Reason.TOXIC, f"not nice {HOSTILE[0]}")
        other = pair_in_place(session, "capital-peru", "factbook/peru/0")
        assert other is not None
        gone = save(session, actors["ben"], other.about(None, {}), Judgement(Label.TEMPLATE, None, "a slip"), 0)
        delete(session, actors["ben"], gone.id, 1)


def _pool(session: Session, actor: Actor, pool_id: str, name: str) -> Pool:
    plan = PoolPlan(
        name=name,
        guidelines=f"Read with care. {HOSTILE[0]}",
        run_ids=(TRACKSTAR, BM25),
        depth=5,
        target=3,
        seed=3,
        wanted=PromptFilter(task="facts"),
        asked={"task": "facts"},
        amount=8,
    )
    with patch("backend.annotations.pools.secrets.token_hex", lambda _: pool_id):
        return make_pool(session, actor, plan)


def _judge(session: Session, actor: Actor, pool: Pool, turn: int) -> None:
    """Judge most of a pool: by what the passage says of the prompt, now and then otherwise."""
    queue = read_queue(session, pool, actor.user_id or 0, actor.name)
    for item in queue.items[: len(queue.items) - 4]:
        pair = pair_of_hashes(session, item.query_hash, item.content_hash)
        assert pair is not None
        states = (pair.prompt.object or "-") in pair.passage.text and (pair.prompt.subject or "-") in pair.passage.text
        label = Label.STATES_FACT if states else (Label.PRIOR_ENTITY, Label.TEMPLATE, Label.IRRELEVANT)[item.pk % 3]
        if (item.pk + turn) % 7 == 0:
            label = Label.IRRELEVANT
        ranks = session.get_one(PoolItem, item.pk).ranks
        save(session, actor, pair.about(pool.id, ranks), Judgement(label, None, ""), 0)
