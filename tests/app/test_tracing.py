"""Traces for OpenTelemetry."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from app import tracing
from app.database import Database
from app.settings import Settings


def test_nothing_is_sent_unless_it_is_asked_for(tmp_path: Path) -> None:
    off = tracing.config(Settings(data_dir=tmp_path))
    on = tracing.config(Settings(data_dir=tmp_path, otel=True))

    assert (off["auto_configure"], off["tracing"], off["metrics"], off["logs"]) == (False,) * 4
    assert (on["auto_configure"], on["tracing"]) == (True, True)


def test_what_is_asked_for_but_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)

    with pytest.raises(ValueError, match=r"archcast\[otel\]"):
        tracing.config(Settings(data_dir=tmp_path, otel=True))


def test_statements_are_spans_without_the_values_of_their_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing.trace, "get_tracer", provider.get_tracer)
    database = Database(f"sqlite:///{tmp_path / 'any.sqlite3'}")
    tracing.trace_statements(database.engine)

    with database.read() as session:
        session.execute(text("SELECT :value"), {"value": "private"})
    with pytest.raises(DatabaseError), database.read() as session:
        session.execute(text("SELECT nothing FROM nowhere"))

    spans = [span for span in exporter.get_finished_spans() if span.name == "SELECT"]
    assert [span.attributes["db.query.text"] for span in spans if span.attributes] == [
        "SELECT ?",
        "SELECT nothing FROM nowhere",
    ]
    assert [span.status.is_ok for span in spans] == [True, False]
    database.close()
