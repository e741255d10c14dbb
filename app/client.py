"""A thin HTTP client for scripts and the command line: one method for each thing to do, plain documents in and out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.client_calls import DEFAULT_URL, ClientError, Document
from app.client_operations import OperationCalls
from app.client_trials import LeaseLostError, Trial, TrialCalls

__all__ = ["DEFAULT_URL", "Client", "ClientError", "Document", "LeaseLostError", "Trial"]

_FINAL_STATES = ("done", "failed", "cancelled")


class Client(TrialCalls, OperationCalls):
    """Speaks to one service. Use as a context manager, or `close` it.

    Every method raises ClientError when the service refuses or does not answer.
    """

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
