"""Routes that let nobody in without a rule: every endpoint says with `at_least` or `open_to_all` who may call it.

The rule stands on the endpoint, and the guard (`app.access.guard`) on the application's state. `api.mount` refuses a router
whose routes are no `GuardedRoute`, or an endpoint without a rule.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_RULE = "archcast_rule"


class Role(IntEnum):
    """What a caller may do; each includes those before it."""

    READER = 1
    CONTRIBUTOR = 2
    OPERATOR = 3
    ADMIN = 4

    @property
    def label(self) -> str:
        """As users write it."""
        return self.name.lower()

    @classmethod
    def of(cls, label: str) -> Role:
        """The role of that label; raises KeyError."""
        return cls[label.upper()]


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call an endpoint, and what else the guard has to know of it."""

    least: Role | None  # None: anybody, without a key
    is_change: bool  # it is refused on what belongs to all
    is_audited: bool  # it is kept in the audit log
    is_timed: bool  # the limit on a request's time applies


class Guard(Protocol):
    """Lets a request through to its endpoint, or raises."""

    def admit(
        self, rule: Rule, operation: str, scope: Scope, receive: Receive, send: Send, handle: ASGIApp
    ) -> Awaitable[None]:
        """Calls `handle` if the rule allows it."""


def at_least(
    role: Role, *, changes: bool = False, is_audited: bool | None = None, is_timed: bool = True
) -> Callable[[Endpoint], Endpoint]:
    """The endpoint is for callers of that role and those above; `changes`: it changes something, which is kept in the audit
    log unless `is_audited` says otherwise."""
    return _with_rule(Rule(role, changes, changes if is_audited is None else is_audited, is_timed))


def open_to_all(endpoint: Endpoint) -> Endpoint:
    """The endpoint is for anybody, with a key or without: it tells nothing of what is stored."""
    return _with_rule(Rule(None, False, False, True))(endpoint)


def _with_rule(rule: Rule) -> Callable[[Endpoint], Endpoint]:
    def marked(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _RULE, rule)
        return endpoint

    return marked


def rule_of(endpoint: Callable[..., Any]) -> Rule | None:
    """The endpoint's rule, if it has one."""
    found: Rule | None = getattr(endpoint, _RULE, None)
    return found


class GuardedRoute(APIRoute):
    """A route that asks the guard first."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 405 as before, and everything else only if the guard lets it through."""
        rule = rule_of(self.endpoint)
        if rule is None:
            raise TypeError(f"expected the endpoint {self.name} to say who may call it, got no rule")
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        guard: Guard = scope["app"].state.guard
        await guard.admit(rule, self.name, scope, receive, send, super().handle)


def check_rules(routes: Iterable[object]) -> None:
    """Raises TypeError, which names every route that the guard would not see or that has no rule."""
    bad = [
        str(getattr(route, "name", route))
        for route in routes
        if not isinstance(route, GuardedRoute) or rule_of(route.endpoint) is None
    ]
    if bad:
        raise TypeError(f"expected guarded routes whose endpoints say who may call them, got others: {', '.join(bad)}")
