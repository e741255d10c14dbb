"""Whether the service can answer."""

from __future__ import annotations

import threading

from sqlalchemy.exc import SQLAlchemyError

from app import migration
from app.database import Database
from app.errors import AppError, NotReadyError
from app.inference import Inference


def refuse_if_ending(ending: threading.Event) -> None:
    """Raises NotReadyError if the process was told to end: it finishes what it has begun, and should get nothing new."""
    if ending.is_set():
        raise NotReadyError("expected a service that goes on, got one that was told to end")


def champion_if_ready(database: Database, inference: Inference) -> str:
    """The champion's id.

    Raises:
        NotReadyError: if the database cannot be reached, is not migrated, or no champion can be loaded.
    """
    try:
        is_current = migration.is_current(database)
    except SQLAlchemyError as error:
        raise NotReadyError("expected to reach the database, got no answer from it") from error
    if not is_current:
        raise NotReadyError("expected a database at the newest migration, got an older or an empty one")
    try:
        return inference.versions.champion().version
    except AppError as error:
        raise NotReadyError(error.detail) from error
