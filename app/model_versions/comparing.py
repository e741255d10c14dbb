"""Comparing two model versions on a task, as a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app import queue
from app.database import Database
from app.errors import InvalidContentError
from app.inference import Versions, compare
from app.jobs import service as jobs
from app.jobs.progress import Conclusion, Progress
from app.jobs.schemas import JobReply
from app.model_versions import service
from app.model_versions.schemas import CompareBody
from app.tasks import service as tasks


def start(session: Session, body: CompareBody) -> JobReply:
    """Queues a comparison.

    Raises:
        NotFoundError: if there is no such task or version.
        ConflictError: if this program cannot read one of the versions.
        InvalidContentError: if it is one version twice.
    """
    task = tasks.find(session, body.task)
    for version in (body.first, body.second):
        service.readable(session, version)
    if body.first == body.second:
        message = f"expected two different model versions, got {body.first} twice"
        raise InvalidContentError(message, [{"location": ["body", "second"], "message": message}])
    payload = {"task_id": task.id, "task": task.name, "first": body.first, "second": body.second}
    job_id = queue.enqueue(session, queue.COMPARE, payload)
    return jobs.shown(jobs.find(session, job_id or 0))


def run(database: Database, versions: Versions, payload: Mapping[str, Any], progress: Progress) -> Conclusion:
    """Compares; the conclusion says how."""
    pair = (payload["first"], payload["second"])
    compared = compare(database, versions, payload["task_id"], pair, progress.report, progress.should_stop)
    result = {**{name: payload[name] for name in ("task", "first", "second")}, "comparison": compared}
    return lambda session: result
