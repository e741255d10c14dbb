"""Rate limits: one bucket for all replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app import clock
from app.access import rate_limits
from app.access.callers import Caller
from app.access.rate_limits import Limit, RateLimits
from app.errors import RateLimitedError
from app.guarded_routes import Role

START = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock that all replicas share, in seconds; it stands still otherwise."""
    now = [START]
    monkeypatch.setattr(clock, "now", lambda session: now[0])

    def at(seconds: float) -> None:
        now[0] = START + timedelta(seconds=seconds)

    return at


def caller(per_minute: int) -> Caller:
    return Caller("key:1", "worker", Role.READER, 1, per_minute)


def admitted(limits: RateLimits, who: Caller, count: int) -> int:
    """How many of so many requests get through."""

    async def spend() -> int:
        through = 0
        for _ in range(count):
            try:
                await limits.spend(who)
            except RateLimitedError:
                continue
            through += 1
        return through

    return asyncio.run(spend())


def test_a_bucket_holds_ten_seconds_worth_and_replicas_take_a_quarter_second_at_a_time() -> None:
    assert (Limit(6_000).capacity, Limit(6_000).block) == (1_000, 25)
    assert (Limit(60).capacity, Limit(60).block) == (10, 1)
    assert (Limit(1).capacity, Limit(1).block) == (1, 1)


@pytest.mark.both_engines
@pytest.mark.usefixtures("client")
def test_the_bucket_fills_at_the_rate_and_no_further(database: Any, moment: Callable[[float], None]) -> None:
    def taken(wanted: float) -> float:
        with database.write() as session:
            return rate_limits.take(session, "key:1", Limit(60), wanted).tokens

    assert (taken(4), taken(100), taken(1)) == (4, 6, 0)
    moment(3.5)
    assert (taken(100), taken(1)) == (3, 0)
    moment(4.0)
    assert taken(100) == 1
    moment(1_000.0)
    assert taken(100) == 10
    moment(500.0)  # a clock that goes back gives nothing
    assert taken(100) == 0


@pytest.mark.both_engines
@pytest.mark.usefixtures("client")
def test_who_takes_at_the_same_time_gets_no_more_together(
    database: Any, reopened: Any, moment: Callable[[float], None]
) -> None:
    databases = [reopened(database) for _ in range(4)]

    def take_all(place: int) -> float:
        total = 0.0
        for _ in range(10):
            with databases[place].write() as session:
                total += rate_limits.take(session, "key:1", Limit(600), 7).tokens
        return total

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(take_all, range(4))) == 100


@pytest.mark.both_engines
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("num_replicas", [1, 3])
def test_the_rate_holds_over_all_replicas_within_half_a_block_each(
    database: Any, reopened: Any, moment: Callable[[float], None], num_replicas: int
) -> None:
    replicas = [RateLimits(reopened(database)) for _ in range(num_replicas)]
    limit = Limit(2_400)

    through = sum(admitted(one, caller(2_400), 600) for one in replicas)

    assert limit.capacity <= through <= limit.capacity + num_replicas * limit.block / 2


@pytest.mark.usefixtures("client")
def test_who_asks_too_often_is_told_when_to_come_back(database: Any, moment: Callable[[float], None]) -> None:
    limits = RateLimits(database)
    assert admitted(limits, caller(60), 20) == 10

    with pytest.raises(RateLimitedError) as refused:
        asyncio.run(limits.spend(caller(60)))

    assert refused.value.headers["Retry-After"] == "1"
    assert refused.value.headers["RateLimit"].startswith('"key";r=0;t=')
    assert refused.value.headers["RateLimit-Policy"] == '"key";q=60;w=60'


@pytest.mark.usefixtures("client")
def test_without_the_database_a_replica_goes_by_the_rate_alone(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = RateLimits(database)

    def away() -> Any:
        raise OperationalError("SELECT", {}, Exception("gone"))

    admitted(limits, caller(6_000), 1)
    monkeypatch.setattr(database, "write", away)
    through = admitted(limits, caller(6_000), 3_000)

    assert 0 < through < 3_000


def test_the_service_says_what_is_left_and_refuses_what_is_too_much(start_service: Any) -> None:
    service = start_service(requests_per_minute=12)
    key, unlimited = service.key("reader"), service.key("reader", requests_per_minute=0)

    answers = [service.call(key, "GET", "/v1/caller") for _ in range(6)]

    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=12;w=60'
    assert answers[0].headers["ratelimit"].startswith('"key";r=')
    refused = answers[-1]
    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/rate-limited")
    assert int(refused.headers["retry-after"]) >= 1
    free = [service.call(unlimited, "GET", "/v1/caller") for _ in range(20)]
    assert {answer.status_code for answer in free} == {200}
    assert "ratelimit" not in free[0].headers


def test_replicas_of_the_service_share_a_keys_rate(start_service: Any) -> None:
    replicas = [start_service(requests_per_minute=30) for _ in range(2)]
    key = replicas[0].key("reader")

    answers = [replicas[place % 2].call(key, "GET", "/v1/caller").status_code for place in range(24)]

    assert answers.count(200) < 2 * Limit(30).capacity + 2
    assert answers.count(429) > 0


def test_embedded_use_is_not_limited(client: Any) -> None:
    assert "ratelimit" not in client.get("/v1/caller").headers
