"""Trials in the HTTP client: what can be asked, and context managers that keep the lease while the user's training runs."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from app.client_calls import AnswerT, ClientError, Document, ItemsT, Requests

_BEATS_PER_LEASE = 3.0
_MAX_REASON_CHARACTERS = 10_000
_LEASE_IS_GONE = (403, 404, 409)


def new_worker_id() -> str:
    """A name that no other worker has: of this machine, and drawn."""
    return f"{_word(socket.gethostname())[:80]}-{uuid.uuid4().hex[:12]}"


def _word(text: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in text)


class TrialRequests(Requests[AnswerT, ItemsT]):
    """What can be done with trials. `lease_token` is what came with the trial."""

    def suggest_trials(self, task: str, worker_id: str, count: int = 1, **members: Any) -> AnswerT:
        """Trials for a worker, those first that it has already; `members` may have lease_seconds, acquisition, kappa,
        diversity, constraints (a list), pool and seed."""
        body = {"worker_id": worker_id, "count": count, **members}
        return self._create(f"/v1/tasks/{task}/trials:suggest", body)

    def request_trials(self, task: str, architectures: Sequence[Any]) -> AnswerT:
        """Lets architectures wait for a worker."""
        return self._create(f"/v1/tasks/{task}/trials", {"architectures": list(architectures)})

    def trials(self, task: str, **query: Any) -> ItemsT:
        """All trials of a task; `query` may have sort, fields, state, worker_id, architecture, changed_since and
        changed_before."""
        return self._items(f"/v1/tasks/{task}/trials", query)

    def show_trial(self, task: str, trial_id: int) -> AnswerT:
        """One trial with its history."""
        return self._call("GET", f"/v1/tasks/{task}/trials/{trial_id}")

    def heartbeat(
        self,
        task: str,
        trial_id: int,
        lease_token: str,
        observations: Sequence[Mapping[str, Any]] = (),
        **members: Any,
    ) -> AnswerT:
        """Extends the lease, and records intermediate results; `members` may have lease_seconds."""
        body = {"lease_token": lease_token, "observations": [dict(one) for one in observations], **members}
        return self._call(
            "POST", f"/v1/tasks/{task}/trials/{trial_id}:heartbeat", body
        )  # harmless to repeat: needs no key

    def complete(
        self, task: str, trial_id: int, lease_token: str, observations: Sequence[Mapping[str, Any]]
    ) -> AnswerT:
        """Records what was measured, and ends the trial."""
        body = {"observations": [dict(one) for one in observations]}
        return self._report("complete", task, trial_id, lease_token, body)

    def fail(self, task: str, trial_id: int, lease_token: str, reason: str, is_retryable: bool = True) -> AnswerT:
        """Says that it could not be measured."""
        body = {"reason": reason, "is_retryable": is_retryable}
        return self._report("fail", task, trial_id, lease_token, body)

    def infeasible(self, task: str, trial_id: int, lease_token: str, reason: str) -> AnswerT:
        """Says that it cannot be built."""
        return self._report("infeasible", task, trial_id, lease_token, {"reason": reason})

    def abandon(self, task: str, trial_id: int, lease_token: str, reason: str | None = None) -> AnswerT:
        """Gives the trial back."""
        return self._report("abandon", task, trial_id, lease_token, {"reason": reason} if reason else {})

    def advice(self, task: str, trial_id: int, **query: Any) -> AnswerT:
        """Whether to go on measuring; `query` may have threshold."""
        return self._call("GET", f"/v1/tasks/{task}/trials/{trial_id}/advice", query=query)

    def _report(self, action: str, task: str, trial_id: int, token: str, body: Mapping[str, Any]) -> AnswerT:
        path = f"/v1/tasks/{task}/trials/{trial_id}:{action}"
        return self._create(path, {"lease_token": token, **body})

    def _beat(self, task: str, trial_id: int, token: str) -> AnswerT:
        """One beat, not made again: the next one comes soon."""
        return self._call("POST", f"/v1/tasks/{task}/trials/{trial_id}:heartbeat", {"lease_token": token}, tries=1)

    def _task_to_measure(self, task: str) -> AnswerT:
        return self._call("GET", f"/v1/tasks/{task}", waits_for_start=True)


SyncTrialRequests = TrialRequests[Document, Any]
"""What `Trial` and `Heart` need of a client that blocks."""
AsyncTrialRequests = TrialRequests[Coroutine[Any, Any, Document], Any]
"""What `AsyncTrial` needs of a client for asyncio."""


class NothingToMeasureError(ClientError):
    """All of the task is tried or out, at the moment."""


class InfeasibleError(ClientError):
    """Raised in a trial's block: its architecture cannot be built, and the trial ends as infeasible."""


