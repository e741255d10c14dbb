"""Who asks, as far as the service can tell: what belongs to one caller is kept apart from what belongs to another."""

from __future__ import annotations

from starlette.requests import Request

EVERYBODY = "everybody"


def caller_of(request: Request) -> str:
    """A short text that is the same for all requests of one caller; without keys of access all are one."""
    return EVERYBODY
