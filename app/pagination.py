"""The form in which every list answers; `app.lists` makes the pages."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import Field

from app.schemas import Reply

MAX_LIMIT = 1000

Item = TypeVar("Item")


class Page(Reply, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(
        default=None, description="Ask for the next page with it; null: this is the last.", examples=["NDI"]
    )


def can_be_stored(key: object) -> bool:
    """Whether both databases can compare with it: whole numbers of 64 bits, text without NUL."""
    if isinstance(key, int):
        return abs(key) < 2**63
    return not isinstance(key, str) or "\0" not in key