class FailedForGoodError(ClientError):
    """Raised in a trial's block: there will be no value, whoever tries."""


class GiveBackError(ClientError):
    """Raised in a trial's block: the trial is given back, as it is on an interrupt."""


class LeaseLostError(ClientError):
    """The trial is no longer the worker's: its results are not wanted any more."""


class HeldTrial:
    """A trial that this process measures, without the calls: what is known of it, and what is to be told."""

    def __init__(self, task: str, worker_id: str | None, members: Mapping[str, Any]) -> None:
        self._task, self._worker_id, self._members = task, worker_id or new_worker_id(), members
        self._document: Document = {}
        self._max_fidelity: float | None = None
        self._reports: list[Document] = []
        self._is_reported = False
        self._is_lost = False

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
        return self._is_lost

    @property
    def _held(self) -> tuple[str, int, str]:
        """What every report begins with: task, trial and token."""
        return self._task, self.id, str(self._document["lease_token"])

    @property
    def _pause_seconds(self) -> float:
        return float(self._document["lease_seconds"]) / _BEATS_PER_LEASE

    def _take(self, task: Document, suggested: Document) -> None:
        self._max_fidelity = task["max_fidelity"]
        if not suggested["trials"]:
            raise NothingToMeasureError(
                f"expected something to measure in task {self._task!r}, got nothing: all of it is tried or out"
            )
        self._document = suggested["trials"][0]

    def _note(self, value: float, fidelity: float | None, seed: int | None, cost: float | None) -> Document | None:
        """Keeps a final value for the end; an intermediate one is answered, to be sent at once."""
        if self.is_lost:
            raise self._lost_error()
        if not math.isfinite(value):
            raise ClientError(f"expected a finite value, got {value}")
        observation: Document = {"value": value, "fidelity": fidelity, "seed": seed, "cost": cost}
        if fidelity is not None and self._max_fidelity is not None and fidelity < self._max_fidelity:
            return observation
        self._reports.append(observation)
        self._is_reported = True
        return None

    def _notice(self, error: ClientError) -> None:
        """Raises LeaseLostError if that is what the refusal means."""
        if error.problem.get("type") == "/problems/lease-lost":
            self._is_lost = True
            raise self._lost_error() from error

    def _ending(self, error: BaseException | None) -> tuple[str, Document] | None:
        """How the trial ends, and what is told then; None: it is not ours to end."""
        if self.is_lost:
            if error is None:
                raise self._lost_error()
            return None
        if error is None:
            if self._is_reported:
                return "complete", {"observations": self._reports}
            return "abandon", {"reason": "nothing was reported"}
        if isinstance(error, InfeasibleError):
            return "infeasible", {"reason": str(error)[:_MAX_REASON_CHARACTERS]}
        is_chosen = isinstance(error, FailedForGoodError | GiveBackError)
        reason = (str(error) if is_chosen else f"{type(error).__name__}: {error}")[:_MAX_REASON_CHARACTERS]
        if isinstance(error, Exception) and not isinstance(error, GiveBackError):
            return "fail", {"reason": reason, "is_retryable": not isinstance(error, FailedForGoodError)}
        return "abandon", {"reason": reason}

    def _check_reported(self, error: BaseException | None) -> None:
        if error is None and not self._is_reported:
            raise ClientError(
                f"expected trial.report to be called for trial {self.id}, got to the end of the block without"
            )

    def _lost_error(self) -> LeaseLostError:
        return LeaseLostError(f"expected to have trial {self.id} still, got a lease that is lost")


class Heart:
    """Keeps one lease from a thread of its own, between `start` and `stop`."""

    def __init__(self, client: SyncTrialRequests, held: tuple[str, int, str], pause_seconds: float) -> None:
        """`held`: task, trial and token."""
        self._client, self._held, self._pause_seconds = client, held, pause_seconds
        self._stopped, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="trial-heartbeat", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether the service said that the lease is gone."""
        return self._lost.is_set()

    @classmethod
    def of(cls, client: SyncTrialRequests, task: str, trial: Mapping[str, Any]) -> Heart:
        """A heart for a trial as `suggest_trials` answered it."""
        held = task, int(trial["id"]), str(trial["lease_token"])
        return cls(client, held, float(trial["lease_seconds"]) / _BEATS_PER_LEASE)

    def start(self) -> None:
        """Begins to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, and waits for the last beat."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause_seconds):
            try:
                self._client._beat(*self._held)
            except ClientError as error:  # the lease outlives a few missed beats
                if error.status in _LEASE_IS_GONE:
                    self._lost.set()
                    return


