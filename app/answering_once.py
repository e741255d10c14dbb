"""POSTs that create something are answered once for each Idempotency-Key: here routes meet `app.idempotency`, which does it.

A route of `json_request.JsonRoute` has it by itself; any other endpoint gets it by the decorator `answered_once`. One that
creates nothing says so by the decorator `creates_nothing`, and one whose answer holds a lasting secret by `shown_once`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, Protocol, TypeVar

from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

KEY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
MAX_KEY_CHARACTERS = 255
PARAMETER = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "description": "Your own name for this request, such as a UUID. Sent again under it, within a day and with the same body, "
    f"the request is not done again: the answer of the first time comes back with `{REPLAYED_HEADER}: true`. 409 while the "
    "first is being worked on, 422 where method, address or body differ. A request that was refused has used up no key.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS, "pattern": "^[!-~]+$"},
}
_CREATES_NOTHING, _IS_SHOWN_ONCE, _IS_ANSWERED_ONCE = "creates_nothing", "is_shown_once", "is_answered_once"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class KeyedRequest(Protocol):
    """A request that came with a key."""

    def answer(self, work: Callable[[], Response], *, is_shown_once: bool) -> Response:
        """The answer of the first time, or of `work` if this is the first. Called in the endpoint's thread. What is shown once
        is not stored: whoever comes again is told that it was done."""


current_request: ContextVar[KeyedRequest | None] = ContextVar("current_request", default=None)
"""The request that is being answered, if it came with a key."""


def creates_nothing(endpoint: Endpoint) -> Endpoint:
    """Marks an endpoint as one that may be asked any number of times, so that it takes no key."""
    setattr(endpoint, _CREATES_NOTHING, True)
    return endpoint


def shown_once(endpoint: Endpoint) -> Endpoint:
    """Marks an endpoint whose answer holds a secret that nobody may find in the database."""
    setattr(endpoint, _IS_SHOWN_ONCE, True)
    return endpoint


def takes_key(endpoint: Callable[..., Any]) -> bool:
    """Whether the endpoint is answered once for each key."""
    return getattr(endpoint, _IS_ANSWERED_ONCE, False)


def answered_once(endpoint: Callable[..., Any], status_code: int | None = None) -> Callable[..., Any]:
    """The endpoint with the answer of the first time for whoever sends the same key again.

    Raises:
        TypeError: if it is a coroutine: its changes and its answer could not be kept in one transaction.
    """
    if getattr(endpoint, _CREATES_NOTHING, False) or takes_key(endpoint):
        return endpoint
    if inspect.iscoroutinefunction(endpoint):
        raise TypeError(
            f"expected {endpoint.__name__} to be a plain def (which takes other bodies than JSON as RawBody), or marked by "
            "creates_nothing, got a coroutine"
        )

    @wraps(endpoint)
    def call(**arguments: Any) -> Any:
        keyed = current_request.get()
        if keyed is None:
            return endpoint(**arguments)
        told = next((value for value in arguments.values() if isinstance(value, Response)), None)
        is_shown_once = getattr(endpoint, _IS_SHOWN_ONCE, False)
        return keyed.answer(lambda: _rendered(endpoint(**arguments), told, status_code), is_shown_once=is_shown_once)

    setattr(call, _IS_ANSWERED_ONCE, True)
    return call


def _rendered(reply: Any, told: Response | None, status_code: int | None) -> Response:
    """What FastAPI would make of it: `told` is where the endpoint said another status, or headers."""
    if isinstance(reply, Response):
        return reply
    status = (told.status_code if told is not None else None) or status_code or 200
    headers = {} if told is None else {name: value for name, value in told.headers.items() if name != "content-length"}
    if reply is None and status == 204:
        return Response(status_code=status, headers=headers)
    if isinstance(reply, BaseModel):
        return Response(reply.model_dump_json(), status, headers, "application/json")
    return JSONResponse(jsonable_encoder(reply), status, headers)
