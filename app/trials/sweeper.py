"""Returns trials whose lease ran out to the pool, in the background; every replica does, and they do not disturb each other."""

from __future__ import annotations

import logging
import threading

from app import clock, migration
from app.database import Database
from app.settings import Settings
from app.tasks import service as tasks
from app.trials import leases, repository

_logger = logging.getLogger(__name__)


class TrialSweeper:
    """`start` begins to look in the background, `stop` ends it; `sweep` looks once."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to look."""
        self._thread = threading.Thread(target=self._sweep_until_stopped, name="trial-sweep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends looking and waits for it."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def sweep(self) -> int:
        """Looks once; how many leases had run out. One transaction for each task, so that nobody waits in a circle."""
        with self._database.read() as session:
            task_ids = repository.tasks_with_run_out(session, clock.now(session))
        return sum(self._swept(task_id) for task_id in task_ids)

    def _swept(self, task_id: int) -> int:
        with self._database.write() as session:
            task = tasks.find(session, str(task_id))
            return len(leases.end_run_out(session, task, self._settings, clock.now(session)))

    def _sweep_until_stopped(self) -> None:
        is_ready = False
        while not self._stopped.wait(self._settings.trial_sweep_seconds):
            try:
                is_ready = is_ready or migration.is_current(self._database)
                count = self.sweep() if is_ready else 0
            except Exception:  # the database may be away for a while
                _logger.exception("expected to look for leases that ran out, got an error; trying again")
                continue
            if count:
                _logger.info("%d leases of trials ran out", count)
