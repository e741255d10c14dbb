"""The SQL of keys, projects and the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from app.database import insert_if_new
from app.tables import DEFAULT_PROJECT_ID, ApiKeyRecord, AuditRecord, ProjectRecord, ServerSecretRecord, TaskRecord

_KEY_SECRET = "api_keys"


def kept_secret(session: Session) -> str | None:
    """The secret that the database keeps for hashing keys, if one was made."""
    return session.scalar(select(ServerSecretRecord.value).where(ServerSecretRecord.name == _KEY_SECRET))


def keep_secret(session: Session, value: str) -> str:
    """Keeps the secret unless there is one; the one that is there now."""
    insert_if_new(session, ServerSecretRecord, {"name": _KEY_SECRET, "value": value})
    return session.scalars(select(ServerSecretRecord.value).where(ServerSecretRecord.name == _KEY_SECRET)).one()


def keys_digest(session: Session) -> tuple[int, ...]:
    """Changes whenever a key was made or revoked."""
    own = ApiKeyRecord
    count, revoked, newest = session.execute(
        select(func.count(own.id), func.count(own.revoked_at), func.max(own.id))
    ).one()
    return count, revoked, newest or 0


def keys_that_count(session: Session) -> Sequence[ApiKeyRecord]:
    """All keys that are not revoked."""
    return session.scalars(select(ApiKeyRecord).where(ApiKeyRecord.revoked_at.is_(None))).all()


def has_keys(session: Session) -> bool:
    """Whether there ever was a key."""
    return session.scalar(select(ApiKeyRecord.id).limit(1)) is not None


def add_key(session: Session, row: Mapping[str, Any]) -> ApiKeyRecord:
    """Keeps a new key."""
    record = ApiKeyRecord(**row)
    session.add(record)
    session.flush()
    return record


def find_key(session: Session, key_id: int, *, for_update: bool = False) -> ApiKeyRecord | None:
    """The key of that id."""
    query = select(ApiKeyRecord).where(ApiKeyRecord.id == key_id)
    return session.scalar(query.with_for_update() if for_update else query)


def listed_keys() -> Select[*tuple[Any, ...]]:
    """All keys, revoked ones included."""
    return select(ApiKeyRecord)


def note_uses(session: Session, used_at: Mapping[int, datetime]) -> None:
    """Notes when keys were used last; another replica's later note stays."""
    own = ApiKeyRecord
    for key_id, moment in sorted(used_at.items()):
        is_later = or_(own.last_used_at.is_(None), own.last_used_at < moment)
        session.execute(
            update(own)
            .where(own.id == key_id, is_later)
            .values(last_used_at=moment)
            .execution_options(synchronize_session=False)
        )


def add_project(session: Session, row: dict[str, Any]) -> int | None:
    """The new project's id; None if the name is taken."""
    return insert_if_new(session, ProjectRecord, row)


def project_by_name(session: Session, name: str) -> ProjectRecord | None:
    """The project of that name."""
    return session.scalar(select(ProjectRecord).where(ProjectRecord.name == name))


def project_by_id(session: Session, project_id: int, *, for_update: bool = False) -> ProjectRecord | None:
    """The project of that id."""
    query = select(ProjectRecord).where(ProjectRecord.id == project_id)
    return session.scalar(query.with_for_update() if for_update else query)


def project_names(session: Session) -> dict[int, str]:
    """What every project is called."""
    return {one.id: one.name for one in session.scalars(select(ProjectRecord))}


def listed_projects(only: int | None) -> Select[*tuple[Any, ...]]:
    """The project of that id, or all."""
    query = select(ProjectRecord)
    return query if only is None else query.where(ProjectRecord.id == only)


@dataclass(frozen=True)
class AuditFilter:
    """Which entries of the audit log are wanted; None: no matter which."""

    caller: str | None = None
    operation: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def listed_changes(wanted: AuditFilter) -> Select[*tuple[Any, ...]]:
    """The entries that are wanted."""
    own = AuditRecord
    conditions: list[ColumnElement[bool]] = []
    for column, value in ((own.caller, wanted.caller), (own.operation, wanted.operation)):
        if value is not None:
            conditions.append(column == value)
    if wanted.request_id is not None:
        conditions.append(own.request_id == wanted.request_id)
    if wanted.since is not None:
        conditions.append(own.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(own.created_at < wanted.until)
    return select(own).where(*conditions)


def visible_tasks(project_id: int | None) -> ColumnElement[bool]:
    """The tasks that a caller of this project may see: its own and those that belong to nobody. None: all."""
    if project_id is None:
        return TaskRecord.id.is_not(None)
    return or_(TaskRecord.project_id == project_id, TaskRecord.project_id.is_(None))


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Which task a name or an id means to a caller."""

    id: int
    project_id: int | None


def tasks_by_name(session: Session, name: str, project_id: int | None) -> list[TaskPlace]:
    """The visible tasks of that name: that of the caller's project, or else of the default one, first; then the one that
    belongs to nobody; then others."""
    own = project_id or DEFAULT_PROJECT_ID
    query = _places().where(TaskRecord.name == name, visible_tasks(project_id))
    found = [TaskPlace(row.id, row.project_id) for row in session.execute(query.order_by(TaskRecord.id))]
    return sorted(found, key=lambda place: (place.project_id != own, place.project_id is not None))


def task_by_id(session: Session, task_id: int, project_id: int | None) -> TaskPlace | None:
    """The task of that id, if it is visible."""
    row = session.execute(_places().where(TaskRecord.id == task_id, visible_tasks(project_id))).one_or_none()
    return None if row is None else TaskPlace(row.id, row.project_id)


def _places() -> Select[int, int | None]:
    return select(TaskRecord.id, TaskRecord.project_id)
