"""Returns trials whose lease ran out to the pool, in the background; every replica does, and they do not disturb each other."""

from __future__ import annotations

import logging

from app import clock, migration
from app.database import Database
from app.repeating import Repeated
from app.settings import Settings
from app.tasks import service as tasks
from app.trials import leases, repository

_logger = logging.getLogger(__name__)


class TrialSweeper(Repeated):
    """`start` begins to look in the background, `stop` ends it; `sweep` looks once."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._is_ready = False
        super().__init__("trial-sweep", settings.trial_sweep_seconds, self._sweep_if_ready)

    def sweep(self) -> int:
        """Looks once; how many leases had run out. One transaction for each task, so that nobody waits in a circle."""
        with self._database.read() as session:
            task_ids = repository.tasks_with_run_out(session, clock.now(session))
        return sum(self._swept(task_id) for task_id in task_ids)

    def _swept(self, task_id: int) -> int:
        with self._database.write() as session:
            task = tasks.find(session, str(task_id))
            return len(leases.end_run_out(session, task, self._settings, clock.now(session)))

    def _sweep_if_ready(self) -> None:
        self._is_ready = self._is_ready or migration.is_current(self._database)
        count = self.sweep() if self._is_ready else 0
        if count:
            _logger.info("%d leases of trials ran out", count)
