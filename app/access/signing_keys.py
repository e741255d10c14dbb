"""The public keys of an OpenID Connect issuer, kept in memory: no request waits for the network but the first, and one that
names a key which is not known."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from starlette.concurrency import run_in_threadpool

from app.errors import InvalidTokenError, RetryableError
from app.settings import is_loopback

_FETCH_SECONDS = 5.0
_MAX_BYTES = 1024 * 1024
_FRESH_SECONDS = 600.0
_MAX_AGE_SECONDS = 24 * 3600.0
_COOLDOWN_SECONDS = 30.0
_logger = logging.getLogger(__name__)


class SigningKeys:
    """Belongs to the event loop.

    Keys are read again every ten minutes in the background, and when a token names one that is not known, but not more often
    than every 30 seconds: whoever makes up names of keys does not make this service call the issuer. While the issuer is away
    the keys that are known stay valid, for a day.

    Raises:
        ValueError: if an address is neither https nor of this machine.
    """

    def __init__(self, issuer: str, jwks_url: str) -> None:
        for url in filter(None, (issuer, jwks_url)):
            _require_safe(url)
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._reading = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> jwt.PyJWK:
        """The key of that name.

        Raises:
            InvalidTokenError: if the issuer has none.
            RetryableError: if its keys cannot be read.
        """
        age = None if self._read_at is None else time.monotonic() - self._read_at
        if age is None or age > _MAX_AGE_SECONDS:
            await self._read_again()
            if self._read_at is None or time.monotonic() - self._read_at > _MAX_AGE_SECONDS:
                raise RetryableError(f"expected to read the keys of {self._issuer}, got an error; try again")
        elif key_id not in self._keys:
            await self._read_again()
        elif age > _FRESH_SECONDS and (self._background is None or self._background.done()):
            self._background = asyncio.create_task(self._read_again())
        found = self._keys.get(key_id)
        if found is None:
            raise InvalidTokenError(f"expected a token signed by a key of {self._issuer}, got key {key_id[:80]!r}")
        return found

    async def _read_again(self) -> None:
        """Reads the keys unless somebody else just did, or tried."""
        asked_at = time.monotonic()
        async with self._reading:
            if self._tried_at is not None and (
                self._tried_at > asked_at or time.monotonic() - self._tried_at < _COOLDOWN_SECONDS
            ):
                return
            self._tried_at = time.monotonic()
            try:
                self._keys = await run_in_threadpool(self._fetched)
            except (httpx.HTTPError, ValueError, jwt.PyJWTError) as error:
                _logger.warning(
                    "expected to read the keys of %s, got %s: %s", self._issuer, type(error).__name__, error
                )
            else:
                self._read_at = time.monotonic()

    def _fetched(self) -> dict[str, jwt.PyJWK]:
        with httpx.Client(timeout=_FETCH_SECONDS, follow_redirects=False) as http:
            url = self._jwks_url or self._discovered(http)
            found = jwt.PyJWKSet.from_dict(_document(http, url)).keys
        return {key.key_id: key for key in found if key.key_id and key.public_key_use in (None, "sig")}

    def _discovered(self, http: httpx.Client) -> str:
        document = _document(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise ValueError(
                f"expected the configuration of {self._issuer}, got that of {document.get('issuer')!r:.200}"
            )
        url = str(document.get("jwks_uri"))
        _require_safe(url)
        return url


def _require_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError(f"expected an address that begins with https://, got {url[:200]!r}")


def _document(http: httpx.Client, url: str) -> dict[str, Any]:
    with http.stream("GET", url) as answer:
        answer.raise_for_status()
        body = b""
        for chunk in answer.iter_bytes():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"expected at most {_MAX_BYTES} bytes from {url}, got more")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError(f"expected an object from {url}, got {type(document).__name__}")
    return document
