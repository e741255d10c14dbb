"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request
from starlette.types import Scope

from app.guarded_routes import Role

_IN_SCOPE = "archcast.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the guard found out. `project_id` is None for those who may do what they may in every project."""

    id: str  # key:7 | oidc:… | embedded | system: stable, and never shared by two
    name: str  # for people
    role: Role
    project_id: int | None = None
    requests_per_minute: int = 0  # 0: as many as it likes


EMBEDDED = Caller("embedded", "embedded use, without a key", Role.ADMIN)
"""Whoever calls from this machine where no key is needed."""
SYSTEM = Caller("system", "the service itself", Role.ADMIN)
ANONYMOUS = Caller("anonymous", "nobody in particular", Role.READER)
"""Whoever asks what is open to all."""


def note(scope: Scope, caller: Caller) -> None:
    """Keeps who calls with the request."""
    scope[_IN_SCOPE] = caller


def of(request: Request) -> Caller:
    """Who calls."""
    caller: Caller = request.scope[_IN_SCOPE]
    return caller


def caller_of(request: Request) -> str:
    """The id of whoever calls: the same for the same caller at every replica, another for any other."""
    return of(request).id


CallerDep = Annotated[Caller, Depends(of)]
