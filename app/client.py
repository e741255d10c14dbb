"""A thin HTTP client for scripts and the command line: one method for each thing to do, plain documents in and out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.client_access import AccessCalls
from app.client_calls import DEFAULT_URL, ClientError, Document
from app.client_formats import as_notations, with_notation
from app.client_operations import OperationCalls
from app.client_trials import LeaseLostError, Trial, TrialCalls

__all__ = ["DEFAULT_URL", "Client", "ClientError", "Document", "LeaseLostError", "Trial"]

_FINAL_STATES = ("done", "failed", "cancelled")


class Client(TrialCalls, AccessCalls, OperationCalls):
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
        return self._create("/v1/tasks", body)

    def task(self, task: str) -> Document:
        """One task by name or id."""
        return self._call("GET", f"/v1/tasks/{task}")

    def tasks(self, **query: Any) -> Iterator[Document]:
        """All tasks; `query` may have sort, fields, search_space, since and before."""
        return self._items("/v1/tasks", query)

    def edit_task(self, task: str, metadata: Mapping[str, Any], seen: Document | None = None) -> Document:
        """Changes a task's metadata; `seen`, what `task` answered: only if it is still like that."""
        return self._edit(f"/v1/tasks/{task}", {"metadata": dict(metadata)}, seen)

    def search_spaces(self, **query: Any) -> Iterator[Document]:
        """All search spaces; `query` may have sort, fields and kind."""
        return self._items("/v1/search-spaces", query)

    def model_versions(self, **query: Any) -> Iterator[Document]:
        """All model versions; `query` may have sort, fields, origin, since and before."""
        return self._items("/v1/model-versions", query)

    def declare_search_space(self, name: str, definition: Mapping[str, Any], description: str = "") -> Document:
        """Registers a search space of one's own."""
        body = {"name": name, "definition": dict(definition), "description": description}
        return self._create("/v1/search-spaces", body)

    def post_observations(
        self,
        task: str,
        observations: Sequence[Mapping[str, Any]],
        idempotency_key: str | None = None,
        example_inputs: Any = None,
    ) -> Document:
        """Posts measured values, with their `std_error` where it is known; all of them are recorded, or none. An
        `architecture` may be the path of an ONNX file, or a module, which is traced on `example_inputs`.

        Calls that have to be made again are recorded once. A key of one's own makes that true of a program that is started
        again, too.
        """
        body = {"observations": [with_notation(one, example_inputs) for one in observations]}
        return self._create(f"/v1/tasks/{task}/observations", body, idempotency_key)

    def observations(self, task: str, **query: Any) -> Iterator[Document]:
        """All current observations of a task; `query` may have sort, fields, architecture, status, include_superseded,
        min_value, max_value, since, before and after_id."""
        return self._items(f"/v1/tasks/{task}/observations", query)

    def observation(self, task: str, observation_id: int) -> Document:
        """One observation, whether it still counts or not."""
        return self._call("GET", f"/v1/tasks/{task}/observations/{observation_id}")

    def correct_observation(
        self, task: str, observation_id: int, reason: str, seen: Document | None = None, **members: Any
    ) -> Document:
        """Puts another observation in the place of a wrong one; `members` has its value, and may have status and std_error.
        `seen`, what `observation` answered: only if it is still like that."""
        path = f"/v1/tasks/{task}/observations/{observation_id}/correction"
        return self._create(path, {"reason": reason, **members}, seen=seen)

    def retract_observation(
        self, task: str, observation_id: int, reason: str, seen: Document | None = None
    ) -> Document:
        """Has an observation ignored; `seen` as with corrections."""
        path = f"/v1/tasks/{task}/observations/{observation_id}/retraction"
        return self._create(path, {"reason": reason}, seen=seen)

    def predict(self, task: str, architectures: Any, example_inputs: Any = None) -> Document:
        """Forecasts architectures: one or several, as notations, paths of ONNX files, or modules, which are traced on
        `example_inputs` (a tensor, a sequence of arguments or a mapping of them)."""
        notations = as_notations(architectures, example_inputs)
        return self._call("POST", f"/v1/tasks/{task}/predictions", {"architectures": notations})

    def candidates(self, task: str, k: int = 10, **query: Any) -> Document:
        """What to measure next; `query` may have acquisition, kappa, diversity, constraint (a list), pool and seed."""
        return self._call("GET", f"/v1/tasks/{task}/candidates", query={"k": k, **query})

    def best(self, task: str, k: int = 10) -> Document:
        """The measured leaderboard."""
        return self._call("GET", f"/v1/tasks/{task}/best", query={"k": k})

    def start_fine_tune(
        self, reason: str, settings: Mapping[str, Any] | None = None, idempotency_key: str | None = None
    ) -> Document:
        """Queues a fine-tune; one, however often the call has to be made."""
        return self._create("/v1/fine-tunes", {"reason": reason, "settings": dict(settings or {})}, idempotency_key)

    def fine_tune(self, fine_tune_id: int) -> Document:
        """One fine-tune."""
        return self._call("GET", f"/v1/fine-tunes/{fine_tune_id}")

    def fine_tunes(self, **query: Any) -> Iterator[Document]:
        """All fine-tunes, the newest first; `query` may have sort, fields, state, since and before."""
        return self._items("/v1/fine-tunes", query)

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
