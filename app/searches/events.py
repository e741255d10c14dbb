"""What happens in a search, as server-sent events. They are rows, so that any replica can tell them, from any one on.

The form is that of https://html.spec.whatwg.org/multipage/server-sent-events.html: `id`, `event`, `data` as JSON, a comment as
heartbeat, and `end`, without an id, when the search has ended.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import orjson
from starlette.concurrency import run_in_threadpool

from app.database import Database
from app.errors import InvalidContentError, NotReadyError
from app.queue import FINAL_STATES
from app.searches import repository
from app.settings import Settings
from app.tables import SearchEventRecord

_MOST_AT_ONCE = 500
_LONGEST_PAUSE = 4.0  # times the shortest: what is silent is asked less often
_RETRY_MILLISECONDS = 1_000
_MAX_DIGITS = 18


@dataclass(frozen=True)
class _News:
    """New events, and how the search has ended, if it has and these are all."""

    records: Sequence[SearchEventRecord]
    ending: str | None


class EventStreams:
    """One for an application: how many streams are open, and what ends them."""

    def __init__(self, settings: Settings, database: Database, ending: threading.Event) -> None:
        self._settings, self._database, self._ending = settings, database, ending
        self._num_open = 0  # of the event loop alone

    def check_room(self) -> None:
        """Raises NotReadyError if so many streams are open that another has to wait."""
        if self._num_open >= self._settings.max_event_streams:
            raise NotReadyError(f"expected fewer than {self._settings.max_event_streams} open streams, got as many")

    async def stream(self, search_id: int, after: int) -> AsyncIterator[bytes]:
        """Everything after the event of that id, as it happens, until the search or the stream's time ends."""
        self._num_open += 1
        try:
            yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
            async for piece in self._pieces(search_id, after):
                yield piece
        finally:
            self._num_open -= 1

    async def _pieces(self, search_id: int, after: int) -> AsyncIterator[bytes]:
        settings = self._settings
        pause = settings.event_poll_seconds
        until = time.monotonic() + settings.event_stream_seconds
        last_said = time.monotonic()
        while time.monotonic() < until and not self._ending.is_set():
            news = await run_in_threadpool(self._look, search_id, after)
            for record in news.records:
                yield _written(record)
                after, last_said, pause = record.id, time.monotonic(), settings.event_poll_seconds
            if news.ending is not None:
                yield b"event: end\ndata: " + orjson.dumps({"state": news.ending}) + b"\n\n"
                return
            if len(news.records) == _MOST_AT_ONCE:
                continue
            if time.monotonic() - last_said >= settings.event_heartbeat_seconds:
                yield b": still there\n\n"
                last_said = time.monotonic()
            await asyncio.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(pause * 1.5, _LONGEST_PAUSE * settings.event_poll_seconds)

    def _look(self, search_id: int, after: int) -> _News:
        with self._database.read() as session:
            records = repository.events(session, search_id, after, _MOST_AT_ONCE)
            state = repository.job_state(session, search_id)
        is_over = state in FINAL_STATES and len(records) < _MOST_AT_ONCE
        return _News(records, state if is_over else None)


def last_event_id(header: str | None) -> int:
    """Which event the caller has seen last; 0: none.

    Raises:
        InvalidContentError: if it is no id that a stream has told.
    """
    text = (header or "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        message = f"expected the id of an event of this search, got {text[:80]!r}"
        raise InvalidContentError(message, [{"location": ["header", "Last-Event-ID"], "message": message}])
    return int(text)


def _written(record: SearchEventRecord) -> bytes:
    data = orjson.dumps({**record.data, "at": record.created_at})
    return f"id: {record.id}\nevent: {record.kind}\n".encode() + b"data: " + data + b"\n\n"