class Trial(HeldTrial):
    """A trial that this process measures; made by `Client.trial`, and used by one thread."""

    def __init__(self, client: SyncTrialRequests, task: str, worker_id: str | None, members: Mapping[str, Any]) -> None:
        super().__init__(task, worker_id, members)
        self._client = client
        self._heart: Heart | None = None

    def __enter__(self) -> Self:
        """Raises ClientError if there is nothing to measure."""
        task = self._client._task_to_measure(self._task)
        self._take(task, self._client.suggest_trials(self._task, self._worker_id, 1, **self._members))
        self._heart = Heart(self._client, self._held, self._pause_seconds)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._heart is not None:
            self._heart.stop()
        ending = self._ending(error)
        if ending is None:
            return
        action, body = ending
        try:
            self._client._report(action, *self._held, body)
        except ClientError as refused:
            if error is None:
                raise
            error.add_note(f"the service could not be told: {refused}")
        self._check_reported(error)

    @property
    def is_lost(self) -> bool:
        return self._is_lost or (self._heart is not None and self._heart.is_lost)

    def report(
        self, value: float, fidelity: float | None = None, seed: int | None = None, cost: float | None = None
    ) -> None:
        """Notes a measured value. An intermediate one (of a fidelity below the task's final one) is sent at once; final ones
        are sent when the block ends.

        Raises:
            LeaseLostError: if somebody else has the trial now.
            ClientError: if the service refuses the value.
        """
        intermediate = self._note(value, fidelity, seed, cost)
        if intermediate is None:
            return
        try:
            self._client.heartbeat(*self._held, [intermediate])
        except ClientError as error:
            self._notice(error)
            raise
        self._is_reported = True

    def should_stop(self, **query: Any) -> bool:
        """Whether the service advises to stop, or the trial is lost; `query` may have threshold."""
        return self.is_lost or self.advice(**query)["advice"] == "stop"

    def advice(self, **query: Any) -> Document:
        """Whether to go on, with the forecast that says so."""
        return self._client.advice(self._task, self.id, **query)


class AsyncTrial(HeldTrial):
    """A trial that this process measures; made by `AsyncClient.trial`. What takes long must leave the event loop free, by
    `asyncio.to_thread` for example: the heart beats there."""

    def __init__(
        self, client: AsyncTrialRequests, task: str, worker_id: str | None, members: Mapping[str, Any]
    ) -> None:
        super().__init__(task, worker_id, members)
        self._client = client
        self._heart: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises ClientError if there is nothing to measure."""
        task = await self._client._task_to_measure(self._task)
        self._take(task, await self._client.suggest_trials(self._task, self._worker_id, 1, **self._members))
        self._heart = asyncio.create_task(self._beat(), name="trial-heartbeat")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop_heart()
        ending = self._ending(error)
        if ending is None:
            return
        action, body = ending
        try:
            await self._client._report(action, *self._held, body)
        except ClientError as refused:
            if error is None:
                raise
            error.add_note(f"the service could not be told: {refused}")
        self._check_reported(error)

    async def report(
        self, value: float, fidelity: float | None = None, seed: int | None = None, cost: float | None = None
    ) -> None:
        """Notes a measured value, as `Trial.report` does."""
        intermediate = self._note(value, fidelity, seed, cost)
        if intermediate is None:
            return
        try:
            await self._client.heartbeat(*self._held, [intermediate])
        except ClientError as error:
            self._notice(error)
            raise
        self._is_reported = True

    async def should_stop(self, **query: Any) -> bool:
        """Whether the service advises to stop, or the trial is lost; `query` may have threshold."""
        return self.is_lost or (await self.advice(**query))["advice"] == "stop"

    async def advice(self, **query: Any) -> Document:
        """Whether to go on, with the forecast that says so."""
        return await self._client.advice(self._task, self.id, **query)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pause_seconds)
            try:
                await self._client._beat(*self._held)
            except ClientError as error:  # the lease outlives a few missed beats
                if error.status in _LEASE_IS_GONE:
                    self._is_lost = True
                    return

    async def _stop_heart(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait([self._heart])
