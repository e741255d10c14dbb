"""The SQL of search spaces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.database import insert_if_new, insert_new
from app.tables import SearchSpaceRecord


def find(session: Session, name: str) -> SearchSpaceRecord | None:
    """The search space of that name."""
    return session.get(SearchSpaceRecord, name)


def find_to_change(session: Session, name: str) -> SearchSpaceRecord | None:
    """The search space of that name; locked until the transaction ends, while others may refer to it."""
    query = select(SearchSpaceRecord).where(SearchSpaceRecord.name == name)
    return session.scalar(query.with_for_update(key_share=True))


def listed(kind: str | None) -> Select[*tuple[Any, ...]]:
    """The search spaces of that kind; None: no matter which."""
    query = select(SearchSpaceRecord)
    return query if kind is None else query.where(SearchSpaceRecord.kind == kind)


def add_new(session: Session, rows: Iterable[dict[str, Any]]) -> None:
    """Adds the search spaces whose names are new and leaves the others as they are."""
    insert_new(session, SearchSpaceRecord, list(rows))


def add_if_new(session: Session, row: dict[str, Any]) -> bool:
    """Adds the search space if its name is new; whether it is."""
    return insert_if_new(session, SearchSpaceRecord, row) is not None
