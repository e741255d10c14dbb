"""Searches in the HTTP clients: what can be asked of them, and their events as they happen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import httpx

from app.client_calls import AnswerT, AsyncCalls, Calls, ClientError, Document, ItemsT, Requests, document_of

_PAUSE_SECONDS = 1.0  # before a stream that closed, or broke off, is asked for again
_MOST_BREAKS = 10  # one after the other, without any event between them


class SearchRequests(Requests[AnswerT, ItemsT]):
    """What can be asked of searches. Every method raises ClientError when the service refuses or does not answer."""

    def create_search(
        self,
        tasks: str | Sequence[str],
        strategy: str,
        evaluations: int | None = None,
        seconds: float | None = None,
        idempotency_key: str | None = None,
        **members: Any,
    ) -> AnswerT:
        """Starts a search of one or several tasks within a budget, which `darts` alone does not need; one, however often the
        call has to be made.

        `members` may have mode, evaluator, settings, constraints, start, parallel, seed and description, or objectives with
        directions of their own in the place of tasks.
        """
        names = [tasks] if isinstance(tasks, str) else list(tasks)
        budget = None if evaluations is seconds is None else {"evaluations": evaluations, "seconds": seconds}
        body = {"objectives": [{"task": one} for one in names], "strategy": strategy, "budget": budget, **members}
        return self._create("/v1/searches", body, idempotency_key)

    def search(self, search_id: int) -> AnswerT:
        """One search: how far it is, and the best so far."""
        return self._call("GET", f"/v1/searches/{search_id}")

    def searches(self, **query: Any) -> ItemsT:
        """All searches, the newest first; `query` may have state, strategy, task, sort, fields, since and before."""
        return self._items("/v1/searches", query)

    def search_evaluations(self, search_id: int, **query: Any) -> ItemsT:
        """What a search proposed, and what came of it; `query` may have state, sort and fields."""
        return self._items(f"/v1/searches/{search_id}/evaluations", query)

    def pause_search(self, search_id: int) -> AnswerT:
        """Lets a search do nothing until it is resumed."""
        return self._create(f"/v1/searches/{search_id}:pause")

    def resume_search(self, search_id: int) -> AnswerT:
        """Lets a paused search go on."""
        return self._create(f"/v1/searches/{search_id}:resume")

    def cancel_search(self, search_id: int) -> AnswerT:
        """Ends a search; what it found stays."""
        return self._create(f"/v1/searches/{search_id}:cancel")

    def search_best(self, search_id: int, format: str = "genotype", **query: Any) -> AnswerT:  # noqa: A002  its public name
        """The best so far as dag, genotype or pytorch; `query` may have number, image and classes."""
        return self._call("GET", f"/v1/searches/{search_id}/best", query={"format": format, **query})

    def search_pareto(self, search_id: int, reference: Sequence[float] | None = None) -> AnswerT:
        """What no other evaluation of the search beats in all objectives, with the hypervolume."""
        query = {} if reference is None else {"reference": list(reference)}
        return self._call("GET", f"/v1/searches/{search_id}/pareto", query=query)

    def search_strategies(self) -> AnswerT:
        """All strategies with their settings and sources."""
        return self._call("GET", "/v1/search-strategies")


class _Stream:
    """How far a stream of events was read, over all connections."""

    def __init__(self, last_event_id: str | None) -> None:
        self.has_ended = False
        self._last = last_event_id
        self._fields: dict[str, str] = {}
        self._num_breaks = 0

    @property
    def headers(self) -> dict[str, str]:
        """That ask for what follows."""
        self._fields = {}
        return {} if self._last is None else {"Last-Event-ID": self._last}

    def event(self, line: str) -> Document | None:
        """The event that this line completes."""
        if line:
            name, _, value = line.partition(": ")
            self._fields[name] = value  # of a comment, nothing that is looked at
            return None
        fields, self._fields = self._fields, {}
        if "event" not in fields:
            return None
        self._last, self._num_breaks = fields.get("id", self._last), 0
        self.has_ended = fields["event"] == "end"
        return {"id": fields.get("id"), "event": fields["event"], "data": json.loads(fields["data"])}

    def note_break(self, error: httpx.TransportError) -> None:
        """Raises ClientError where it does not help to ask again."""
        self._num_breaks += 1
        if self._num_breaks > _MOST_BREAKS:
            raise ClientError(f"expected a stream of events, got {type(error).__name__}: {error}") from error


def _path(search_id: int) -> str:
    return f"/v1/searches/{search_id}/events"


class SearchCalls(Calls):
    """For the client that blocks."""

    def search_events(self, search_id: int, last_event_id: str | None = None) -> Iterator[Document]:
        """What happens in a search, as it happens, until it ends: `id`, `event` and `data` of each. Where the connection
        breaks off, it goes on after the last event, at whatever replica answers."""
        stream = _Stream(last_event_id)
        while not stream.has_ended:
            try:
                yield from self._connected(search_id, stream)
            except httpx.TransportError as error:
                stream.note_break(error)
            if not stream.has_ended:
                time.sleep(_PAUSE_SECONDS)

    def _connected(self, search_id: int, stream: _Stream) -> Iterator[Document]:
        with self._http.stream("GET", _path(search_id), headers=stream.headers) as answer:
            if answer.is_error:
                answer.read()
                document_of(answer)
            for line in answer.iter_lines():
                event = stream.event(line)
                if event is not None:
                    yield event

    def finished_search(self, search_id: int) -> Mapping[str, Any]:
        """The search when it has ended, however it did."""
        for _ in self.search_events(search_id):
            pass
        return self._call("GET", f"/v1/searches/{search_id}")


class AsyncSearchCalls(AsyncCalls):
    """For the client for asyncio."""

    async def search_events(self, search_id: int, last_event_id: str | None = None) -> AsyncIterator[Document]:
        """What happens in a search, as `SearchCalls.search_events` says."""
        stream = _Stream(last_event_id)
        while not stream.has_ended:
            try:
                async for event in self._connected(search_id, stream):
                    yield event
            except httpx.TransportError as error:
                stream.note_break(error)
            if not stream.has_ended:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _connected(self, search_id: int, stream: _Stream) -> AsyncIterator[Document]:
        async with self._http.stream("GET", _path(search_id), headers=stream.headers) as answer:
            if answer.is_error:
                await answer.aread()
                document_of(answer)
            async for line in answer.aiter_lines():
                event = stream.event(line)
                if event is not None:
                    yield event

    async def finished_search(self, search_id: int) -> Mapping[str, Any]:
        """The search when it has ended, however it did."""
        async for _ in self.search_events(search_id):
            pass
        return await self._call("GET", f"/v1/searches/{search_id}")
