"""What a running job has in hand: how far it is, whether it is to stop, its checkpoint and its files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app import queue
from app.database import Database
from app.jobs import files
from app.queue import ClaimedJob
from app.tables import JobCheckpointRecord

Conclusion = Callable[[Session], Mapping[str, Any]]
"""Stores what a job made and says it for the job's record; runs in the transaction that ends the job."""
Work = Callable[[Mapping[str, Any], "Progress"], Conclusion]
"""Does the work of one kind of job, from its payload."""


class JobSuspendedError(Exception):
    """A job was put aside (`queue.suspend`) by what does its work: somebody goes on with it later."""


class JobStoppedError(Exception):
    """A job ended before its time because it was asked to, or because its worker holds it no more; nothing was changed."""


@dataclass(frozen=True)
class Checkpoint:
    """How far an earlier attempt came."""

    details: Mapping[str, Any]
    content: bytes


class JobStore:
    """What the database keeps of one job while a worker holds it. Each method is a transaction of its own."""

    def __init__(self, database: Database, job: ClaimedJob) -> None:
        self.job = job
        self._database = database

    def checkpoint(self) -> Checkpoint | None:
        """Where an earlier attempt saved how far it was."""
        with self._database.read() as session:
            kept = session.get(JobCheckpointRecord, self.job.id)
        return None if kept is None else Checkpoint(kept.details, kept.content)

    def save(self, details: Mapping[str, Any], content: bytes = b"", part: tuple[int, bytes] | None = None) -> bool:
        """Saves how far the job is, with a part of its result; False if the worker does not hold it any more."""
        with self._database.write() as session:
            if not queue.save_checkpoint(session, self.job, details, content):
                return False
            if part is not None:
                files.put(session, self.job.id, queue.RESULT, *part)
        return True

    def begin_again(self) -> None:
        """Forgets what earlier attempts made, if the worker holds the job."""
        with self._database.write() as session:
            if queue.held(session, self.job) is not None:
                files.forget(session, self.job.id, queue.RESULT)

    def input(self) -> Iterator[bytes]:
        """The parts of the file that the job was given."""
        return files.parts(self._database, self.job.id, queue.INPUT)


class Progress:
    """How far a running job is, kept in memory until the next heartbeat. May be called from any thread."""

    def __init__(self, stopping: threading.Event, store: JobStore) -> None:
        self.store = store
        self._stopping = stopping
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._percent: float | None = None
        self._stage: str | None = None
        self._lines: list[str] = []

    @property
    def job_id(self) -> int:
        """The job that is running."""
        return self.store.job.id

    def report(self, percent: float, stage: str) -> None:
        """Notes how far the job is; a new stage becomes a line of its log, but not what changes after a comma in it."""
        with self._lock:
            if stage.partition(",")[0] != (self._stage or "").partition(",")[0]:
                self._lines.append(stage)
            self._percent, self._stage = percent, stage

    def note(self, line: str) -> None:
        """Adds a line to the job's log."""
        with self._lock:
            self._lines.append(line)

    def save(self, details: Mapping[str, Any], content: bytes = b"", part: tuple[int, bytes] | None = None) -> None:
        """Saves how far the job is, so that whoever takes it over goes on from here.

        Raises:
            JobStoppedError: if the worker does not hold the job any more.
        """
        if not self.store.save(details, content, part):
            self.cancel()
            raise JobStoppedError

    def check(self) -> None:
        """Raises JobStoppedError if the job is to stop."""
        if self.should_stop():
            raise JobStoppedError

    def should_stop(self) -> bool:
        """Whether the job was cancelled or lost, or the worker ends."""
        return self._cancelled.is_set() or self._stopping.is_set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the job was cancelled or lost."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Asks the job to stop."""
        self._cancelled.set()

    def taken(self) -> tuple[float | None, str | None, list[str]]:
        """Percent, stage and the new lines since the last call."""
        with self._lock:
            lines, self._lines = self._lines, []
            return self._percent, self._stage, lines
