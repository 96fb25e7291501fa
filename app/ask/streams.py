"""The page of an ask, live: its changing part is sent whenever it has changed, until nothing is open.

A stream only reads: it holds no session between two looks, and the work goes on without it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

import anyio
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from app.ask.job_views import AskedPage, read_page
from app.ask.readers import reader_hash
from app.http.clients import network_of
from app.http.database import catalogue_of
from app.http.errors import Problem, not_found
from app.http.headers import NO_STORE

LOOK_SECONDS = 0.25
EVERY_SECONDS = 1.0
"""After how long a look is worth it though nothing was written: the time that is left goes down by itself."""

ALIVE_SECONDS = 10.0
"""After how long of silence a stream says that it is there."""

LONGEST_SECONDS = 600.0
"""A stream ends then; the browser connects again."""

MOST_STREAMS = 20
"""Streams that one address may have open at once."""

LIVE = "ask/live.html"
QUESTIONS = ("/questions", "Your questions")


class OpenStreams:
    """How many streams each address has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, address: str) -> Iterator[None]:
        """Count a stream while the block runs; raises a Problem of status 429 where there are too many."""
        if self._open[address] >= MOST_STREAMS:
            detail = (
                f"{MOST_STREAMS} pages of this address are being followed already. This page loads again by itself."
            )
            raise Problem(429, "Too many open pages", detail, headers={"Retry-After": "5", **NO_STORE})
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]

    def count(self, address: str) -> int:
        """How many an address has open."""
        return self._open[address]


OPEN_STREAMS = OpenStreams()


async def hold_stream(request: Request, ask_id: str) -> AsyncIterator[str]:
    """Dependency: one of the address's streams, for an ask that is there, until the response has ended."""
    if await run_in_threadpool(look, request, ask_id) is None:
        raise missing(ask_id)
    with OPEN_STREAMS.one_more(network_of(request.scope)):
        yield ask_id


Stream = Annotated[str, Depends(hold_stream, scope="request")]


def missing(ask_id: str) -> Problem:
    """A 404 that says which question is not there."""
    problem = not_found(f"There is no question “{ask_id}” here.", QUESTIONS)
    problem.headers = NO_STORE
    return problem


def look(request: Request, ask_id: str) -> AskedPage | None:
    """The ask as it stands, in a session of its own."""
    if "\0" in ask_id:  # PostgreSQL knows no such text
        return None
    catalogue = catalogue_of(request)
    with catalogue.read() as session:
        return read_page(session, ask_id, reader_hash(request))


async def follow(request: Request, ask_id: str) -> AsyncIterator[ServerSentEvent]:
    """The changing part of an ask's page, again and again, then the event ``done``."""
    catalogue = catalogue_of(request)
    began = spoken = time.monotonic()
    looked, seen, sent = 0.0, None, None
    while (now := time.monotonic()) - began < LONGEST_SECONDS and not _is_stopping(request):
        if await request.is_disconnected():
            return
        generation = await catalogue.generation()
        if generation is None or generation != seen or now - looked >= EVERY_SECONDS:
            seen, looked = generation, now
            html, is_open = await run_in_threadpool(_fragment, request, ask_id)
            if html != sent:
                yield ServerSentEvent(raw_data=html)
                sent, spoken = html, now
            if not is_open:
                yield ServerSentEvent(raw_data="done", event="done")
                return
        if now - spoken >= ALIVE_SECONDS:
            yield ServerSentEvent(comment="still here")
            spoken = now
        await anyio.sleep(LOOK_SECONDS)


def _is_stopping(request: Request) -> bool:
    """Whether the server is about to end (``app.state.is_stopping``, where whoever serves has set it)."""
    asked = getattr(request.app.state, "is_stopping", None)
    return asked is not None and bool(asked())


def _fragment(request: Request, ask_id: str) -> tuple[str, bool]:
    page = look(request, ask_id)
    if page is None:
        return "", False
    return request.app.state.templates.env.get_template(LIVE).render(page=page), page.is_open
