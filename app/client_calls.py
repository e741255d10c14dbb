"""What every part of the HTTP client shares: requests, what is made of answers, one kind of error, patience; and two ways to
carry them, one that blocks and one for asyncio.

What there is to ask is written once, in classes on `Requests`: each of their methods builds a request and gives back what the
carrier makes of it, a document (`Calls`) or something to await (`AsyncCalls`). A call whose answer is lost, or that is put off, is made again after a growing pause. Calls that create something carry an
Idempotency-Key of their own, so that the service does them once however often they are made.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
API_KEY_VARIABLE = "ARCHCAST_API_KEY"
_TIMEOUT_SECONDS = 60.0
_TRIES, _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 6, 0.25, 30.0
_PAGE = 1_000
_TOO_MANY_REQUESTS = 429
_IN_FLIGHT = "/problems/idempotency-key-in-flight"

Document = dict[str, Any]


class Answer(Document):
    """A document as the service answered it. `etag` names its state, for edits of just what was seen."""

    etag: str | None = None


class ClientError(Exception):
    """The service refused a request, or cannot be reached. `problem` is its problem document, if it sent one."""

    def __init__(self, detail: str, problem: Mapping[str, Any] | None = None, retry_after: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem = dict(problem or {})
        self.retry_after = retry_after

    @property
    def status(self) -> int | None:
        """The status of the answer; None if there was none."""
        return self.problem.get("status")


class UnreachableError(ClientError):
    """The service did not answer: what was asked may or may not have been done."""


AnswerT = TypeVar("AnswerT", covariant=True)
"""What a call gives: an answer, or something to await that becomes one."""
ItemsT = TypeVar("ItemsT", covariant=True)
"""What a list gives: documents to iterate over, one way or the other."""


class Requests(ABC, Generic[AnswerT, ItemsT]):
    """Builds requests. Whoever carries them makes them up to six times, but does not wait for a service that never answered."""

    @abstractmethod
    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = _TRIES,
        waits_for_start: bool = False,
    ) -> AnswerT:
        """The answer; made up to so many times, so only for what may be repeated. `waits_for_start`: even if the service has
        not answered anything yet."""

    @abstractmethod
    def _items(self, path: str, wanted: Mapping[str, Any] | None = None) -> ItemsT:
        """All items of a list, page by page; `wanted` may have filters, sort and fields."""

    def _create(
        self, path: str, body: Any = None, key: str | None = None, seen: Mapping[str, Any] | None = None
    ) -> AnswerT:
        """A POST that is done once, however often it has to be made; `seen` is what it changes, as `_edit` takes it."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), **_if_match(seen)}
        return self._call("POST", path, body, headers=headers)

    def _edit(self, path: str, body: Any, seen: Mapping[str, Any] | None) -> AnswerT:
        """A PATCH of just what was seen, an answer of this client; None: of whatever is there."""
        headers = _if_match(seen)
        return self._call("PATCH", path, body, headers=headers, tries=1 if headers else _TRIES)


