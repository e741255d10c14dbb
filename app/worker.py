"""Runs queued work: claims a job, runs it under a heartbeat, ends it. Any number of workers may run, on any machine.

Adaptations run in this process, one after the other. Fine-tunes have a process of their own while there are any, and so have
searches, searches that train a supernet, and other long work, so that they delay no adaptation and leave no memory behind. That
of searches stays for a while: their steps are short, and what they wait for may come soon.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from app import logs, queue
from app.database import Database
from app.errors import AppError, RetryableError
from app.fine_tunes import schedule
from app.inference import Versions, warm_up
from app.jobs.progress import Conclusion, JobStore, JobSuspendedError, Progress, Work
from app.queue import ClaimedJob
from app.settings import Settings
from app.webhooks.sending import WebhookSender
from app.work import services

_MAX_HEARTBEAT_SECONDS = 1.0
_TRIGGER_SECONDS = 5.0
_RESTART_SECONDS = 5.0
_LINGER_SECONDS: Mapping[str, float] = {queue.SEARCH: 60.0}  # without work, before the process of the kind ends
_SPARE_SECONDS = 10.0  # that a child process gets beyond its own limit, to give its jobs back
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """Claims and runs jobs. `run` returns when `stopping` is set, or after one job if asked to."""

    settings: Settings
    database: Database
    versions: Versions
    work: Mapping[str, Work]
    stopping: threading.Event
    owner: str
    limits: Mapping[str, int]
    held: dict[int, ClaimedJob] = field(default_factory=dict)
    """The jobs that are being run."""

    @classmethod
    def of(cls, settings: Settings, database: Database, stopping: threading.Event) -> Worker:
        """A worker for all kinds of jobs.

        Raises:
            InvalidContentError: if the settings limit a kind of job that there is not.
        """
        owner = f"{socket.gethostname()[:32]}:{os.getpid()}:{secrets.token_hex(4)}"
        versions = Versions(database)
        work = services(settings, database, versions)
        return cls(settings, database, versions, work, stopping, owner, queue.limits(settings.job_limits))

    def run_adaptations(self) -> None:
        """Runs adaptations as they come, the first as quickly as the others."""
        try:
            warm_up(self.versions)
        except AppError:
            _logger.exception("expected a champion to warm up with, got an error; going on without")
        self.run([queue.ADAPT])

    def run(self, kinds: Collection[str]) -> None:
        """Runs jobs of these kinds as they come."""
        while not self.stopping.is_set():
            try:
                found = self.run_one(kinds)
            except SQLAlchemyError:
                _logger.exception("expected to reach the database, got an error; trying again")
                found = False
            if not found:
                self.stopping.wait(self.settings.worker_poll_seconds)

    def run_one(self, kinds: Collection[str]) -> bool:
        """Claims and runs one job; False if none is due."""
        with self.database.read() as session:
            if not queue.has_work(session, kinds, self.limits):
                return False
        with self.database.write() as session:
            job = queue.claim(session, self.owner, kinds, self.settings.lease_seconds, self.limits)
        if job is None:
            return False
        self.held[job.id] = job
        try:
            with logs.about(job_id=job.id, job_kind=job.kind):
                self._run(job)
        finally:
            self.held.pop(job.id, None)
        return True

    def give_back_held(self) -> None:
        """Queues again what is still being run, so that others take it at once; what comes out of it here is dropped."""
        for job in list(self.held.values()):
            self._given_back(job)

    def _run(self, job: ClaimedJob) -> None:
        progress = Progress(self.stopping, JobStore(self.database, job))
        ended = threading.Event()
        heart = threading.Thread(
            target=self._beat, args=(job, progress, ended), name=f"heartbeat-{job.id}", daemon=True
        )
        heart.start()
        conclusion: Conclusion | None = None
        failure: Exception | None = None
        is_suspended = False
        try:
            conclusion = self.work[job.kind](job.payload, progress)
        except JobSuspendedError:
            is_suspended = True
        except Exception as error:  # whatever went wrong is the job's error, not the worker's
            failure = error
        ended.set()
        heart.join()
        if is_suspended:  # it is no longer this worker's, which is no cancellation
            return
        if progress.is_cancelled:
            self._cancelled(job)
        elif conclusion is not None:
            try:
                self._done(job, progress, conclusion)
            except AppError as error:  # what is wrong shows only when it is to be stored
                self._failed(job, progress, error)
        elif self.stopping.is_set():
            self._given_back(job, progress)
        elif failure is not None:
            self._failed(job, progress, failure)

    def _beat(self, job: ClaimedJob, progress: Progress, ended: threading.Event) -> None:
        pause = min(_MAX_HEARTBEAT_SECONDS, self.settings.lease_seconds / 3.0)
        while not ended.wait(pause):
            try:
                self._report(job, progress)
            except SQLAlchemyError:  # the lease outlives a few missed beats
                _logger.exception("expected to report job %d, got an error; trying again", job.id)

    def _report(self, job: ClaimedJob, progress: Progress) -> None:
        news = progress.taken()
        with self.database.write() as session:
            beat = queue.progress(session, job, self.settings.lease_seconds, *news)
        if beat.is_cancelled or not beat.is_held:
            progress.cancel()

    def _cancelled(self, job: ClaimedJob) -> None:
        with self.database.write() as session:
            queue.end_cancelled(session, job)
        _logger.info("job %d (%s) was cancelled", job.id, job.kind)

    def _given_back(self, job: ClaimedJob, progress: Progress | None = None) -> None:
        news = progress.taken() if progress is not None else ()
        with self.database.write() as session:
            queue.progress(session, job, self.settings.lease_seconds, *news)
            queue.give_back(session, job)
        _logger.info("job %d (%s) was given back, since this worker ends", job.id, job.kind)

    def _done(self, job: ClaimedJob, progress: Progress, conclusion: Conclusion) -> None:
        news = progress.taken()
        with self.database.write() as session:
            beat = queue.progress(session, job, self.settings.lease_seconds, *news)
            if beat.is_held and beat.is_cancelled:
                queue.end_cancelled(session, job)
            elif beat.is_held:
                queue.finish(session, job, conclusion(session))
        if not beat.is_held:
            _logger.warning("job %d (%s) was taken over by another worker; its result is dropped", job.id, job.kind)

    def _failed(self, job: ClaimedJob, progress: Progress, error: Exception) -> None:
        is_retryable = not isinstance(error, AppError) or isinstance(error, RetryableError)
        _logger.error("job %d (%s) failed in attempt %d", job.id, job.kind, job.attempt, exc_info=error)
        with self.database.write() as session:
            queue.progress(session, job, self.settings.lease_seconds, *progress.taken())
            queue.fail(session, job, f"{type(error).__name__}: {error}", is_retryable)


def _run_what_is_due(worker: Worker, kinds: Sequence[str], linger_seconds: float) -> None:
    idle_since = time.monotonic()
    while not worker.stopping.is_set():
        if worker.run_one(kinds):
            idle_since = time.monotonic()
        elif time.monotonic() - idle_since < linger_seconds:
            worker.stopping.wait(worker.settings.worker_poll_seconds)
        else:
            return


class ProcessLane:
    """Keeps a process for queued jobs of some kinds while there are any. Belongs to one thread."""

    def __init__(
        self, settings: Settings, database: Database, stopping: threading.Event, kinds: Collection[str]
    ) -> None:
        self._settings = settings
        self._database = database
        self._stopping = stopping
        self._kinds = kinds
        self._limits = queue.limits(settings.job_limits)
        self._process: ChildProcess | None = None
        self._next_start = 0.0

    def run(self) -> None:
        """Works until `stopping` is set."""
        while not self._stopping.wait(self._settings.worker_poll_seconds):
            try:
                self._look()
            except SQLAlchemyError:
                _logger.exception("expected to reach the database, got an error; trying again")
        if self._process is not None:
            self._process.stop()

    def _look(self) -> None:
        now = time.monotonic()
        if (self._process is not None and self._process.is_running) or now < self._next_start:
            return
        with self._database.read() as session:
            has_work = queue.has_work(session, self._kinds, self._limits)
        if has_work:
            self._next_start = now + _RESTART_SECONDS
            wanted = [argument for kind in self._kinds for argument in ("--kinds", kind)]
            seconds = max(_LINGER_SECONDS.get(kind, 0.0) for kind in self._kinds)
            lingering = ["--linger-seconds", str(seconds)] if seconds else []
            self._process = ChildProcess(["worker", *wanted, "--once", *lingering], self._settings)


def keep_schedules(settings: Settings, database: Database, stopping: threading.Event) -> None:
    """Looks again and again whether a fine-tune is due, until `stopping` is set. Any number of workers may do so."""
    while not stopping.wait(_TRIGGER_SECONDS):
        try:
            schedule.look(settings, database)
        except Exception:  # the database may be away for a while; nothing that goes wrong here may end the worker
            _logger.exception("expected to look for fine-tunes that are due, got an error; trying again")


class ChildProcess:
    """Another `archcast` process that ends when this one does, however this one ends: its standard input closes then."""

    def __init__(self, arguments: Sequence[str], settings: Settings) -> None:
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-m", "app.cli", *arguments, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            env={**os.environ, **settings.as_environment(), **_threads(settings, arguments)},
        )
        self._stop_seconds = settings.shutdown_seconds + _SPARE_SECONDS

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def ask_to_stop(self) -> None:
        """Asks it to end; again is harmless."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def stop(self) -> None:
        """Asks it to end and waits; ends it the hard way if it takes too long."""
        self.ask_to_stop()
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _threads(settings: Settings, arguments: Sequence[str]) -> dict[str, str]:
    """How many threads PyTorch gets. A worker beside the service takes one: with more, the two processes wait for each
    other on few cores, and an inner loop takes ten times as long; its tensors are small in any case."""
    if settings.torch_threads:
        return {"OMP_NUM_THREADS": str(settings.torch_threads)}
    return {} if queue.FINE_TUNE in arguments else {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


def stop_when_closed(descriptor: int, stopping: threading.Event) -> None:
    """Sets `stopping` when the file, whose other end the parent process holds, is closed."""

    def watch() -> None:
        while os.read(descriptor, 1):  # a buffered stream would hold a lock that the interpreter's end needs
            pass
        stopping.set()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end_when_stuck(worker: Worker, seconds: float) -> None:
    """Ends this process the hard way if it takes longer than that to stop: an inner loop cannot be interrupted. Its jobs are
    given back before, so that nobody waits for their leases to run out."""

    def watch() -> None:
        worker.stopping.wait()
        time.sleep(seconds)
        try:
            worker.give_back_held()
        except Exception:  # then the leases run out
            _logger.exception(
                "expected to give jobs back, got an error; others take them over when their leases run out"
            )
        finally:
            os._exit(1)

    threading.Thread(target=watch, name="stuck-watch", daemon=True).start()


def run(
    settings: Settings,
    database: Database,
    kinds: Sequence[str],
    once: bool,
    stopping: threading.Event,
    linger_seconds: float = 0.0,
) -> None:
    """The whole of a worker process: with `once`, runs what is due, waits so long for more, and ends; otherwise works until
    `stopping` is set."""
    worker = Worker.of(settings, database, stopping)
    end_when_stuck(worker, settings.shutdown_seconds)
    if once:
        _run_what_is_due(worker, kinds, linger_seconds)
        return
    lanes = []
    for lane in dict.fromkeys(options.lane for options in queue.KINDS.values()):
        wanted = [kind for kind in kinds if queue.KINDS[kind].lane == lane]
        if wanted:
            run = worker.run_adaptations if lane == "adapt" else ProcessLane(settings, database, stopping, wanted).run
            lanes.append(threading.Thread(target=run, name=f"{lane}-lane"))
    if queue.FINE_TUNE in kinds:
        lanes.append(threading.Thread(target=keep_schedules, args=(settings, database, stopping), name="schedules"))
    sender = WebhookSender(settings, database)
    sender.start()
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()
    sender.stop()
