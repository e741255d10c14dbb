"""Traces, metrics and errors for an OpenTelemetry collector; nothing of it is loaded unless the settings ask for it.

FastAPI instruments requests itself. Statements of the database become spans here: the instrumentation that is published for
SQLAlchemy pins another release of the SDK than the one that FastAPI's works with.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from sqlalchemy import Engine, ExceptionContext, event

from app.settings import Settings

_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_MAX_STATEMENT_CHARACTERS = 2_000


def config(settings: Settings) -> TelemetryConfig:
    """What FastAPI is to send, and where: the OTEL_ variables say it, such as OTEL_EXPORTER_OTLP_ENDPOINT.

    Raises:
        ValueError: if it is asked for and the packages for it are not installed.
    """
    if settings.otel and not all(map(_is_installed, _NEEDED)):
        raise ValueError(
            "expected the extra archcast[otel] to be installed where ARCHCAST_OTEL is set, got an installation without it"
        )
    on = settings.otel
    return TelemetryConfig(auto_configure=on, tracing=on, metrics=on, logs=on)


def trace_statements(engine: Engine) -> None:
    """Makes a span of every statement, under the request or job that it belongs to; without the values of its parameters."""
    tracer = trace.get_tracer("archcast.database")
    system = "postgresql" if engine.dialect.name == "postgresql" else "sqlite"

    def begin(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        attributes = {"db.system.name": system, "db.query.text": statement[:_MAX_STATEMENT_CHARACTERS]}
        context.archcast_span = tracer.start_span(
            statement.partition(" ")[0].upper(), kind=trace.SpanKind.CLIENT, attributes=attributes
        )

    def end(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        context.archcast_span.end()

    def fail(failed: ExceptionContext) -> None:
        span = getattr(failed.execution_context, "archcast_span", None)
        if span is not None:
            span.set_status(trace.StatusCode.ERROR, type(failed.original_exception).__name__)
            span.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
