"""Checkpoints in a file that is replaced as a whole: a process that is killed leaves the one before or the one after."""

from __future__ import annotations

import os
from pathlib import Path

from predictor.errors import CheckpointError
from predictor.evaluate.supernet.loop import TrainingCheckpoints


def checkpoint_file(path: Path | None) -> TrainingCheckpoints:
    """Checkpoints that are kept there, with what is there already; None: nowhere.

    Raises:
        CheckpointError: if the file is there and cannot be read.
    """
    if path is None:
        return TrainingCheckpoints()
    try:
        last = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise CheckpointError(f"expected a readable checkpoint {path}, got {error.strerror}") from error
    return TrainingCheckpoints(lambda content: _replace(path, content), last)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{os.getpid()}")
    with written.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
