"""What every request passes before its endpoint: who calls, may they, how often, for how long, and what is kept of it."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import deadlines
from app.access import audit, callers, key_format
from app.access.callers import ANONYMOUS, EMBEDDED, Caller
from app.access.keyring import KeyRing
from app.access.rate_limits import RateLimits
from app.access.task_places import TaskPlaces
from app.access.time_limits import TimeLimit
from app.database import Database
from app.errors import ForbiddenError, InvalidTokenError, UnauthorizedError
from app.guarded_routes import Role, Rule
from app.settings import Settings

if TYPE_CHECKING:
    from app.access.oidc import TokenVerifier

_BEARER = re.compile(r"[Bb]earer +([!-~]+) *")


class AccessGuard:
    """One for an application. `start` and `stop` enclose its life."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.keys = KeyRing(settings, database)
        self._needs_keys = settings.needs_keys
        self.time_limit = TimeLimit(settings.request_timeout_seconds)
        self._database = database
        self._limits = RateLimits(database)
        self._places = TaskPlaces(database)
        self._tokens = _verifier(settings, database) if settings.oidc_issuer else None
        database.before_commit(audit.write_draft)

    def start(self) -> None:
        """Begins to look for keys, where they are needed."""
        if self._needs_keys:
            self.keys.start()

    async def finish(self) -> None:
        """Waits for what requests left to be done."""
        await self._limits.finish()

    def stop(self) -> None:
        """Ends looking."""
        self.keys.stop()

    async def admit(
        self, rule: Rule, operation: str, scope: Scope, receive: Receive, send: Send, handle: ASGIApp
    ) -> None:
        """Calls `handle` if the rule allows it, and ends it when it takes too long.

        Raises:
            UnauthorizedError: if a key is needed and none was given, or an invalid one.
            ForbiddenError: if the caller's role does not do.
            NotFoundError: if the address names a task that the caller may not see, or that does not exist.
            RateLimitedError: if the caller asks too often.
            TimedOutError: if it took too long.
        """
        if not rule.is_timed:
            await self._admit(rule, operation, scope, receive, send, handle)
            return
        request = self.time_limit.begin()
        try:
            await self._admit(rule, operation, scope, receive, send, handle)
        except asyncio.CancelledError:
            if self.time_limit.is_overdue(request):
                raise deadlines.timed_out(self.time_limit.seconds) from None
            raise
        finally:
            self.time_limit.end(request)

    async def _admit(
        self, rule: Rule, operation: str, scope: Scope, receive: Receive, send: Send, handle: ASGIApp
    ) -> None:
        if rule.least is None:
            callers.note(scope, ANONYMOUS)
            await handle(scope, receive, send)
            return
        caller = await self._caller(scope)
        callers.note(scope, caller)
        if caller.requests_per_minute:
            send = _sending_also(send, await self._limits.spend(caller))
        if caller.role < rule.least:
            raise ForbiddenError(
                f"expected a caller with the role {rule.least.label}, got {caller.role.label}", role=rule.least.label
            )
        await self._lead_to_task(rule, caller, scope)
        if rule.is_audited:
            await self._audited(_draft(caller, operation, scope), scope, receive, send, handle)
        else:
            await handle(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            if self._needs_keys or _is_remote(scope):
                raise UnauthorizedError("expected the header 'Authorization: Bearer …' with an API key, got none")
            return EMBEDDED
        found = _BEARER.fullmatch(given[0].decode("latin-1")) if len(given) == 1 else None
        if found is None:
            raise InvalidTokenError("expected one header 'Authorization: Bearer …', got another form of it")
        if self._tokens is not None and not found[1].startswith(key_format.PREFIX):
            return await self._tokens.caller(found[1])
        return await self.keys.caller(found[1])

    async def _lead_to_task(self, rule: Rule, caller: Caller, scope: Scope) -> None:
        """Puts the id of the task that the caller means in the place of what the address says."""
        reference = scope["path_params"].get("task")
        if reference is None:
            return
        place = self._places.known(caller.project_id, reference)
        if place is None:
            place = await run_in_threadpool(self._places.find, caller.project_id, reference)
        if rule.is_change and place.project_id is None and caller.role < Role.OPERATOR:
            raise ForbiddenError(
                f"expected a task of a project, got {reference[:200]!r}, which belongs to all: only a caller with the role "
                f"{Role.OPERATOR.label} may change it, got {caller.role.label}",
                role=Role.OPERATOR.label,
            )
        scope["path_params"] = {**scope["path_params"], "task": str(place.id)}

    async def _audited(self, draft: audit.Draft, scope: Scope, receive: Receive, send: Send, handle: ASGIApp) -> None:
        """The change enters the log with the transaction that it makes, or else after it."""
        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status < 400 and not draft.is_written:
                    await run_in_threadpool(self._write, draft)
            await send(message)

        audit.begin(draft)
        await handle(scope, receive, send_noting)

    def _write(self, draft: audit.Draft) -> None:
        with self._database.write():  # the hook enters it
            pass


def _verifier(settings: Settings, database: Database) -> TokenVerifier:
    """The one place where the extra `oidc` is imported."""
    try:
        from app.access.oidc import TokenVerifier
    except ModuleNotFoundError as error:
        raise ValueError(f"expected the extra oidc for ARCHCAST_OIDC_ISSUER, got none ({error})") from error
    return TokenVerifier(settings, database)


def _draft(caller: Caller, operation: str, scope: Scope) -> audit.Draft:
    client = scope.get("client")
    address = str(client[0])[:64] if client else None
    target = f"{scope['method']} {scope['path']}"
    return audit.Draft(caller, operation, target[:1_000], address, scope.get("request_id"))


def _sending_also(send: Send, headers: dict[str, str]) -> Send:
    added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def send_also(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *added]
        await send(message)

    return send_also


def _is_remote(scope: Scope) -> bool:
    """Whether the request came over a network, whatever the settings say of the address that is listened on."""
    return any(_is_of_network(end[0]) for end in (scope.get("server"), scope.get("client")) if end)


def _is_of_network(host: object) -> bool:
    if host in ("127.0.0.1", "::1"):
        return False
    try:
        return not ipaddress.ip_address(str(host)).is_loopback
    except ValueError:  # a socket in a folder, or no server at all
        return False
