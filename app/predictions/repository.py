"""The SQL of the prediction log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.tables import PredictionRecord


def add(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Writes answered predictions in bulk."""
    session.execute(insert(PredictionRecord), rows)
