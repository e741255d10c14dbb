"""The documents of health."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.schemas import Reply

HEALTH_EXAMPLE = {"status": "ok"}
READINESS_EXAMPLE = {"status": "ready", "model_version": "9b2f6c1d0a3e4f5b8c7d6e5f4a3b2c1d"}


class HealthOut(Reply):
    """The process is up."""

    status: Literal["ok"]


class ReadinessOut(Reply):
    """The service can answer."""

    status: Literal["ready"]
    model_version: str = Field(description="The champion.")
