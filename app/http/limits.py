"""What one client may ask for: requests a minute, questions a minute, bytes of a body.

Counts are kept in this process's memory for two minutes. Of the minute before, the share that still lies within the
last 60 seconds counts (a sliding window), so a client that stays below its limit is never refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from math import floor
from threading import Lock
from time import monotonic

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ask.readers import reader_of
from app.http.clients import network_of
from app.http.csrf import SAFE_METHODS
from app.http.errors import Problem, problem_response

WINDOW = 60
MOST_COUNTS = 40_000
"""Counts that are kept, two a client; beyond, those that were not raised for the longest time go (about 10 MB)."""

UNCOUNTED = "/static/"
BODY_SECONDS = 20.0
"""How long a body may take to come."""


class BoundedCounts(MemoryStorage):
    """Counts in memory that never grow beyond a number of them, and need no thread to clear them away."""

    STORAGE_SCHEME = ["bounded-memory"]  # noqa: RUF012  the library declares it so

    def __init__(self, most: int = MOST_COUNTS) -> None:
        super().__init__()
        self._most = most
        self._lock = Lock()
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Raise a count, which begins anew ``expiry`` seconds after its first rise."""
        now = time.time()
        with self._lock:
            count, ends = self._counts.pop(key, (0, 0.0))
            if ends <= now:
                count, ends = 0, now + expiry
            self._counts[key] = count + amount, ends
            while len(self._counts) > self._most:
                self._counts.popitem(last=False)
        return count + amount

    def decr(self, key: str, amount: int = 1) -> int:
        """Take a rise back."""
        with self._lock:
            count, ends = self._counts.get(key, (0, 0.0))
            if key in self._counts:
                self._counts[key] = max(0, count - amount), ends
        return max(0, count - amount)

    def get(self, key: str) -> int:
        """A count; 0 for one that has run out."""
        count, ends = self._counts.get(key, (0, 0.0))
        return count if ends > time.time() else 0


class PerMinute:
    """At most so many a minute of each client; 0: any number."""

    def __init__(self, amount: int, most_counts: int = MOST_COUNTS) -> None:
        self.amount = amount
        if amount:
            self._item = RateLimitItemPerMinute(amount)
            self.counts = BoundedCounts(most_counts)
            self._limiter = SlidingWindowCounterRateLimiter(self.counts)

    def hit(self, client: str) -> int | None:
        """Count one; returns None if it is allowed, else whole seconds until one will be (and counts nothing)."""
        if not self.amount or self._limiter.hit(self._item, client):
            return None
        before, left, now, _ = self.counts.get_sliding_window(self._item.key_for(client), WINDOW)
        if before and now < self.amount:
            return max(1, floor(left - (self.amount - now) * WINDOW / before) + 1)
        return floor(WINDOW - time.time() % WINDOW) + 1


def too_many(seconds: int) -> Problem:
    """The refusal of a client that is over a limit."""
    detail = f"This is more than one address may ask for in a minute. Try again in {seconds} s."
    return Problem(429, "Too many requests", detail, headers={"Retry-After": str(seconds)})


async def asking_limit(request: Request) -> None:
    """Dependency of routes that ask: counts a question of this address and of this reader; raises a Problem (429)."""
    limit: PerMinute = request.app.state.asking_limit
    reader = reader_of(request)
    for client in (network_of(request.scope), *([reader.turn] if reader else [])):
        seconds = limit.hit(client)
        if seconds is not None:
            raise too_many(seconds)


class ReadLimit:
    """ASGI wrapper that counts every request of an address but those for static files."""

    def __init__(self, app: ASGIApp, per_minute: int) -> None:
        self.app = app
        self._limit = PerMinute(per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(UNCOUNTED):
            seconds = self._limit.hit(network_of(scope))
            if seconds is not None:
                await problem_response(Request(scope), too_many(seconds))(scope, receive, send)
                return
        await self.app(scope, receive, send)


class BodyLimit:
    """ASGI wrapper that refuses a body that says itself that it is too long, before anything reads it, and one that
    takes too long to come.

    One that does not say how long it is is refused by FastAPI, when it has read so much.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float = BODY_SECONDS) -> None:
        self.app = app
        self._most, self._seconds = most, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        if length.isdecimal() and (len(length) > 18 or int(length) > self._most):
            detail = f"The body has more than {self._most:,} bytes, which nothing here needs."
            response = problem_response(Request(scope), Problem(413, "Too much", detail))
            await response(scope, receive, send)
            return
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self.app(scope, receive, send)
            return
        ends = monotonic() + self._seconds
        whole = False

        async def receive_in_time() -> Message:
            nonlocal whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, ends - monotonic()))
            except TimeoutError:
                detail = f"The body did not come within {self._seconds:g} s."
                raise Problem(408, "Too slow", detail, headers={"Connection": "close"}) from None
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time, send)
