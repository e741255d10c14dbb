"""The clock that everything is decided by: one for all who share a database, so that replicas whose own clocks differ agree.

What is stamped without a decision has the same clock: `database.moment` is the default of the columns.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.tables import utc_now


def now(session: Session) -> datetime:
    """The present moment by PostgreSQL's clock where that is the database, else by this process's, aware and in UTC."""
    if session.get_bind().dialect.name == "postgresql":
        moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)
    return utc_now()
