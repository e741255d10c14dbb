"""The files that jobs read and make. They lie in the database, since workers and replicas may share nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.database import Database
from app.tables import JobFileRecord


def put(session: Session, job_id: int, role: str, number: int, content: bytes) -> None:
    """Keeps one part of a file, instead of the part of that number that was there before."""
    kept = session.get(JobFileRecord, (job_id, role, number))
    if kept is None:
        session.add(JobFileRecord(job_id=job_id, role=role, number=number, content=content))
    else:
        kept.content = content
    session.flush()


def forget(session: Session, job_id: int, role: str) -> None:
    """Deletes all parts of a file."""
    session.execute(delete(JobFileRecord).where(JobFileRecord.job_id == job_id, JobFileRecord.role == role))


def count(session: Session, job_id: int, role: str) -> int:
    """How many parts a file has."""
    own = JobFileRecord
    return session.scalar(select(func.count(own.number)).where(own.job_id == job_id, own.role == role)) or 0


def parts(database: Database, job_id: int, role: str) -> Iterator[bytes]:
    """The parts of a file in their order, each read in a transaction of its own, so that a slow reader keeps nobody."""
    number = 0
    while True:
        with database.read() as session:
            kept = session.get(JobFileRecord, (job_id, role, number))
        if kept is None:
            return
        yield kept.content
        number += 1
