"""The SQL of idempotency keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.orm import Session

from app.database import insert_if_new
from app.tables import IdempotencyKeyRecord

_MAX_SWEPT = 500  # in one transaction, so that others need not wait long


def add_if_new(session: Session, row: dict[str, Any]) -> bool:
    """Adds the key if its caller has none of that name; whether it was added."""
    return insert_if_new(session, IdempotencyKeyRecord, row) is not None


def find(session: Session, caller: str, key: str) -> IdempotencyKeyRecord | None:
    """The caller's key; locked until the transaction ends."""
    own = IdempotencyKeyRecord
    return session.scalar(select(own).where(own.caller == caller, own.key == key).with_for_update())


def keep_answer(session: Session, caller: str, key: str, attempt: str, answer: dict[str, Any]) -> bool:
    """Stores the answer of the attempt; False if the key is no longer that attempt's."""
    own = IdempotencyKeyRecord
    is_own = (own.caller == caller, own.key == key, own.attempt == attempt, own.status.is_(None))
    kept = session.execute(update(own).where(*is_own).values(**answer).returning(own.key))
    return kept.first() is not None


def remove_unanswered(session: Session, caller: str, key: str, attempt: str) -> None:
    """Frees a key whose attempt changed nothing."""
    own = IdempotencyKeyRecord
    session.execute(
        delete(own).where(own.caller == caller, own.key == key, own.attempt == attempt, own.status.is_(None))
    )


def remove_older(session: Session, than: datetime) -> int:
    """Removes some of the keys that came before; how many."""
    own = IdempotencyKeyRecord
    old = select(own.caller, own.key).where(own.created_at < than).order_by(own.created_at).limit(_MAX_SWEPT)
    keys = [tuple(row) for row in session.execute(old.with_for_update(skip_locked=True))]
    if keys:
        session.execute(delete(own).where(tuple_(own.caller, own.key).in_(keys), own.created_at < than))
    return len(keys)
