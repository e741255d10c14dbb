"""Server-sent events of searches."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from event_streams import read

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response

    from app.database import Database
    from app.settings import Settings

pytestmark = pytest.mark.both_engines


def follow(client: TestClient, search_id: int, last: str | None = None) -> Response:
    headers = {} if last is None else {"Last-Event-ID": last}
    return client.get(f"/v1/searches/{search_id}/events", headers=headers)


@pytest.fixture
def finished(client: TestClient, observed: Any, start: Any, work: Any) -> int:
    search_id: int = start(evaluator="table", budget={"evaluations": 5}, parallel=2)
    work()
    return search_id


def test_a_stream_tells_all_that_happened_and_ends_with_the_search(
    client: TestClient, finished: int, show: Any
) -> None:
    answer = follow(client, finished)

    told = read(answer.text)
    evaluated = [one["data"] for one in told if one["event"] == "evaluated"]
    improved = [one["data"]["number"] for one in told if one["event"] == "improved"]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert told[0]["event"] == "created"
    assert [one["number"] for one in evaluated] == [1, 2, 3, 4, 5]
    assert improved == [one["number"] for one in show(finished)["history"]]
    assert (told[-1]["event"], told[-1]["data"], "id" in told[-1]) == ("end", {"state": "done"}, False)
    ids = [int(one["id"]) for one in told[:-1]]
    assert ids == sorted(set(ids))


def test_a_stream_goes_on_after_the_last_event_that_was_seen(client: TestClient, finished: int) -> None:
    whole = read(follow(client, finished).text)

    for place, event in enumerate(whole[:-1]):
        assert read(follow(client, finished, event["id"]).text) == whole[place + 1 :]


@pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "9" * 30])
def test_an_id_that_no_stream_has_told_is_refused(client: TestClient, finished: int, wrong: str) -> None:
    answer = follow(client, finished, wrong)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == ["header", "Last-Event-ID"]


def test_a_stream_of_a_search_that_goes_on_closes_in_time(client: TestClient, tasks: Any, start: Any) -> None:
    told = read(follow(client, start()).text)

    assert [one["event"] for one in told] == ["created"]


def test_a_silent_stream_says_that_it_is_still_there_and_then_tells_at_once(
    client: TestClient, database: Database, settings: Settings, tasks: Any, start: Any
) -> None:
    from app.searches.events import EventStreams

    search_id = start()
    patient = settings.model_copy(update={"event_stream_seconds": 60.0, "event_heartbeat_seconds": 0.05})
    streams = EventStreams(patient, database, threading.Event())

    async def followed() -> list[str]:
        pieces = []
        async for piece in streams.stream(search_id, 0):
            pieces.append(piece.decode())
            if piece.startswith(b":") and pieces.count(pieces[-1]) == 2:
                await asyncio.to_thread(client.post, f"/v1/searches/{search_id}:pause")
                await asyncio.to_thread(client.post, f"/v1/searches/{search_id}:cancel")
        return pieces

    pieces = asyncio.run(followed())
    assert pieces.count(": still there\n\n") >= 2
    assert [one["event"] for one in read("".join(pieces))] == ["created", "paused", "end"]
    assert pieces[-1] == 'event: end\ndata: {"state":"cancelled"}\n\n'


def test_a_stream_ends_when_the_process_is_told_to_end(
    database: Database, settings: Settings, client: TestClient, tasks: Any, start: Any
) -> None:
    from app.searches.events import EventStreams

    search_id, ending = start(), threading.Event()
    streams = EventStreams(settings.model_copy(update={"event_stream_seconds": 600.0}), database, ending)

    async def followed() -> list[bytes]:
        pieces = []
        async for piece in streams.stream(search_id, 0):
            pieces.append(piece)
            if b"created" in piece:
                ending.set()
        return pieces

    assert b"event: end" not in b"".join(asyncio.run(followed()))


def test_there_is_an_end_of_streams(client: TestClient, app: Any, finished: int, replace_state: Any) -> None:
    from app.searches.events import EventStreams

    few = app.state.settings.model_copy(update={"max_event_streams": 1})
    streams = EventStreams(few, app.state.database, threading.Event())
    streams._num_open = 1
    replace_state("event_streams", streams)

    answer = follow(client, finished)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
