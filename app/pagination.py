"""Keyset pagination: a page begins after the last key of the page before, so that inserts neither repeat nor skip rows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import orjson
from fastapi import Query
from pydantic import Field

from app.errors import InvalidContentError
from app.schemas import Reply

MAX_LIMIT = 1000

Item = TypeVar("Item")
Row = TypeVar("Row")
Key = TypeVar("Key", int, str)

LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items in one page.")]
CursorQuery = Annotated[
    str | None, Query(max_length=1024, description="`next_cursor` of the page before; leave out for the first page.")
]


class Page(Reply, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(
        default=None, description="Ask for the next page with it; null: this is the last.", examples=["NDI"]
    )


def page_of(rows: Sequence[Row], limit: int, key: Callable[[Row], int | str]) -> tuple[Sequence[Row], str | None]:
    """The rows of a page and the cursor of the next one, from a query for one row more than `limit`."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encoded(key(rows[limit - 1]))


def encoded(key: int | str) -> str:
    """The opaque cursor that begins after `key`."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decoded(cursor: str | None, kind: type[Key]) -> Key | None:
    """The key that a cursor begins after; raises InvalidContentError."""
    if cursor is None:
        return None
    try:
        key = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        key = None
    if type(key) is not kind or not can_be_stored(key):
        message = f"expected a next_cursor that this list has answered, got {cursor[:80]!r}"
        raise InvalidContentError(message, [{"location": ["query", "cursor"], "message": message}])
    return key


def can_be_stored(key: object) -> bool:
    """Whether both databases can compare with it: whole numbers of 64 bits, text without NUL."""
    if isinstance(key, int):
        return abs(key) < 2**63
    return not isinstance(key, str) or "\0" not in key
