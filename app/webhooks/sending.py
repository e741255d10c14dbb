"""Delivers what waits in the outbox, in the background. Every replica and every worker may: each delivery is claimed under a
lease, so that one at a time sends it, and another takes over from one that died.

A delivery is made at least once. Where an attempt fails it is made again after a growing pause, some attempts long.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import httpx

from app import clock, migration
from app.database import Database
from app.repeating import Repeated
from app.settings import Settings
from app.webhooks import repository, signing
from app.webhooks.addresses import RefusedAddressError, Target, resolved
from app.webhooks.repository import DELIVERED, GIVEN_UP, ClaimedDelivery

_AT_ONCE = 16
_FIRST_PAUSE_SECONDS, _GROWTH, _MAX_PAUSE_SECONDS = 5.0, 4.0, 6 * 3_600.0
_JITTER = 0.25
_SPARE_SECONDS = 20.0  # of a lease, beyond the attempt itself
_GONE = 410
_SWEEP_SECONDS = 600.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. `reason` is None if it was delivered; `is_final`: trying again is of no use."""

    status: int | None = None
    reason: str | None = None
    is_final: bool = False


class WebhookSender(Repeated):
    """`start` begins to deliver in the background, `stop` ends it; `deliver_due` does one round."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._random = random.Random()
        self._is_ready = False
        super().__init__("webhook-delivery", settings.webhook_poll_seconds, self._deliver_while_due)

    def deliver_due(self) -> int:
        """Delivers some of what is due; how many attempts that took."""
        with self._database.read() as session:
            if not repository.has_due(session, clock.now(session)):
                return 0
        lease = timedelta(seconds=self._settings.webhook_timeout_seconds + _SPARE_SECONDS)
        with self._database.write() as session:
            claimed = repository.claim(session, clock.now(session), lease, _AT_ONCE)
        if claimed:
            asyncio.run(self._deliver(claimed))
        return len(claimed)

    def sweep(self) -> int:
        """Removes some of the deliveries that ended long ago; how many."""
        with self._database.write() as session:
            oldest = clock.now(session) - timedelta(days=self._settings.webhook_keep_days)
            return repository.remove_ended(session, oldest)

    async def _deliver(self, claimed: Sequence[ClaimedDelivery]) -> None:
        """All at once, so that a receiver that takes its time keeps no other waiting; each is noted as soon as it ends."""
        options = {"follow_redirects": False, "trust_env": False, "timeout": self._settings.webhook_timeout_seconds}
        async with httpx.AsyncClient(**options) as client:  # type: ignore[arg-type]
            ended = await asyncio.gather(*(self._deliver_one(client, one) for one in claimed), return_exceptions=True)
        for error in ended:
            if error is not None:  # such as a database that is away: not noted, so it is delivered again
                raise error

    async def _deliver_one(self, client: httpx.AsyncClient, delivery: ClaimedDelivery) -> None:
        outcome = await self._attempt(client, delivery)
        await asyncio.to_thread(self._note, delivery, outcome)

    async def _attempt(self, client: httpx.AsyncClient, delivery: ClaimedDelivery) -> Outcome:
        limit = self._settings.webhook_timeout_seconds
        try:
            async with asyncio.timeout(limit):  # in all: a receiver that sends a byte now and then gains nothing
                return await self._post(client, delivery)
        except TimeoutError:
            return Outcome(reason=f"expected an answer within {limit:g} s, got none")
        except RefusedAddressError as error:
            return Outcome(reason=str(error), is_final=True)
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            return Outcome(reason=f"expected to reach the receiver, got {type(error).__name__}: {error}"[:500])

    async def _post(self, client: httpx.AsyncClient, delivery: ClaimedDelivery) -> Outcome:
        targets = await resolved(delivery.url, self._settings.webhook_private_addresses)
        for target in targets[:-1]:
            try:
                return await self._post_to(client, delivery, target)
            except httpx.ConnectError:  # a name may have addresses that cannot be reached from here
                continue
        return await self._post_to(client, delivery, targets[-1])

    async def _post_to(self, client: httpx.AsyncClient, delivery: ClaimedDelivery, target: Target) -> Outcome:
        headers = {
            "Host": target.host,
            "Content-Type": "application/json",
            "User-Agent": "archcast-webhooks",
            **signing.headers(
                delivery.secret, delivery.message_id, int(delivery.claimed_at.timestamp()), delivery.body
            ),
        }
        request = client.build_request(
            "POST", target.url, content=delivery.body, headers=headers, extensions={"sni_hostname": target.name}
        )
        answer = await client.send(request, stream=True)
        await (
            answer.aclose()
        )  # nobody needs its body, and whoever could read it could read what only this machine can reach
        if answer.is_success:
            return Outcome(answer.status_code)
        reason = f"expected a 2xx answer, got {answer.status_code}"
        return Outcome(answer.status_code, reason, is_final=answer.status_code == _GONE)

    def _note(self, delivery: ClaimedDelivery, outcome: Outcome) -> None:
        with self._database.write() as session:
            now = clock.now(session)
            told = {"status": outcome.status, "reason": outcome.reason}
            if outcome.reason is None:
                repository.note(session, delivery, **told, state=DELIVERED, due_at=now, ended_at=now)
            elif outcome.is_final or delivery.attempt >= self._settings.webhook_max_attempts:
                repository.note(session, delivery, **told, state=GIVEN_UP, due_at=now, ended_at=now)
            else:
                repository.note(session, delivery, **told, due_at=now + self._pause(delivery.attempt))
        if outcome.reason is not None:
            known = (delivery.id, delivery.webhook_id, delivery.attempt, outcome.reason)
            _logger.warning("delivery %d to webhook %d failed in attempt %d: %s", *known)

    def _pause(self, attempt: int) -> timedelta:
        seconds = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * _GROWTH ** (attempt - 1))
        return timedelta(seconds=seconds * self._random.uniform(1.0 - _JITTER, 1.0 + _JITTER))

    def _deliver_while_due(self) -> None:
        self._is_ready = self._is_ready or migration.is_current(self._database)
        while self._is_ready and not self._stopped.is_set() and self.deliver_due():
            pass


class DeliverySweeper(Repeated):
    """Removes deliveries that ended long ago, in the background; every replica does, and they do not disturb each other."""

    def __init__(self, sender: WebhookSender, database: Database) -> None:
        self._sender, self._database = sender, database
        super().__init__("delivery-sweep", _SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        if migration.is_current(self._database):
            while self._sender.sweep():
                pass
