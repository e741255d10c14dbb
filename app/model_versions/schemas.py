"""Documents of model versions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.schemas import Reply, RequestBody

_ID, _PARENT = "7c4d2e1f0a9b8c7d6e5f4a3b2c1d0e9f", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
PROMOTION_EXAMPLE = {
    "id": 2,
    "model_version": _ID,
    "previous": _PARENT,
    "is_promoted": True,
    "reason": "better on held-out episodes",
    "comparison": {"candidate": {"kendall_tau": 0.71}, "champion": {"kendall_tau": 0.68}},
    "created_at": "2026-11-22T10:05:00Z",
}
VERSION_EXAMPLE = {
    "id": _ID,
    "parent_id": _PARENT,
    "origin": "fine_tune",
    "aliases": ["champion", "candidate"],
    "created_at": "2026-11-22T10:05:00Z",
    "manifest": {"format": 1, "tasks": 24},
    "promotions": [PROMOTION_EXAMPLE],
}
PIN_REQUEST_EXAMPLE = {"model_version": _ID, "reason": "the paper's figures rest on it"}
PIN_EXAMPLE = {**PIN_REQUEST_EXAMPLE, "created_at": "2026-11-22T10:06:00Z"}
UNPIN_EXAMPLE = {**PIN_EXAMPLE, "model_version": None, "reason": "the paper is out"}
PINS_EXAMPLE = {
    "task": "digits-accuracy",
    "pinned_version": _ID,
    "effective_version": _ID,
    "history": [PIN_EXAMPLE],
}
COMPARE_REQUEST_EXAMPLE = {"task": "digits-accuracy", "first": _PARENT, "second": _ID}
REASON_EXAMPLE = {"reason": "forecasts on the new device are worse"}


Origin = Literal["shipped", "fine_tune", "uploaded"]


class PromotionReply(Reply):
    """A decision about a model version, with the numbers that it rests on."""

    id: int
    model_version: str
    previous: str | None = Field(description="The champion before.")
    is_promoted: bool = Field(description="Whether it became the champion.")
    reason: str
    comparison: dict[str, Any]
    created_at: datetime


class ModelVersionReply(Reply):
    """One set of meta-learned initial parameters."""

    id: str = Field(description="From the weights themselves: equal weights are the same version.")
    parent_id: str | None = Field(description="The version that fine-tuning started from.")
    origin: Origin
    aliases: list[str] = Field(description="champion: answers; candidate: the last one that fine-tuning made.")
    created_at: datetime
    manifest: dict[str, Any] = Field(description="What went into it, and its figures.")
    promotions: list[PromotionReply] = Field(description="Every decision about it, the oldest first.")


class DecisionBody(RequestBody):
    """Why."""

    reason: Annotated[str, Field(min_length=1, max_length=2_000, description="Kept with the decision.")]


VersionId = Annotated[str, Field(min_length=1, max_length=64, description="Id of a model version.")]


class PinBody(DecisionBody):
    """What to pin the task to, and why."""

    model_version: VersionId


class PinOut(Reply):
    """A change of what a task is pinned to."""

    model_version: str | None = Field(description="Null: it is not pinned from then on.")
    reason: str
    created_at: datetime


class PinsOut(Reply):
    """What a task is pinned to."""

    task: str
    pinned_version: str | None
    effective_version: str | None = Field(
        description="The version that its adaptations start from: the pinned one, or the champion."
    )
    history: list[PinOut] = Field(description="Every change, the newest first.")


class CompareBody(RequestBody):
    """Two model versions, and the task to compare them on."""

    task: Annotated[str, Field(min_length=1, max_length=128, description="Name or id of the task.")]
    first: VersionId
    second: VersionId
