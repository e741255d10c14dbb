"""A thin HTTP client for scripts and the command line: one method for each thing to do, plain documents in and out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
_FINAL_STATES = ("done", "failed", "cancelled")
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


class Client:
    """Speaks to one service. Use as a context manager, or `close` it.

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

    def create_task(
        self,
        name: str,
        search_space: str,
        dataset: str,
        metric: Mapping[str, str],
        **optional: Any,
    ) -> Document:
        """Creates a task, or answers the one that is there; `metric` has name, unit and direction."""
        body = {"name": name, "search_space": search_space, "dataset": dataset, "metric": dict(metric), **optional}
        return self._call("POST", "/v1/tasks", body)

    def task(self, task: str) -> Document:
        """One task by name or id."""
        return self._call("GET", f"/v1/tasks/{task}")

    def tasks(self) -> Iterator[Document]:
        """All tasks."""
        return self._items("/v1/tasks")

    def declare_search_space(self, name: str, definition: Mapping[str, Any], description: str = "") -> Document:
        """Registers a search space of one's own."""
        body = {"name": name, "definition": dict(definition), "description": description}
        return self._call("POST", "/v1/search-spaces", body)

    def post_observations(self, task: str, observations: Sequence[Mapping[str, Any]]) -> Document:
        """Posts measured values, with their `std_error` where it is known; all of them are recorded, or none."""
        return self._call("POST", f"/v1/tasks/{task}/observations", {"observations": list(observations)})

    def observations(self, task: str) -> Iterator[Document]:
        """All current observations of a task."""
        return self._items(f"/v1/tasks/{task}/observations")

    def predict(self, task: str, architectures: Sequence[Any]) -> Document:
        """Forecasts architectures."""
        return self._call("POST", f"/v1/tasks/{task}/predictions", {"architectures": list(architectures)})

    def candidates(self, task: str, k: int = 10, **query: Any) -> Document:
        """What to measure next; `query` may have acquisition, kappa, diversity, constraint (a list), pool and seed."""
        return self._call("GET", f"/v1/tasks/{task}/candidates", query={"k": k, **query})

    def best(self, task: str, k: int = 10) -> Document:
        """The measured leaderboard."""
        return self._call("GET", f"/v1/tasks/{task}/best", query={"k": k})

    def start_fine_tune(self, reason: str, settings: Mapping[str, Any] | None = None) -> Document:
        """Queues a fine-tune."""
        return self._call("POST", "/v1/fine-tunes", {"reason": reason, "settings": dict(settings or {})})

    def fine_tune(self, fine_tune_id: int) -> Document:
        """One fine-tune."""
        return self._call("GET", f"/v1/fine-tunes/{fine_tune_id}")

    def fine_tunes(self) -> Iterator[Document]:
        """All fine-tunes, the newest first."""
        return self._items("/v1/fine-tunes")

    def cancel_job(self, job_id: int) -> Document:
        """Cancels a job."""
        return self._call("POST", f"/v1/jobs/{job_id}:cancel")

    def followed_fine_tune(self, fine_tune_id: int, poll_seconds: float = 0.5) -> Iterator[Document]:
        """The fine-tune again and again until it has ended."""
        while True:
            document = self.fine_tune(fine_tune_id)
            yield document
            if document["state"] in _FINAL_STATES:
                return
            time.sleep(poll_seconds)

    def wait_until_fresh(self, task: str, timeout_seconds: float = 60.0, poll_seconds: float = 0.1) -> Document:
        """Waits until the task's adaptation has seen every observation."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            document = self.task(task)
            if document["adaptation"]["is_fresh"]:
                return document
            if time.monotonic() > deadline:
                raise ClientError(f"expected task {task} to be adapted within {timeout_seconds} s, got no adaptation")
            time.sleep(poll_seconds)

    def _items(self, path: str) -> Iterator[Document]:
        cursor: str | None = None
        while True:
            page = self._call("GET", path, query={"limit": 1000, **({"cursor": cursor} if cursor else {})})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _call(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Document:
        try:
            answer = self._http.request(method, path, json=body, params=query)
        except httpx.TransportError as error:
            message = f"expected a service at {self._http.base_url}, got {type(error).__name__}: {error}"
            raise ClientError(message) from error
        try:
            document = answer.json()
        except ValueError:
            document = {"status": answer.status_code, "detail": answer.text[:200]}
        if answer.is_error:
            raise ClientError(str(document.get("detail", answer.reason_phrase)), document)
        return document  # type: ignore[no-any-return]
