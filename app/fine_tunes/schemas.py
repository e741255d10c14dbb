"""Documents of fine-tunes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.schemas import Reply, RequestBody

REQUEST_EXAMPLE = {"reason": "a new device was measured"}
FINE_TUNE_EXAMPLE = {
    "id": 18,
    "state": "done",
    "percent": 100.0,
    "stage": "done",
    "reason": "a new device was measured",
    "settings": {},
    "model_version": "7c4d2e1f0a9b8c7d6e5f4a3b2c1d0e9f",
    "is_promoted": True,
    "decision": "better on held-out episodes",
    "comparison": {"candidate": {"kendall_tau": 0.71}, "champion": {"kendall_tau": 0.68}},
    "error": None,
    "log_tail": "",
    "created_at": "2026-11-22T10:01:00Z",
    "started_at": "2026-11-22T10:01:02Z",
    "finished_at": "2026-11-22T10:05:00Z",
}


class FineTuneBody(RequestBody):
    """What to fine-tune for."""

    reason: Annotated[str, Field(min_length=1, max_length=2_000)] = Field("asked for", description="Kept with the job.")
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="How to train, such as the number of steps; what is left out keeps its default.",
    )


class FineTuneReply(Reply):
    """A fine-tune: a job that makes a candidate model version and promotes it only if it is better."""

    id: int = Field(description="Also the id of its job.")
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    percent: float
    stage: str
    reason: str
    settings: dict[str, Any]
    model_version: str | None = Field(description="The candidate that it made; null until it is done.")
    is_promoted: bool | None = Field(description="Whether the candidate became the champion.")
    decision: str | None = Field(description="Why it did or did not.")
    comparison: dict[str, Any] | None = Field(description="The candidate's figures beside the champion's.")
    error: str | None
    log_tail: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
