"""A request that comes again under its key is answered as the first time, and done once.

Before the work begins the key is claimed, under a lease, in a transaction of its own. The answer is stored in the transaction
of what was changed: a process that dies before its commit has changed nothing, and one that dies after it has left the
answer. An attempt whose lease ran out may still live; then its key may be another's, it cannot store an answer any more, and
its changes are rolled back with it.
"""

from __future__ import annotations

import logging
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from app import clock
from app.answering_once import REPLAYED_HEADER
from app.database import Database, need_not_survive_power_loss
from app.errors import ConflictError, KeyInFlightError, KeyReusedError
from app.idempotency import repository
from app.settings import Settings
from app.tables import IdempotencyKeyRecord

_logger = logging.getLogger(__name__)
_IN_FLIGHT = "expected the first request of the Idempotency-Key to have been answered, got one that is still worked on"


@dataclass(frozen=True)
class Claim:
    """A key that a request came with; `attempt` tells two requests with the same one apart."""

    caller: str
    key: str
    fingerprint: str
    attempt: str

    @property
    def address(self) -> tuple[str, str]:
        """What the key is stored under."""
        return self.caller, self.key


class IdempotencyService:
    """One for an application. May be called from any thread."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._lease = timedelta(seconds=settings.idempotency_lease_seconds)
        self._kept = timedelta(hours=settings.idempotency_keep_hours)

    def answer(
        self, caller: str, key: str, fingerprint: str, work: Callable[[], Response], is_shown_once: bool = False
    ) -> Response:
        """The answer that was stored under the key, or that of `work`, which then is stored with what it changed. Of an answer
        that is shown once only that there was one.

        Raises:
            ConflictError: if it was done, and the answer was shown once.
            KeyReusedError: if the key came before with another request.
            KeyInFlightError: if the first request is still being worked on, or was taken over from this attempt.
        """
        claim = Claim(caller, key, fingerprint, secrets.token_hex(16))
        stored = self._claimed(claim)
        if stored is not None:
            return stored
        try:
            with self._database.together():
                answer = work()
                self._keep(claim, answer, is_shown_once)
        except BaseException:
            self._give_back(claim)
            raise
        return answer

    def sweep(self) -> int:
        """Removes keys that need not be kept any more; how many."""
        with self._database.write(is_change=False) as session:
            return repository.remove_older(session, clock.now(session) - self._kept)

    def _claimed(self, claim: Claim) -> Response | None:
        """None if the key is this attempt's now, or else the stored answer."""
        with self._database.write(is_change=False) as session:
            need_not_survive_power_loss(session)
            now = clock.now(session)
            row = {**_columns(claim), "lease_expires_at": now + self._lease, "created_at": now}
            if repository.add_if_new(session, row):
                return None
            record = repository.find(session, *claim.address)
            if record is None:  # it was given back just now: whoever asks again will have it
                raise KeyInFlightError(_IN_FLIGHT)
            if record.created_at <= now - self._kept:
                _overwrite(record, {**row, "status": None, "headers": None, "body": None})
                return None
            if record.fingerprint != claim.fingerprint:
                message = (
                    "expected the request that the Idempotency-Key came with first, got another method, address or body"
                )
                raise KeyReusedError(message, [{"location": ["header", "Idempotency-Key"], "message": message}])
            return self._stored_or_taken_over(record, claim, now)

    def _stored_or_taken_over(self, record: IdempotencyKeyRecord, claim: Claim, now: datetime) -> Response | None:
        if record.status is not None and record.body is None:
            raise ConflictError(
                f"expected a new Idempotency-Key, got one whose request was done at {record.created_at.isoformat()}; its answer "
                "held a secret that was shown once and is not kept"
            )
        if record.status is not None:
            headers = {**(record.headers or {}), REPLAYED_HEADER: "true"}
            return Response(zlib.decompress(record.body or b""), record.status, headers)
        if record.lease_expires_at > now:
            raise KeyInFlightError(_IN_FLIGHT)
        _overwrite(record, {"attempt": claim.attempt, "lease_expires_at": now + self._lease})
        return None

    def _keep(self, claim: Claim, answer: Response, is_shown_once: bool) -> None:
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        body = None if is_shown_once else zlib.compress(bytes(answer.body), 1)
        kept = {"status": answer.status_code, "headers": headers, "body": body}
        with self._database.write() as session:
            if not repository.keep_answer(session, *claim.address, claim.attempt, kept):
                raise KeyInFlightError(_IN_FLIGHT)  # nothing of this attempt is kept

    def _give_back(self, claim: Claim) -> None:
        """Frees the key at once, since nothing was changed; if that fails, it is free when the lease has run out."""
        try:
            with self._database.write(is_change=False) as session:
                repository.remove_unanswered(session, *claim.address, claim.attempt)
        except SQLAlchemyError:
            _logger.exception("expected to give an idempotency key back, got an error; its lease will run out")


def _columns(claim: Claim) -> dict[str, Any]:
    return {"caller": claim.caller, "key": claim.key, "fingerprint": claim.fingerprint, "attempt": claim.attempt}


def _overwrite(record: IdempotencyKeyRecord, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(record, name, value)
