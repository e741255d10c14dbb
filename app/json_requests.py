"""How a JSON body is read: strictly, so that nothing enters that cannot be stored and written again.

Refused are NaN and infinities, invalid UTF-8, NUL characters, bodies nested deeper than `MAX_DEPTH`, and other media types.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from app.errors import RequestError, UnsupportedMediaTypeError

MAX_DEPTH = 64


class JsonRequest(Request):
    """A request whose `json` is strict."""

    async def json(self) -> Any:
        if not hasattr(self, "_strict_json"):
            self._strict_json = parse_json(await self.body())
        return self._strict_json


class JsonRoute(APIRoute):
    """A route that reads its body as JSON, or refuses it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        has_body = self.body_field is not None

        async def handle_strictly(request: Request) -> Response:
            if has_body:
                require_json(request)
            return await handle(JsonRequest(request.scope, request.receive))

        return handle_strictly


def json_router(tag: str) -> APIRouter:
    """A router for one group of operations."""
    return APIRouter(tags=[tag], route_class=JsonRoute)


def parse_json(body: bytes) -> Any:
    """The document, if it is strict JSON; raises RequestError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"expected a body of JSON (no NaN, no Infinity, UTF-8), got an error: {error}") from error
    _check_depth(document)
    if rb"\u0000" in body and _has_nul(document):
        raise RequestError("expected text without NUL characters, got one written as \\u0000")
    return document


def media_type_of(request: Request) -> str:
    """What the body is declared as, without parameters; empty: nothing."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_type(request: Request, *allowed: str) -> str:
    """What the body is declared as; raises UnsupportedMediaTypeError if it is none of these."""
    media_type = media_type_of(request)
    if media_type not in allowed:
        raise UnsupportedMediaTypeError(
            f"expected the header 'Content-Type: {' or '.join(allowed)}', got {media_type[:80] or 'none'!r}"
        )
    return media_type


def require_json(request: Request) -> None:
    """Refuses a body that is not declared as JSON; raises UnsupportedMediaTypeError."""
    media_type = media_type_of(request)
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json:
        raise UnsupportedMediaTypeError(
            f"expected the header 'Content-Type: application/json', got {media_type or 'none'!r}"
        )


def _children(node: Any) -> Any:
    return node.values() if type(node) is dict else node


def _check_depth(document: Any) -> None:
    level = [document] if type(document) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [child for node in level for child in _children(node) if type(child) is dict or type(child) is list]
    if level:
        raise RequestError(f"expected JSON nested at most {MAX_DEPTH} deep, got a deeper one")


def _has_nul(node: Any) -> bool:
    if isinstance(node, str):
        return "\0" in node
    if isinstance(node, dict):
        return any("\0" in key or _has_nul(value) for key, value in node.items())
    return isinstance(node, list) and any(_has_nul(value) for value in node)
