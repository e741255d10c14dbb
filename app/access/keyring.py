"""The keys that are valid now, in memory: a request with a key costs a hash and no look at the database.

What was made or revoked elsewhere is noticed by polling a digest; a key that is not known is looked for at once. While the
database cannot be reached the keys that are known go on being valid for a while.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from app import clock
from app.access import key_format, repository
from app.access.callers import Caller
from app.database import Database
from app.errors import InvalidTokenError, RetryableError
from app.guarded_routes import Role
from app.settings import Settings
from app.tables import ApiKeyRecord

_NOTE_USES_SECONDS = 60.0
_MAX_AGE_SECONDS = 60.0
_MIN_GAP_SECONDS = 0.1
_NUM_PLACE = 16
_logger = logging.getLogger(__name__)


class Hasher:
    """Hashes keys with the server's secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def hashed(self, text: str) -> str:
        """What is stored of a key."""
        return hmac.digest(self._secret, text.encode(), "sha256").hex()

    @property
    def secret_id(self) -> str:
        """Tells secrets apart and says nothing of them."""
        return self.hashed("which secret is this")[:16]


def hasher(session: Session, settings: Settings) -> Hasher | None:
    """The hasher of the settings' secret, or else of the one that the database keeps; None if there is none yet."""
    secret = settings.key_secret or repository.kept_secret(session)
    return Hasher(secret) if secret else None


def made_hasher(session: Session, settings: Settings) -> Hasher:
    """The same, with a new secret where there is none; within a transaction that writes."""
    return hasher(session, settings) or Hasher(repository.keep_secret(session, secrets.token_hex(32)))


@dataclass(frozen=True, slots=True)
class _KnownKey:
    key_hash: str
    key_id: int
    expires_at: float
    caller: Caller


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the database held at one moment; replaced as a whole."""

    read_at: float
    ahead: float  # seconds of the database's clock before the process's monotonic one
    digest: tuple[int, ...]
    hasher: Hasher | None
    known: Mapping[str, _KnownKey]  # by the first digits of the hash

    def find(self, key: str) -> _KnownKey | None:
        """The key, if it was there."""
        if self.hasher is None:
            return None
        hashed = self.hasher.hashed(key)
        known = self.known.get(hashed[:_NUM_PLACE])
        return known if known is not None and hmac.compare_digest(known.key_hash, hashed) else None


class KeyRing:
    """`start` begins to poll, `stop` ends it. `caller` belongs to the event loop; the others to any thread."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._snapshot: _Snapshot | None = None
        self._used: dict[int, float] = {}
        self._began_at = 0.0
        self._noted_at = time.monotonic()
        self._looking = asyncio.Lock()
        self._refreshing = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to poll; harmless when it polls already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._poll, name="keys-poll", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends polling and notes which keys were used."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._note_uses()

    async def caller(self, key: str) -> Caller:
        """Whose key it is.

        Raises:
            InvalidTokenError: if it is nobody's, or no longer.
            RetryableError: if that cannot be found out now.
        """
        known = self._find(key)
        if known is None:
            problem = key_format.problem_of(key)
            if problem is not None:
                raise InvalidTokenError(f"expected a key that begins with {key_format.PREFIX!r}, got {problem}")
            await self._look_again()
            known = self._find(key)
        if known is None:
            raise InvalidTokenError("expected a key that is valid, got one that is unknown or was revoked")
        now = time.monotonic()
        if self._snapshot is not None and now + self._snapshot.ahead > known.expires_at:
            raise InvalidTokenError("expected a key that is valid, got one that has expired")
        self._used[known.key_id] = now
        return known.caller

    def refresh(self) -> None:
        """Looks at the database once."""
        with self._refreshing:
            began_at = time.monotonic()
            with self._database.read() as session:
                digest = repository.keys_digest(session)
                ahead = clock.now(session).timestamp() - time.monotonic()  # replicas whose own clocks differ agree
                last = self._snapshot
                if last is None or last.hasher is None or last.digest != digest:
                    self._snapshot = self._read(session, began_at, ahead, digest)
                else:
                    self._snapshot = replace(last, read_at=began_at, ahead=ahead)

    def _find(self, key: str) -> _KnownKey | None:
        snapshot = self._snapshot
        known = None if snapshot is None else snapshot.find(key)
        if snapshot is None or known is None:
            return None
        if time.monotonic() - snapshot.read_at > _MAX_AGE_SECONDS:
            raise RetryableError("expected to know which keys were revoked, got no answer of the database for too long")
        return known

    async def _look_again(self) -> None:
        """Reads the keys once more, for all that wait together: made up ones cost a few reads a second, however many."""
        self.start()
        arrived_at = time.monotonic()
        async with self._looking:
            if self._began_at > arrived_at:
                return
            pause = self._began_at + _MIN_GAP_SECONDS - time.monotonic()
            if pause > 0.0:
                await asyncio.sleep(pause)
            self._began_at = time.monotonic()
            await run_in_threadpool(self.refresh)

    def _read(self, session: Session, began_at: float, ahead: float, digest: tuple[int, ...]) -> _Snapshot:
        found = hasher(session, self._settings)
        rows = repository.keys_that_count(session)
        if rows and found is not None and all(row.secret_id != found.secret_id for row in rows):
            _logger.warning("no key is valid: all were made under another ARCHCAST_KEY_SECRET")
        limit = self._settings.requests_per_minute
        known = {row.key_hash[:_NUM_PLACE]: _known(row, limit) for row in rows}
        return _Snapshot(began_at, ahead, digest, found, known)

    def _poll(self) -> None:
        while not self._stopped.wait(self._settings.access_poll_seconds):
            try:
                self.refresh()
                if time.monotonic() - self._noted_at > _NOTE_USES_SECONDS:
                    self._note_uses()
            except Exception:  # the database may be away for a while
                _logger.exception("expected to look for keys that were revoked, got an error; trying again")

    def _note_uses(self) -> None:
        self._noted_at = time.monotonic()
        used, self._used = self._used, {}
        if used:
            with self._database.write() as session:
                now, own = clock.now(session), time.monotonic()
                repository.note_uses(session, {key: now - timedelta(seconds=own - at) for key, at in used.items()})


def _known(row: ApiKeyRecord, default_limit: int) -> _KnownKey:
    limit = default_limit if row.requests_per_minute is None else row.requests_per_minute
    caller = Caller(f"key:{row.id}", row.name, Role.of(row.role), row.project_id, limit)
    expires_at = float("inf") if row.expires_at is None else row.expires_at.timestamp()
    return _KnownKey(row.key_hash, row.id, expires_at, caller)
