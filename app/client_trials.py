"""Trials in the HTTP client: the calls, and a context manager that keeps the lease while the user's training runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from app.client_calls import Calls, ClientError, Document

_BEATS_PER_LEASE = 3.0
_MAX_REASON_CHARACTERS = 10_000
_LEASE_IS_GONE = (403, 404, 409)


class TrialCalls(Calls):
    """What can be done with trials. `lease_token` is what came with the trial."""

    def suggest_trials(self, task: str, worker_id: str, count: int = 1, **members: Any) -> Document:
        """Trials for a worker, those first that it has already; `members` may have lease_seconds, acquisition, kappa,
        diversity, constraints (a list), pool and seed."""
        body = {"worker_id": worker_id, "count": count, **members}
        return self._create(f"/v1/tasks/{task}/trials:suggest", body)

    def request_trials(self, task: str, architectures: Sequence[Any]) -> Document:
        """Lets architectures wait for a worker."""
        return self._create(f"/v1/tasks/{task}/trials", {"architectures": list(architectures)})

    def trials(self, task: str, **query: Any) -> list[Document]:
        """All trials of a task; `query` may have sort, fields, state, worker_id, architecture, changed_since and
        changed_before."""
        return list(self._items(f"/v1/tasks/{task}/trials", query))

    def show_trial(self, task: str, trial_id: int) -> Document:
        """One trial with its history."""
        return self._call("GET", f"/v1/tasks/{task}/trials/{trial_id}")

    def heartbeat(
        self,
        task: str,
        trial_id: int,
        lease_token: str,
        observations: Sequence[Mapping[str, Any]] = (),
        **members: Any,
    ) -> Document:
        """Extends the lease, and records intermediate results; `members` may have lease_seconds."""
        body = {"lease_token": lease_token, "observations": [dict(one) for one in observations], **members}
        return self._call(
            "POST", f"/v1/tasks/{task}/trials/{trial_id}:heartbeat", body
        )  # harmless to repeat: needs no key

    def complete(
        self, task: str, trial_id: int, lease_token: str, observations: Sequence[Mapping[str, Any]]
    ) -> Document:
        """Records what was measured, and ends the trial."""
        body = {"observations": [dict(one) for one in observations]}
        return self._report("complete", task, trial_id, lease_token, body)

    def fail(self, task: str, trial_id: int, lease_token: str, reason: str, is_retryable: bool = True) -> Document:
        """Says that it could not be measured."""
        body = {"reason": reason, "is_retryable": is_retryable}
        return self._report("fail", task, trial_id, lease_token, body)

    def infeasible(self, task: str, trial_id: int, lease_token: str, reason: str) -> Document:
        """Says that it cannot be built."""
        return self._report("infeasible", task, trial_id, lease_token, {"reason": reason})

    def abandon(self, task: str, trial_id: int, lease_token: str, reason: str | None = None) -> Document:
        """Gives the trial back."""
        return self._report("abandon", task, trial_id, lease_token, {"reason": reason} if reason else {})

    def advice(self, task: str, trial_id: int, **query: Any) -> Document:
        """Whether to go on measuring; `query` may have threshold."""
        return self._call("GET", f"/v1/tasks/{task}/trials/{trial_id}/advice", query=query)

    def trial(self, task: str, worker_id: str, lease_seconds: float = 60.0, **members: Any) -> Trial:
        """A trial to measure, for a `with` block:

            with client.trial("digits", "gpu-3") as trial:
                for epoch in range(1, 21):
                    trial.report(train_one_epoch(trial.genotype), fidelity=epoch)
                    if trial.should_stop():
                        break

        The lease is kept while the block runs. At its end the trial is completed with what was reported; an exception fails
        it, and an interrupt gives it back. `members` are those of `suggest_trials`.
        """
        return Trial(self, task, worker_id, {"lease_seconds": lease_seconds, **members})

    def _report(self, action: str, task: str, trial_id: int, token: str, body: Mapping[str, Any]) -> Document:
        path = f"/v1/tasks/{task}/trials/{trial_id}:{action}"
        return self._create(path, {"lease_token": token, **body})


class LeaseLostError(ClientError):
    """The trial is no longer the worker's: its results are not wanted any more."""


