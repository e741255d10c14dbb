"""How many requests a caller has left, over all replicas.

One bucket a caller in the database, which fills at the caller's rate. A replica takes tokens in blocks, a quarter of a
second's worth, and lends half a block while it asks, so that a request seldom waits for the database. While the database
cannot be reached a replica goes by the whole rate itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app import clock
from app.access.callers import Caller
from app.database import Database, insert_if_new
from app.errors import RateLimitedError
from app.tables import RateBucketRecord

WINDOW_SECONDS = 60
_BUCKET_SECONDS = 10.0
_BLOCK_SECONDS = 0.25
_HELD_SECONDS = 2.0  # what a replica took and did not use by then is lost
_MIN_PAUSE_SECONDS = 0.05
_MAX_CALLERS = 10_000
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limit:
    """A caller's rate, and what follows from it."""

    per_minute: int

    @property
    def per_second(self) -> float:
        """How fast the bucket fills."""
        return self.per_minute / WINDOW_SECONDS

    @property
    def capacity(self) -> float:
        """What the bucket holds: what may come at once after a pause."""
        return max(1.0, self.per_second * _BUCKET_SECONDS)

    @property
    def block(self) -> int:
        """How many tokens a replica takes at a time."""
        return max(1, int(self.per_second * _BLOCK_SECONDS))


@dataclass(frozen=True)
class Taken:
    """What the shared bucket gave, and what is left in it."""

    tokens: float
    left: float


def take(session: Session, caller_id: str, limit: Limit, wanted: float) -> Taken:
    """As many whole tokens as there are, `wanted` at most; others who take of the same bucket wait."""
    now = clock.now(session)
    insert_if_new(
        session, RateBucketRecord, {"caller": caller_id, "tokens": limit.capacity, "refilled_at": now}
    )  # full, the first time
    bucket = session.scalars(
        select(RateBucketRecord).where(RateBucketRecord.caller == caller_id).with_for_update()
    ).one()
    waited = max(0.0, (now - bucket.refilled_at).total_seconds())
    filled = min(limit.capacity, bucket.tokens + waited * limit.per_second)
    given = max(0.0, math.floor(min(filled, wanted)))
    bucket.tokens, bucket.refilled_at = filled - given, max(now, bucket.refilled_at)
    return Taken(given, bucket.tokens)


class _Purse:
    """What a replica holds of one caller's tokens. Belongs to the event loop."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.tokens = 0.0  # negative: lent
        self.left = limit.capacity
        self.used_at = self.asked_at = time.monotonic()
        self.empty_until = 0.0
        self.asking: asyncio.Task[None] | None = None

    @property
    def lendable(self) -> int:
        return self.limit.block // 2

    def spend(self, now: float) -> bool:
        """Whether there was a token to spend."""
        if now - self.used_at > _HELD_SECONDS:
            self.tokens = min(self.tokens, 0.0)
        self.used_at = now
        if self.tokens < 1.0 - (self.lendable if now >= self.empty_until else 0):
            return False
        self.tokens -= 1.0
        return True

    def headers(self) -> dict[str, str]:
        """What the answer says, in the form of the IETF's draft on RateLimit header fields."""
        remaining = max(0, math.floor(self.tokens + self.left))
        full_in = math.ceil(max(0.0, self.limit.capacity - remaining) / self.limit.per_second)
        return {
            "RateLimit-Policy": f'"key";q={self.limit.per_minute};w={WINDOW_SECONDS}',
            "RateLimit": f'"key";r={remaining};t={full_in}',
        }


class RateLimits:
    """One for an application; belongs to the event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._purses: dict[str, _Purse] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def finish(self) -> None:
        """Waits for what is still being asked of the database."""
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def spend(self, caller: Caller) -> dict[str, str]:
        """Counts one request of the caller; the header fields that say what is left.

        Raises:
            RateLimitedError: if nothing is.
        """
        purse = self._purse(caller)
        while not purse.spend(time.monotonic()):
            if purse.asking is None and time.monotonic() < purse.empty_until:
                raise _refused(purse)
            await asyncio.shield(self._asked(caller, purse))
        if purse.tokens < purse.limit.block / 2 and purse.asking is None and time.monotonic() >= purse.empty_until:
            self._asked(caller, purse)
        return purse.headers()

    def _purse(self, caller: Caller) -> _Purse:
        purse = self._purses.get(caller.id)
        if purse is None or purse.limit.per_minute != caller.requests_per_minute:
            while len(self._purses) >= _MAX_CALLERS:
                del self._purses[next(iter(self._purses))]
            purse = self._purses[caller.id] = _Purse(Limit(caller.requests_per_minute))
        return purse

    def _asked(self, caller: Caller, purse: _Purse) -> asyncio.Task[None]:
        if purse.asking is None:
            purse.asking = asyncio.create_task(self._ask(caller, purse))
            self._asking.add(purse.asking)
            purse.asking.add_done_callback(self._asking.discard)
        return purse.asking

    async def _ask(self, caller: Caller, purse: _Purse) -> None:
        wanted = purse.limit.block - purse.tokens
        try:
            taken = await run_in_threadpool(self._taken, caller.id, purse.limit, wanted)
        except SQLAlchemyError:
            _logger.exception("expected to share a rate limit through the database, got an error; going on alone")
            taken = _by_itself(purse)
        finally:
            purse.asking, purse.asked_at = None, time.monotonic()
        purse.tokens += taken.tokens
        purse.left = taken.left
        if taken.tokens < wanted:
            missing = max(0.0, 1.0 - purse.tokens - taken.left)
            purse.empty_until = purse.asked_at + max(_MIN_PAUSE_SECONDS, missing / purse.limit.per_second)

    def _taken(self, caller_id: str, limit: Limit, wanted: float) -> Taken:
        with self._database.write() as session:
            return take(session, caller_id, limit, wanted)


def _by_itself(purse: _Purse) -> Taken:
    filled = (time.monotonic() - purse.asked_at) * purse.limit.per_second
    return Taken(min(filled, purse.limit.capacity), 0.0)


def _refused(purse: _Purse) -> RateLimitedError:
    seconds = max(1, math.ceil(purse.empty_until - time.monotonic()))
    limit = purse.limit.per_minute
    return RateLimitedError(
        f"expected at most {limit} requests a minute of this key, got more; try again in {seconds} s",
        {**purse.headers(), "Retry-After": str(seconds)},
        requests_per_minute=limit,
    )
