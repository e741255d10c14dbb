"""What is kept of every request: how long it took, by the route's template, for /metrics; and, by setting, a line of the log.

One pure ASGI middleware for both, since forecasts that are remembered take 0.3 ms in all.
"""

from __future__ import annotations

import logging
import time

from prometheus_client import CollectorRegistry, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs

UNMATCHED = "unmatched"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ANSWER = 499  # the client went away, or the service was ended
_logger = logging.getLogger("app.requests")


class RequestMetrics:
    """Durations and requests in flight. Its series are bounded: routes × methods × classes of status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "archcast_request_duration_seconds",
            "Time from a request's first byte to the end of its answer, in this process.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._in_flight = Gauge(
            "archcast_requests_in_flight", "Requests that this process is answering.", registry=registry
        )
        self.began, self.ended = self._in_flight.inc, self._in_flight.dec
        self._known: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request that has ended."""
        key = (method, route, status // 100)
        series = self._known.get(key)
        if series is None:  # the library's own look-up makes texts of the labels each time
            shown = method if method in _METHODS else "other"
            series = self._known[key] = self._seconds.labels(shown, route, f"{status // 100}xx")
        series.observe(seconds)


class RequestRecordMiddleware:
    """Measures and logs. Belongs inside the middleware that gives requests their ids, around all others."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics, log_requests: bool) -> None:
        self.app, self._metrics, self._log_requests = app, metrics, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), _NO_ANSWER

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.began()
        token = logs.request_id.set(scope.get("request_id", ""))
        try:
            await self.app(scope, receive, send_and_note)
        except Exception:
            status = 500
            raise
        finally:
            seconds = time.perf_counter() - began
            self._metrics.ended()
            route = template_of(scope)
            self._metrics.observe(scope["method"] if route != UNMATCHED else "any", route, status, seconds)
            if self._log_requests:
                _log(scope, route, status, seconds)
            logs.request_id.reset(token)


def template_of(scope: Scope) -> str:
    """The address with names in place of values, such as /v1/tasks/{task}/predictions: as many as there are routes."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return UNMATCHED
    versioned = scope["path"].startswith("/v1/") and not path.startswith("/v1/")
    return f"/v1{path}" if versioned else str(path)


def _log(scope: Scope, route: str, status: int, seconds: float) -> None:
    caller = scope.get("archcast.caller")
    fields = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "duration_ms": round(1_000.0 * seconds, 3),
        "caller": getattr(caller, "id", "everybody"),
        "client": scope["client"][0] if scope.get("client") else None,
    }
    task = scope.get("path_params", {}).get("task")
    if task is not None:
        fields["task"] = str(task)[:128]
    level = logging.WARNING if status >= 500 else logging.INFO
    _logger.log(level, "%s %s answered %d", scope["method"], route, status, extra=logs.with_fields(**fields))
