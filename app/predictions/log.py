"""The prediction log: answered predictions, written in the background, so that observations can later judge them.

An adaptation answers the same architecture the same way every time, so each pair is kept once.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app import clock
from app.database import Database
from app.inference import Forecast, ServedTask
from app.inference.caches import BoundedCache
from app.predictions import repository
from app.settings import Settings

_CAPACITY = 20_000
_MAX_REMEMBERED = 20_000
_MAX_ROWS = 5_000
_FLUSH_SECONDS = 0.5
_ANSWERED_AT = "answered_at"
_logger = logging.getLogger(__name__)


class PredictionLog:
    """Takes answered predictions without ever waiting and writes them in bulk. `add` may be called from any thread.

    What comes while `_CAPACITY` rows wait is dropped, since forecasts must not depend on how fast the database writes.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._rate = settings.prediction_log_rate
        self._max_per_request = settings.prediction_log_per_request
        self._rows: queue.Queue[dict[str, Any]] = queue.Queue(_CAPACITY)
        self._remembered: BoundedCache[tuple[int, str], bool] = BoundedCache(_MAX_REMEMBERED)
        self._random = random.Random()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to write in the background."""
        self._thread = threading.Thread(target=self._write_until_stopped, name="prediction-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what is left and ends."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def add(self, served: ServedTask, answers: Sequence[tuple[str, Forecast]]) -> None:
        """Keeps a share of the answers (architecture id, forecast) of one request."""
        step = -(-len(answers) // self._max_per_request) if self._max_per_request else 0
        if not step or not self._rate:
            return
        for architecture_id, forecast in answers[::step]:
            key = (served.serial, architecture_id)
            if self._remembered.get(key) or self._random.random() >= self._rate:
                continue
            self._remembered.put(key, True)
            try:
                self._rows.put_nowait(_row(served, architecture_id, forecast))
            except queue.Full:
                return

    def flush(self) -> None:
        """Writes everything that waits."""
        while rows := self._taken():
            with self._database.write() as session:
                now, read_at = clock.now(session), time.monotonic()
                for row in rows:  # the shared clock says when it is, the process's own how long ago that was
                    row["created_at"] = now - timedelta(seconds=read_at - row.pop(_ANSWERED_AT))
                repository.add(session, rows)

    def _taken(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while len(rows) < _MAX_ROWS:
            try:
                rows.append(self._rows.get_nowait())
            except queue.Empty:
                break
        return rows

    def _write_until_stopped(self) -> None:
        while not self._stopped.wait(_FLUSH_SECONDS):
            try:
                self.flush()
            except Exception:  # what was taken is lost, forecasts go on
                _logger.exception("expected to write answered predictions, got an error; going on without them")


def _row(served: ServedTask, architecture_id: str, forecast: Forecast) -> dict[str, Any]:
    return {
        "task_id": served.task_id,
        "architecture_id": architecture_id,
        "model_version_id": served.model_version,
        "num_observations": served.num_observations,
        "mean": forecast.mean,
        "std": forecast.std,
        "lower": forecast.lower,
        "upper": forecast.upper,
        "last_observation_id": served.last_observation_id,
        _ANSWERED_AT: time.monotonic(),
    }
