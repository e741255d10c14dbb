"""What every part of the HTTP client shares: one connection pool, plain documents in and out, one kind of error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
_TIMEOUT_SECONDS = 60.0

Document = dict[str, Any]


class ClientError(Exception):
    """The service refused a request, or cannot be reached. `problem` is its problem document, if it sent one."""

    def __init__(self, detail: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem = dict(problem or {})

    @property
    def status(self) -> int | None:
        """The status of the answer; None if there was none."""
        return self.problem.get("status")


class UnreachableError(ClientError):
    """The service did not answer: what was asked may or may not have been done."""


class Calls:
    """Speaks to one service. Use as a context manager, or `close` it. May be used from any thread.

    Every method raises ClientError when the service refuses or does not answer.
    """

    def __init__(self, url: str = DEFAULT_URL, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, transport=transport)

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
        cursor: str | None = None
        while True:
            page = self._call(
                "GET", path, query={**(wanted or {}), "limit": 1000, **({"cursor": cursor} if cursor else {})}
            )
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _call(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Document:
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.TransportError as error:
            message = f"expected a service at {self._http.base_url}, got {type(error).__name__}: {error}"
            raise UnreachableError(message) from error
        except ValueError as error:  # before anything was sent
            raise ClientError(f"expected a document that JSON can hold, got one with {error}") from error
        return document_of(answer)


def document_of(answer: httpx.Response) -> Document:
    """What the service answered; raises ClientError if it refused."""
    try:
        document = answer.json()
    except ValueError:
        document = {"status": answer.status_code, "detail": answer.text[:200]}
    if answer.is_error:
        raise ClientError(str(document.get("detail", answer.reason_phrase)), document)
    return document  # type: ignore[no-any-return]