class Calls(Requests[Answer, Iterator[Document]]):
    """Speaks to one service. Use as a context manager, or `close` it. May be used from any thread.

    Every method raises ClientError when the service refuses or does not answer.
    """

    def __init__(
        self, url: str = DEFAULT_URL, transport: httpx.BaseTransport | None = None, api_key: str | None = None
    ) -> None:
        """`api_key` is that of ARCHCAST_API_KEY where none is given; an empty one: none."""
        headers = _authorization(api_key)
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, transport=transport, headers=headers)
        self._patience = _Patience()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def _items(self, path: str, wanted: Mapping[str, Any] | None = None) -> Iterator[Document]:
        query: dict[str, Any] | None = {"limit": _PAGE, **(wanted or {})}
        while query is not None:
            page = self._call("GET", path, query=query)
            yield from page["items"]
            query = _next_query(query, page)

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = _TRIES,
        waits_for_start: bool = False,
    ) -> Answer:
        for number in range(tries - 1):
            try:
                return self._once(method, path, body, query, headers)
            except ClientError as error:
                time.sleep(self._patience.pause_seconds(error, number, waits_for_start))
        return self._once(method, path, body, query, headers)

    def _once(
        self, method: str, path: str, body: Any, query: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Answer:
        try:
            answer = self._http.request(method, path, json=body, params=query, headers=headers)
        except (httpx.TransportError, ValueError) as error:
            raise _not_sent(error, self._http.base_url) from error
        return self._patience.document_of(answer)


class AsyncCalls(Requests[Coroutine[Any, Any, Answer], AsyncIterator[Document]]):
    """Speaks to one service from asyncio. Use as an asynchronous context manager, or await `close`. Belongs to one event loop.

    Every method raises ClientError when the service refuses or does not answer.
    """

    def __init__(
        self, url: str = DEFAULT_URL, transport: httpx.AsyncBaseTransport | None = None, api_key: str | None = None
    ) -> None:
        """`api_key` is that of ARCHCAST_API_KEY where none is given; an empty one: none."""
        headers = _authorization(api_key)
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS, transport=transport, headers=headers)
        self._patience = _Patience()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.aclose()

    async def _items(self, path: str, wanted: Mapping[str, Any] | None = None) -> AsyncIterator[Document]:
        query: dict[str, Any] | None = {"limit": _PAGE, **(wanted or {})}
        while query is not None:
            page = await self._call("GET", path, query=query)
            for item in page["items"]:
                yield item
            query = _next_query(query, page)

    async def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = _TRIES,
        waits_for_start: bool = False,
    ) -> Answer:
        for number in range(tries - 1):
            try:
                return await self._once(method, path, body, query, headers)
            except ClientError as error:
                await asyncio.sleep(self._patience.pause_seconds(error, number, waits_for_start))
        return await self._once(method, path, body, query, headers)

    async def _once(
        self, method: str, path: str, body: Any, query: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Answer:
        try:
            answer = await self._http.request(method, path, json=body, params=query, headers=headers)
        except (httpx.TransportError, ValueError) as error:
            raise _not_sent(error, self._http.base_url) from error
        return self._patience.document_of(answer)


class _Patience:
    """Reads answers, and knows which requests may succeed when they are made again, and when."""

    def __init__(self) -> None:
        self._has_answered = False

    def document_of(self, answer: httpx.Response) -> Answer:
        """What the service answered; raises ClientError if it refused."""
        self._has_answered = True
        return document_of(answer)

    def pause_seconds(self, error: ClientError, number: int, waits_for_start: bool) -> float:
        """How long to wait before the try after that one; raises the error where waiting does not help."""
        if not self._may_succeed_later(error, waits_for_start):
            raise error
        return _pause_seconds(error, number)

    def _may_succeed_later(self, error: ClientError, waits_for_start: bool) -> bool:
        if isinstance(error, UnreachableError):
            return self._has_answered or waits_for_start
        status = error.status or 0
        return status >= 500 or status == _TOO_MANY_REQUESTS or error.problem.get("type") == _IN_FLIGHT


def document_of(answer: httpx.Response) -> Answer:
    """What the service answered; raises ClientError if it refused."""
    try:
        document = answer.json()
    except ValueError:
        document = {"status": answer.status_code, "detail": answer.text[:200]}
    if answer.is_error:
        detail = str(document.get("detail", answer.reason_phrase))
        raise ClientError(detail, document, answer.headers.get("Retry-After"))
    read = Answer(document)
    read.etag = answer.headers.get("ETag")
    return read


def _not_sent(error: Exception, url: httpx.URL) -> ClientError:
    if isinstance(error, httpx.TransportError):
        return UnreachableError(f"expected a service at {url}, got {type(error).__name__}: {error}")
    return ClientError(f"expected a document that JSON can hold, got one with {error}")  # before anything was sent


def _next_query(query: Mapping[str, Any], page: Answer) -> dict[str, Any] | None:
    return None if page["next_cursor"] is None else {**query, "cursor": page["next_cursor"]}


def _authorization(api_key: str | None) -> dict[str, str]:
    key = os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key
    return {"Authorization": f"Bearer {key}"} if key else {}


def _pause_seconds(error: ClientError, number: int) -> float:
    """As long as the service says, or else twice as long every time; less up to a half, so that not all come at once."""
    asked_for = error.retry_after or ""
    pause = float(asked_for) if asked_for.isdecimal() else _FIRST_PAUSE_SECONDS * 2.0**number
    pause = pause if asked_for.isdecimal() else pause * random.uniform(0.5, 1.0)
    return min(pause, _LONGEST_PAUSE_SECONDS)


def _if_match(seen: Mapping[str, Any] | None) -> dict[str, str]:
    if seen is None:
        return {}
    if not isinstance(seen, Answer) or seen.etag is None:
        raise ClientError("expected a document that this client has shown, got one whose state has no name")
    return {"If-Match": seen.etag}
