"""How a JSON body is read: strictly, so that nothing enters that cannot be stored and written again.

Refused are NaN and infinities, invalid UTF-8, NUL characters, bodies nested deeper than `MAX_DEPTH`, and other media types.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.answering_once import PARAMETER, answered_once, takes_key
from app.errors import RequestError, UnsupportedMediaTypeError
from app.guarded_routes import GuardedRoute
from app.preconditions import IF_NONE_MATCH, NOT_MODIFIED, tagged
from app.schemas import problems

MAX_DEPTH = 64


class JsonRequest(Request):
    """A request whose `json` is strict."""

    async def json(self) -> Any:
        if not hasattr(self, "_strict_json"):
            self._strict_json = parse_json(await self.body())
        return self._strict_json


async def _body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_body)]
"""What an endpoint takes that reads another body than JSON: so it can be a plain `def`, and be answered once for each key."""


class JsonRoute(GuardedRoute):
    """A route that reads its body as JSON, or refuses it. A POST that creates something takes an Idempotency-Key, and what
    GET and PATCH answer has an entity tag."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        methods = options.get("methods") or ()
        if "GET" in methods:
            options = _documented(options, IF_NONE_MATCH, NOT_MODIFIED)
        if "POST" in methods:
            endpoint = answered_once(endpoint, options.get("status_code"))
            if takes_key(endpoint):
                options = _documented(options, PARAMETER, problems(400, 409))
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        has_body = self.body_field is not None
        is_tagged = bool({"GET", "PATCH"} & (self.methods or set()))

        async def handle_strictly(request: Request) -> Response:
            if has_body:
                require_json(request)
            answer = await handle(JsonRequest(request.scope, request.receive))
            return tagged(request, answer) if is_tagged else answer

        return handle_strictly


def _documented(
    options: dict[str, Any], parameter: dict[str, Any], more: dict[int | str, dict[str, Any]]
) -> dict[str, Any]:
    """What OpenAPI says of an operation, with one more parameter, and answers."""
    extra = options.get("openapi_extra") or {}
    parameters = [*extra.get("parameters", ()), parameter]
    responses = {**more, **(options.get("responses") or {})}
    return {**options, "openapi_extra": {**extra, "parameters": parameters}, "responses": responses}


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
