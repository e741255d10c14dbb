"""What every part of the HTTP client shares: one connection pool, plain documents in and out, one kind of error, and patience.

A call whose answer is lost, or that is put off, is made again after a growing pause. Calls that create something carry an
Idempotency-Key of their own, so that the service does them once however often they are made.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

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


class Calls:
    """Speaks to one service. Use as a context manager, or `close` it. May be used from any thread.

    Every method raises ClientError when the service refuses or does not answer. A service that never answered is not waited
    for; one that did is asked up to six times.
    """

    def __init__(
        self, url: str = DEFAULT_URL, transport: httpx.BaseTransport | None = None, api_key: str | None = None
    ) -> None:
        """`api_key` is that of ARCHCAST_API_KEY where none is given; an empty one: none."""
        key = os.environ.get(API_KEY_VARIABLE, "") if api_key is None else api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, transport=transport, headers=headers)
        self._has_answered = False

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
        """All items of a list, page by page; `wanted` may have filters, sort and fields."""
        query = {"limit": _PAGE, **(wanted or {})}
        while True:
            page = self._call("GET", path, query=query)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _create(
        self, path: str, body: Any = None, key: str | None = None, seen: Mapping[str, Any] | None = None
    ) -> Answer:
        """A POST that is done once, however often it has to be made; `seen` is what it changes, as `_edit` takes it."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), **_if_match(seen)}
        return self._call("POST", path, body, headers=headers)

    def _edit(self, path: str, body: Any, seen: Mapping[str, Any] | None) -> Answer:
        """A PATCH of just what was seen, an answer of this client; None: of whatever is there."""
        headers = _if_match(seen)
        return self._call("PATCH", path, body, headers=headers, tries=1 if headers else _TRIES)

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
        """The answer; made up to so many times, so only for what may be repeated. `waits_for_start`: even if the service has
        not answered anything yet."""
        for number in range(tries - 1):
            try:
                return self._once(method, path, body, query, headers)
            except ClientError as error:
                if not self._may_succeed_later(error, waits_for_start):
                    raise
                time.sleep(_pause_seconds(error, number))
        return self._once(method, path, body, query, headers)

    def _may_succeed_later(self, error: ClientError, waits_for_start: bool) -> bool:
        if isinstance(error, UnreachableError):
            return self._has_answered or waits_for_start
        status = error.status or 0
        return status >= 500 or status == _TOO_MANY_REQUESTS or error.problem.get("type") == _IN_FLIGHT

    def _once(
        self, method: str, path: str, body: Any, query: Mapping[str, Any] | None, headers: Mapping[str, str] | None
    ) -> Answer:
        try:
            answer = self._http.request(method, path, json=body, params=query, headers=headers)
        except httpx.TransportError as error:
            message = f"expected a service at {self._http.base_url}, got {type(error).__name__}: {error}"
            raise UnreachableError(message) from error
        except ValueError as error:  # before anything was sent
            raise ClientError(f"expected a document that JSON can hold, got one with {error}") from error
        self._has_answered = True
        return document_of(answer)


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