class Trial:
    """A trial that this process measures; made by `Client.trial`, and used by one thread."""

    def __init__(self, client: TrialCalls, task: str, worker_id: str, members: Mapping[str, Any]) -> None:
        self._client, self._task, self._worker_id, self._members = client, task, worker_id, members
        self._document: Document = {}
        self._max_fidelity: float | None = None
        self._reports: list[Document] = []
        self._is_reported = False
        self._ended, self._lost = threading.Event(), threading.Event()
        self._heart = threading.Thread(target=self._beat, name="trial-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Raises ClientError if there is nothing to measure."""
        task = self._client._call("GET", f"/v1/tasks/{self._task}", waits_for_start=True)
        self._max_fidelity = task["max_fidelity"]
        trials = self._client.suggest_trials(self._task, self._worker_id, 1, **self._members)["trials"]
        if not trials:
            raise ClientError(
                f"expected something to measure in task {self._task!r}, got nothing: all of it is tried or out"
            )
        self._document = trials[0]
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._heart.join()
        if self.is_lost:
            if error is None:
                raise self._lost_error()
            return
        if error is None and not self._is_reported:
            self._client.abandon(self._task, self.id, self._token, "nothing was reported")
            raise ClientError(
                f"expected trial.report to be called for trial {self.id}, got to the end of the block without"
            )
        if error is None:
            self._client.complete(self._task, self.id, self._token, self._reports)
        else:
            self._give_up(error)

    @property
    def id(self) -> int:
        """The trial's id."""
        return int(self._document["id"])

    @property
    def genotype(self) -> str:
        """The architecture in the notation of the task's search space."""
        return str(self._document["genotype"])

    @property
    def document(self) -> Document:
        """The trial as the service answered it."""
        return dict(self._document)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else has it now, or it was ended elsewhere."""
        return self._lost.is_set()

    def report(
        self, value: float, fidelity: float | None = None, seed: int | None = None, cost: float | None = None
    ) -> None:
        """Notes a measured value. An intermediate one (of a fidelity below the task's final one) is sent at once; final ones
        are sent when the block ends.

        Raises:
            LeaseLostError: if somebody else has the trial now.
            ClientError: if the service refuses the value.
        """
        if self.is_lost:
            raise self._lost_error()
        if not math.isfinite(value):
            raise ClientError(f"expected a finite value, got {value}")
        observation: Document = {"value": value, "fidelity": fidelity, "seed": seed, "cost": cost}
        is_early = fidelity is not None and self._max_fidelity is not None and fidelity < self._max_fidelity
        if is_early:
            self._send(observation)
        else:
            self._reports.append(observation)
        self._is_reported = True

    def should_stop(self, **query: Any) -> bool:
        """Whether the service advises to stop, or the trial is lost; `query` may have threshold."""
        return self.is_lost or self.advice(**query)["advice"] == "stop"

    def advice(self, **query: Any) -> Document:
        """Whether to go on, with the forecast that says so."""
        return self._client.advice(self._task, self.id, **query)

    @property
    def _token(self) -> str:
        return str(self._document["lease_token"])

    def _send(self, observation: Document) -> None:
        try:
            self._client.heartbeat(self._task, self.id, self._token, [observation])
        except ClientError as error:
            if error.problem.get("type") == "/problems/lease-lost":
                self._lost.set()
                raise self._lost_error() from error
            raise

    def _give_up(self, error: BaseException) -> None:
        """Tells the service; what it says to that must not hide the error itself."""
        reason = f"{type(error).__name__}: {error}"[:_MAX_REASON_CHARACTERS]
        try:
            if isinstance(error, Exception):
                self._client.fail(self._task, self.id, self._token, reason)
            else:
                self._client.abandon(self._task, self.id, self._token, reason)
        except ClientError as refused:
            error.add_note(f"the service could not be told: {refused}")

    def _beat(self) -> None:
        pause = float(self._document["lease_seconds"]) / _BEATS_PER_LEASE
        while not self._ended.wait(pause):
            try:
                self._beat_once()
            except ClientError as error:  # the lease outlives a few missed beats
                if error.status in _LEASE_IS_GONE:
                    self._lost.set()
                    return

    def _beat_once(self) -> None:
        path = f"/v1/tasks/{self._task}/trials/{self.id}:heartbeat"
        self._client._call("POST", path, {"lease_token": self._token}, tries=1)

    def _lost_error(self) -> LeaseLostError:
        return LeaseLostError(f"expected to have trial {self.id} still, got a lease that is lost")
