"""Documents of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.schemas import Reply

JobKind = Literal["adapt", "fine_tune", "score", "import", "compare", "search", "supernet"]
"""Those of `app.queue.KINDS`, which a test compares with these."""
JobState = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]

JOB_EXAMPLE = {
    "id": 17,
    "kind": "adapt",
    "state": "done",
    "percent": 100.0,
    "stage": "done",
    "payload": {"task_id": 1},
    "result": {"task": "digits-accuracy", "num_observations": 24, "seconds": 0.41},
    "error": None,
    "log_tail": "",
    "attempts": 1,
    "max_attempts": 3,
    "next_attempt_at": None,
    "is_cancel_requested": False,
    "created_at": "2026-11-22T09:41:05Z",
    "started_at": "2026-11-22T09:41:06Z",
    "finished_at": "2026-11-22T09:41:07Z",
}
LOG_EXAMPLE = {
    "job_id": 17,
    "lines": [{"at": "2026-11-22T09:41:06Z", "text": "reading observations"}],
    "is_whole": True,
}


class JobReply(Reply):
    """A piece of background work."""

    id: int
    kind: JobKind
    state: JobState
    percent: float = Field(description="How far it is, 0 to 100.")
    stage: str = Field(description="What it is doing.")
    payload: dict[str, Any] = Field(description="What it was asked to do.")
    result: dict[str, Any] | None = Field(description="What came out; null until it is done.")
    error: str | None = Field(description="What went wrong in the last attempt.")
    log_tail: str = Field(description="The last lines of its log.")
    attempts: int = Field(description="How often it was begun, or gone on with since it last saved how far it was.")
    max_attempts: int
    next_attempt_at: datetime | None = Field(
        description="When it is tried again after an error, or looked at again while it waits; null: as soon as may be."
    )
    is_cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class LogLine(Reply):
    """A line of a job's log."""

    at: datetime | None = Field(description="Null: of a line that goes on.")
    text: str


class LogOut(Reply):
    """The end of a job's log."""

    job_id: int
    lines: list[LogLine] = Field(description="The oldest first.")
    is_whole: bool = Field(description="False: earlier lines are not kept any more.")
