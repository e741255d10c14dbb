"""Which requests come with an Idempotency-Key, and what they say: read as they pass, so that nothing else costs anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import error_handlers
from app.access.callers import caller_of
from app.answering_once import KEY_HEADER, MAX_KEY_CHARACTERS, current_request
from app.errors import RequestError
from app.idempotency.service import IdempotencyService

_NAME = KEY_HEADER.lower().encode()
_VISIBLE = re.compile(rb"[!-~]+")


class KeyedPost:
    """A POST with a key. Its fingerprint is that of what was read of its body so far, with method and address."""

    def __init__(self, service: IdempotencyService, scope: Scope, key: str) -> None:
        self._service, self._scope, self._key = service, scope, key
        self._digest = hashlib.sha256(
            orjson.dumps([scope["method"], scope["path"], scope["query_string"].decode("latin-1")])
        )

    def add(self, body: bytes) -> None:
        """Notes a part of the body."""
        self._digest.update(body)

    def answer(self, work: Callable[[], Response], *, is_shown_once: bool) -> Response:
        """The answer of the first time, or of `work` if this is the first."""
        caller = caller_of(Request(self._scope))
        return self._service.answer(caller, self._key, self._digest.hexdigest(), work, is_shown_once)


class IdempotencyMiddleware:
    """Lets endpoints know of the key. Keys that cannot be kept are refused before anything is done."""

    def __init__(self, app: ASGIApp, service: IdempotencyService) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = _keys(scope)
        if not given:
            await self.app(scope, receive, send)
            return
        try:
            keyed = KeyedPost(self.service, scope, _checked(given))
        except RequestError as error:
            await error_handlers.handle(Request(scope), error)(scope, receive, send)
            return

        async def receive_and_note() -> Message:
            message = await receive()
            keyed.add(message.get("body", b""))
            return message

        token = current_request.set(keyed)
        try:
            await self.app(scope, receive_and_note, send)
        finally:
            current_request.reset(token)


def _keys(scope: Scope) -> list[bytes]:
    if scope["type"] != "http" or scope["method"] != "POST":
        return []
    return [value for name, value in scope["headers"] if name == _NAME]


def _checked(given: list[bytes]) -> str:
    """The key; raises RequestError."""
    if len(given) > 1:
        raise RequestError(f"expected one {KEY_HEADER} header, got {len(given)}")
    (key,) = given
    if len(key) > MAX_KEY_CHARACTERS:
        raise RequestError(f"expected an {KEY_HEADER} of at most {MAX_KEY_CHARACTERS} characters, got {len(key)}")
    if not _VISIBLE.fullmatch(key):
        shown = key[:80].decode("latin-1")
        raise RequestError(f"expected an {KEY_HEADER} of visible ASCII characters without spaces, got {shown!r}")
    return key.decode("ascii")
