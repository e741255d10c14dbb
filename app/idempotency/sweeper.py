"""Removes answers that need not be kept any more, in the background; every replica does, and they do not disturb each other."""

from __future__ import annotations

from app import migration
from app.database import Database
from app.idempotency.service import IdempotencyService
from app.repeating import Repeated
from app.settings import Settings


class KeySweeper(Repeated):
    """`start` begins to look in the background, `stop` ends it."""

    def __init__(self, settings: Settings, database: Database, service: IdempotencyService) -> None:
        self._database, self._service = database, service
        super().__init__("key-sweep", settings.idempotency_sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        if migration.is_current(self._database):
            while self._service.sweep():
                pass
