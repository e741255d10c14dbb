"""The folder of a worker: its name, which a restarted process takes up again, and the state of its trials.

Every process takes the first slot that no other holds. The lock goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from app.client_trials import new_worker_id

MAX_SLOTS = 1_024
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")


class Slot:
    """One worker's place in the folder; a context manager. Raises OSError if the folder cannot be used."""

    def __init__(self, folder: Path, worker_id: str | None = None) -> None:
        """`worker_id` instead of the slot's own."""
        self._folder, self._given = folder, worker_id
        self._lock: int | None = None
        self.worker_id = ""

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(MAX_SLOTS):
            if self._take(self._folder / f"worker-{number}"):
                return self
        raise OSError(f"expected one of {MAX_SLOTS} places in {self._folder} to be free, got none")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def trial_folder(self, task: str, trial_id: int) -> Path:
        """Where the state of a trial is kept: the same for all workers of the folder, since another may go on with it."""
        return self._folder / "trials" / f"{_NOT_IN_A_NAME.sub('-', task)}-{trial_id}"

    def forget(self, task: str, trial_id: int) -> None:
        """Throws the state of a trial away."""
        shutil.rmtree(self.trial_folder(task, trial_id), ignore_errors=True)

    def _take(self, path: Path) -> bool:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        self.worker_id = self._given or os.read(lock, 200).decode("ascii", "ignore").strip()
        if not self.worker_id:
            self.worker_id = new_worker_id()
            os.write(lock, self.worker_id.encode())
            os.fsync(lock)
        return True
