"""A search while a worker holds its job: what is written is fenced off by the job's lease, and what ends a step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app import queue
from app.database import Database
from app.jobs.progress import JobStoppedError, JobSuspendedError, Progress
from app.searches import recording, repository, service
from app.searches.recording import Entry
from app.tables import JobRecord, SearchRecord

_YIELD_SECONDS = 0.05  # after which a search goes on that let others have their turn

Prepared = Callable[[Session], None]
Linked = Callable[[Session], None]


def _nothing(_session: Session) -> None:
    pass


@dataclass(frozen=True)
class Budget:
    """When a search ends."""

    evaluations: int | None
    seconds: float | None

    def left(self, num_proposed: int) -> int:
        """How many evaluations may still be proposed."""
        return 2**31 if self.evaluations is None else self.evaluations - num_proposed

    def ending(self, num_evaluated: int, seconds: float) -> str | None:
        """Why nothing more is to be evaluated; None if something is."""
        if self.evaluations is not None and num_evaluated >= self.evaluations:
            return f"its budget of {self.evaluations} evaluations is spent"
        if self.seconds is not None and seconds >= self.seconds:
            return f"its budget of {self.seconds:g} s is spent"
        return None


@dataclass(frozen=True)
class Writing:
    """A transaction that holds the search and its job."""

    session: Session
    search: SearchRecord
    job: JobRecord


class HeldSearch:
    """Belongs to one thread. Its counts are those of the last commit; `done` is a share of the work that is known to be done,
    where that does not follow from the budget."""

    def __init__(
        self, database: Database, progress: Progress, search: SearchRecord, seconds: float, is_maximized: bool
    ) -> None:
        self.id = search.id
        self.budget = Budget(search.max_evaluations, search.max_seconds)
        self.num_proposed, self.num_evaluated = search.num_proposed, search.num_evaluated
        self.is_paused = search.is_paused
        self.done = 0.0
        self._database = database
        self._progress = progress
        self._is_maximized = is_maximized
        self._seconds, self._since = seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Time that has counted, pauses left out."""
        return self._seconds + time.monotonic() - self._since

    def check(self) -> None:
        """Raises JobStoppedError if the search was cancelled, or is somebody else's, or the worker ends."""
        self._progress.check()

    def commit(
        self,
        entries: Sequence[Entry],
        state: dict[str, object],
        stage: str,
        prepare: Prepared = _nothing,
        link: Linked = _nothing,
        *,
        tells_proposals: bool = False,
    ) -> None:
        """Keeps entries, outcomes and the strategy's state, all of it or nothing. `prepare` comes before the job is locked, and
        `link` when the entries have their ids.

        Raises:
            JobStoppedError: if the worker does not hold the job any more, or it was cancelled.
        """
        with self.writing(stage, prepare) as held:
            recording.write(held.session, held.search, entries, self._is_maximized, tells_proposals=tells_proposals)
            link(held.session)
            held.search.strategy_state = state
            counts = {"num_proposed": held.search.num_proposed, "num_evaluated": held.search.num_evaluated}
            queue.save_checkpoint(held.session, self._progress.store.job, counts)

    @contextmanager
    def writing(self, stage: str, prepare: Prepared = _nothing) -> Iterator[Writing]:
        """What is written in it is kept together, or nothing of it. `prepare` comes before the job is locked.

        Raises:
            JobStoppedError: if the worker does not hold the job any more, or it was cancelled.
        """
        with self._database.write() as session:
            prepare(session)
            record = queue.held(session, self._progress.store.job)
            if record is None or record.cancel_requested:
                self._progress.cancel()
                raise JobStoppedError
            search = repository.refreshed(session, self.id)
            service.count_time(session, search, begins=not search.is_paused)
            yield Writing(session, search, record)
            recording.note_progress(search, record, stage, self.done)
        self.num_proposed, self.num_evaluated = search.num_proposed, search.num_evaluated
        self.is_paused = search.is_paused
        self._seconds, self._since = search.seconds_before, time.monotonic()

    def suspend_if(self, is_idle: Callable[[Session, SearchRecord], bool], seconds: float | None, stage: str) -> None:
        """Puts the search aside until it is woken, or for so long, if it is idle still once nobody can change that.

        Raises:
            JobSuspendedError: if it was put aside.
            JobStoppedError: if the worker does not hold the job any more, or it was cancelled.
        """
        job = self._progress.store.job
        with self._database.write() as session:
            record = queue.held(session, job)
            if record is None or record.cancel_requested:
                self._progress.cancel()
                raise JobStoppedError
            search = repository.refreshed(session, self.id)
            self.is_paused = search.is_paused
            if not is_idle(session, search):
                return
            recording.note_progress(search, record, stage, self.done)
            queue.suspend(session, job, seconds)
        raise JobSuspendedError

    def suspend_while_paused(self) -> None:
        """Puts the search aside until it is resumed, if it is paused; raises as `suspend_if` does."""
        if self.is_paused:
            self.suspend_if(lambda _session, search: search.is_paused, None, "paused")

    def let_others(self) -> None:
        """Puts the search aside for a moment, if others wait for this worker; raises as `suspend_if` does."""
        job = self._progress.store.job
        with self._database.read() as session:
            if not queue.has_work(session, [job.kind]):
                return
        with self._database.write() as session:
            is_suspended = queue.suspend(session, job, _YIELD_SECONDS, is_ready=True)
        raise JobSuspendedError if is_suspended else JobStoppedError
