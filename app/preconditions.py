"""Entity tags: what a caller has seen, so that it is not sent again (If-None-Match) nor changed unseen (If-Match).

A tag is the hash of a representation: it changes with anything that GET shows, and is the same on every replica.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.errors import PreconditionFailedError, RequestError

_TAG_BYTES = 16
_CACHING = "private, no-cache"  # may be kept, but is asked for again with its tag
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as the tag in If-None-Match says."}}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The `ETag` of an earlier answer: 304 without a body while nothing has changed.",
    "schema": {"type": "string"},
}


def tag_of(body: bytes) -> str:
    """The entity tag of a representation."""
    return f'"{hashlib.blake2b(body, digest_size=_TAG_BYTES).hexdigest()}"'


def tagged(request: Request, answer: Response) -> Response:
    """The answer with its entity tag; without its body where the caller has it already."""
    if answer.status_code != 200 or not isinstance(getattr(answer, "body", None), bytes):
        return answer
    tag = tag_of(bytes(answer.body))
    headers = {"ETag": tag, "Cache-Control": _CACHING}
    seen = request.headers.get("if-none-match")
    if seen is not None and request.method == "GET" and _names(seen, tag, is_weak_enough=True):
        return Response(status_code=304, headers=headers)
    answer.headers.update(headers)
    return answer


class IfMatch:
    """What the caller wants to change, as it has seen it; without the header, in whatever state it is."""

    def __init__(self, header: str | None) -> None:
        if header is not None and not header.strip():
            raise RequestError("expected an If-Match of entity tags or *, got an empty one")
        self._header = header

    def check(self, current: Callable[[], BaseModel]) -> None:
        """Raises PreconditionFailedError if it is not any more what the caller has seen. To be called in the transaction that
        changes it, with what GET would answer now."""
        if self._header is None:
            return
        tag = tag_of(current().model_dump_json().encode())
        if not _names(self._header, tag, is_weak_enough=False):
            raise PreconditionFailedError(
                f"expected If-Match to name the present state {tag}, got {self._header[:200]}", etag=tag
            )


def _names(header: str, tag: str, *, is_weak_enough: bool) -> bool:
    """Whether the header names that tag, or any."""
    if header.strip() == "*":
        return True
    named = {one.strip() for one in header.split(",")}
    return tag in named or (is_weak_enough and f"W/{tag}" in named)


def _if_match(
    if_match: Annotated[
        str | None,
        Header(
            description="The `ETag` of what is to be changed, or `*`: 412 if it has changed since.", max_length=4_096
        ),
    ] = None,
) -> IfMatch:
    return IfMatch(if_match)


IfMatchDep = Annotated[IfMatch, Depends(_if_match)]
