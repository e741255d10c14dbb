"""What surrounds every request: an id that is logged and answered, and a limit on the body."""

from __future__ import annotations

import re
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import TooLargeError

REQUEST_ID_HEADER = "X-Request-ID"
_ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def _header(scope: Scope, name: bytes) -> str:
    """Its first value, or nothing: every request comes by, and Starlette's own look-up costs several times as much."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


class RequestIdMiddleware:
    """Answers the caller's X-Request-ID, or a new one, and keeps it in the scope as `request_id`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        request_id = given if _ACCEPTED_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope["request_id"] = request_id
        answered = (REQUEST_ID_HEADER.lower().encode(), request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [header for header in message.get("headers", ()) if header[0] != answered[0]]
                message["headers"] = [*others, answered]
            await send(message)

        await self.app(scope, receive, send_with_id)


class BodyLimitMiddleware:
    """Counts the bytes of a body as they come, whatever its length was declared to be, and stops reading at the limit."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = _header(scope, b"content-length")
        too_large = len(declared) > 18 or (declared.isdecimal() and int(declared) > self.max_bytes)
        num_bytes = 0

        async def receive_within_limit() -> Message:
            nonlocal num_bytes
            if too_large:
                raise self._error(f"{declared[:20]} bytes")
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self.max_bytes:
                raise self._error("more")
            return message

        await self.app(scope, receive_within_limit, send)

    def _error(self, got: str) -> TooLargeError:
        return TooLargeError(f"expected a body of at most {self.max_bytes} bytes, got {got}", max_bytes=self.max_bytes)
