"""The SQL of model versions, their aliases and promotions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app import clock
from app.database import Turn, insert_new, take_turns
from app.lists import within
from app.tables import AliasRecord, ModelVersionRecord, PinRecord, PromotionRecord

CHAMPION, CANDIDATE = "champion", "candidate"


def find(session: Session, version: str) -> ModelVersionRecord | None:
    """The model version of that id, without its weights."""
    return session.get(ModelVersionRecord, version)


def listed(origin: str | None, since: datetime | None, before: datetime | None) -> Select[*tuple[Any, ...]]:
    """The model versions that are wanted; None: no matter which."""
    query = select(ModelVersionRecord).where(within(ModelVersionRecord.created_at, since, before, includes_high=False))
    return query if origin is None else query.where(ModelVersionRecord.origin == origin)


def add_new(session: Session, row: dict[str, Any]) -> None:
    """Stores a model version unless it is there already: equal weights are the same version."""
    insert_new(session, ModelVersionRecord, [row])


def aliases(session: Session, *, for_update: bool = False) -> dict[str, str]:
    """What every alias means; `for_update` until this transaction ends, also where there is none yet."""
    if for_update:
        take_turns(session, Turn.CHANGE_CHAMPION)
    records = session.scalars(select(AliasRecord).execution_options(populate_existing=True))
    return {record.name: record.model_version_id for record in records}


def point(session: Session, name: str, version: str) -> None:
    """Makes the alias mean that version."""
    now = clock.now(session)
    insert_new(session, AliasRecord, [{"name": name, "model_version_id": version, "changed_at": now}])
    record = session.get_one(AliasRecord, name)
    record.model_version_id, record.changed_at = version, now


def add_promotion(session: Session, promotion: PromotionRecord) -> PromotionRecord:
    """Notes a decision."""
    session.add(promotion)
    session.flush()
    return promotion


def add_pin(session: Session, task_id: int, version: str | None, reason: str) -> PinRecord:
    """Notes that a task is pinned to a version from here on, or to none."""
    record = PinRecord(task_id=task_id, model_version_id=version, reason=reason)
    session.add(record)
    session.flush()
    return record


def pins(session: Session, task_id: int) -> Sequence[PinRecord]:
    """All pins of a task, the newest first."""
    query = select(PinRecord).where(PinRecord.task_id == task_id).order_by(PinRecord.id.desc())
    return session.scalars(query).all()


def promotions(session: Session, versions: Sequence[str]) -> Sequence[PromotionRecord]:
    """All decisions about these versions, the oldest first."""
    query = select(PromotionRecord).where(PromotionRecord.model_version_id.in_(versions))
    return session.scalars(query.order_by(PromotionRecord.id)).all()
