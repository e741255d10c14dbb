"""HTTP clients for scripts and the command line, one that blocks and one for asyncio: plain documents in and out.

with Client() as client, client.task("digits").suggest() as trial:
    trial.report(train(trial.genotype))

async with AsyncClient() as client, client.task("digits").suggest() as trial:
    await trial.report(await asyncio.to_thread(train, trial.genotype))
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from typing import Any

from app.client_calls import DEFAULT_URL, Answer, ClientError, Document
from app.client_files import AsyncFileCalls, FileCalls
from app.client_resources import ResourceRequests, TaskRequests
from app.client_searches import AsyncSearchCalls, SearchCalls
from app.client_trials import AsyncTrial, LeaseLostError, Trial

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "AsyncTask",
    "AsyncTrial",
    "Client",
    "ClientError",
    "Document",
    "LeaseLostError",
    "Task",
    "Trial",
]

_FINAL_STATES = ("done", "failed", "cancelled")


class Client(ResourceRequests[Answer, Iterator[Document]], FileCalls, SearchCalls):
    """Speaks to one service. Use as a context manager, or `close` it. May be used from any thread.

    Every method raises ClientError when the service refuses or does not answer.
    """

    def task(self, task: str) -> Task:
        """One task by name or id: its document, and what can be done with it."""
        return Task(self, task, self._call("GET", f"/v1/tasks/{task}"))

    def trial(self, task: str, worker_id: str | None = None, lease_seconds: float = 60.0, **members: Any) -> Trial:
        """A trial to measure, for a `with` block:

            with client.trial("digits", "gpu-3") as trial:
                for epoch in range(1, 21):
                    trial.report(train_one_epoch(trial.genotype), fidelity=epoch)
                    if trial.should_stop():
                        break

        The lease is kept while the block runs. At its end the trial is completed with what was reported; an exception fails
        it, and an interrupt gives it back. `members` are those of `suggest_trials`. Without a `worker_id` it is a new worker.
        """
        return Trial(self, task, worker_id, {"lease_seconds": lease_seconds, **members})

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
                raise _too_late(task, timeout_seconds)
            time.sleep(poll_seconds)


class Task(TaskRequests[Answer, Iterator[Document]], Answer):
    """A task's document, and what can be done with it; made by `Client.task`."""

    def __init__(self, client: Client, name: str, document: Answer) -> None:
        TaskRequests.__init__(self, client, name)
        Answer.__init__(self, document)
        self.etag = document.etag
        self._whole_client = client

    def suggest(self, worker_id: str | None = None, lease_seconds: float = 60.0, **members: Any) -> Trial:
        """A trial to measure, for a `with` block, as `Client.trial` says."""
        return self._whole_client.trial(self._name, worker_id, lease_seconds, **members)

    def wait_until_fresh(self, timeout_seconds: float = 60.0, poll_seconds: float = 0.1) -> Document:
        """Waits until the adaptation has seen every observation."""
        return self._whole_client.wait_until_fresh(self._name, timeout_seconds, poll_seconds)


class AsyncClient(
    ResourceRequests[Coroutine[Any, Any, Answer], AsyncIterator[Document]], AsyncFileCalls, AsyncSearchCalls
):
    """Speaks to one service from asyncio, in every way in which `Client` does: what answers a document there is to be awaited
    here, and what is iterated over there, is iterated over with `async for`."""

    def task(self, task: str) -> AsyncTask:
        """One task by name or id: await it for its document, or say what is to be done with it."""
        return AsyncTask(self, task)

    def trial(self, task: str, worker_id: str | None = None, lease_seconds: float = 60.0, **members: Any) -> AsyncTrial:
        """A trial to measure, for an `async with` block, as `Client.trial` says. What takes long must leave the event loop
        free (`asyncio.to_thread`): the lease is kept from there."""
        return AsyncTrial(self, task, worker_id, {"lease_seconds": lease_seconds, **members})

    async def followed_fine_tune(self, fine_tune_id: int, poll_seconds: float = 0.5) -> AsyncIterator[Document]:
        """The fine-tune again and again until it has ended."""
        while True:
            document = await self.fine_tune(fine_tune_id)
            yield document
            if document["state"] in _FINAL_STATES:
                return
            await asyncio.sleep(poll_seconds)

    async def wait_until_fresh(self, task: str, timeout_seconds: float = 60.0, poll_seconds: float = 0.1) -> Document:
        """Waits until the task's adaptation has seen every observation."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            document = await self.task(task)
            if document["adaptation"]["is_fresh"]:
                return document
            if time.monotonic() > deadline:
                raise _too_late(task, timeout_seconds)
            await asyncio.sleep(poll_seconds)


class AsyncTask(TaskRequests[Coroutine[Any, Any, Answer], AsyncIterator[Document]]):
    """A task by its name; awaited, its document. Made by `AsyncClient.task`."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        super().__init__(client, name)
        self._whole_client = client

    def __await__(self) -> Generator[Any, Any, Answer]:
        return self._whole_client._call("GET", f"/v1/tasks/{self._name}").__await__()

    def suggest(self, worker_id: str | None = None, lease_seconds: float = 60.0, **members: Any) -> AsyncTrial:
        """A trial to measure, for an `async with` block, as `AsyncClient.trial` says."""
        return self._whole_client.trial(self._name, worker_id, lease_seconds, **members)

    async def wait_until_fresh(self, timeout_seconds: float = 60.0, poll_seconds: float = 0.1) -> Document:
        """Waits until the adaptation has seen every observation."""
        return await self._whole_client.wait_until_fresh(self._name, timeout_seconds, poll_seconds)


def _too_late(task: str, seconds: float) -> ClientError:
    return ClientError(f"expected task {task} to be adapted within {seconds} s, got no adaptation")
