"""Pins: a task that stays with one model version, whatever becomes champion."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app import queue
from app.errors import ConflictError
from app.inference import effective_version, pinned_version
from app.model_versions import repository, service
from app.model_versions.schemas import PinOut, PinsOut
from app.tables import PinRecord, TaskRecord
from app.tasks import repository as task_repository


def pin(session: Session, task: TaskRecord, version: str, reason: str) -> PinOut:
    """Lets the version answer for the task from now on; harmless if it does already. The caller has locked the task.

    Raises:
        NotFoundError: if there is no such version.
        ConflictError: if this program cannot read it.
    """
    service.readable(session, version)
    if pinned_version(session, task.id) == version:
        return _shown(repository.pins(session, task.id)[0])
    return _changed(session, task, version, reason)


def unpin(session: Session, task: TaskRecord, reason: str) -> PinOut:
    """Lets the champion answer for the task again. The caller has locked the task.

    Raises:
        ConflictError: if it is not pinned.
    """
    if pinned_version(session, task.id) is None:
        raise ConflictError(f"expected a task that is pinned to a model version, got {task.name!r}, which is not")
    return _changed(session, task, None, reason)


def history(session: Session, task: TaskRecord) -> PinsOut:
    """What the task is pinned to, and every change of that, the newest first."""
    found = repository.pins(session, task.id)
    return PinsOut(
        task=task.name,
        pinned_version=pinned_version(session, task.id),
        effective_version=effective_version(session, task.id),
        history=[_shown(one) for one in found],
    )


def _changed(session: Session, task: TaskRecord, version: str | None, reason: str) -> PinOut:
    record = repository.add_pin(session, task.id, version, reason)
    if task.revision or task_repository.has_observed_sibling(session, task):
        queue.enqueue_adaptation(session, task.id)
    return _shown(record)


def _shown(record: PinRecord) -> PinOut:
    return PinOut(model_version=record.model_version_id, reason=record.reason, created_at=record.created_at)
