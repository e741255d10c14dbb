"""Documents of track records."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from app.schemas import Reply

_VERSION = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
RECORD_EXAMPLE = {
    "task": "digits-accuracy",
    "versions": [
        {
            "model_version": _VERSION,
            "num_pairs": 48,
            "coverage": 0.896,
            "nll": -2.71,
            "kendall_tau": 0.68,
            "mean_absolute_error": 0.009,
        }
    ],
}
DRIFT_EXAMPLE = {
    "task": "digits-accuracy",
    "promised_miss_rate": 0.1,
    "suspected_miss_rate": 0.3,
    "threshold": 6.0,
    "versions": [
        {
            "model_version": _VERSION,
            "num_pairs": 48,
            "miss_rate": 0.104,
            "statistic": 0.59,
            "num_alarms": 0,
            "alarmed_at": None,
            "changed_at": "2026-11-22T10:05:00Z",
        }
    ],
}


class RecordOut(Reply):
    """How the forecasts of one model version have held."""

    model_version: str
    num_pairs: int = Field(description="Forecasts whose value came later, each architecture once.")
    coverage: float = Field(description="Share of values inside the 90 % interval that was forecast.")
    nll: float | None = Field(
        description="Mean negative log likelihood of a normal distribution of the forecast mean and standard deviation, in "
        "the metric's unit; lower is better. Null: beyond what a number can hold."
    )
    kendall_tau: float | None = Field(description="Rank correlation of forecasts and values; null for a single pair.")
    mean_absolute_error: float = Field(description="In the metric's unit.")


class TaskRecordOut(Reply):
    """How forecasts of a task have held, by the version that answered; the one with the newest value first."""

    task: str
    versions: list[RecordOut]


class VersionDrift(Reply):
    """Where the running test stands for one model version."""

    model_version: str
    num_pairs: int = Field(description="Forecasts whose value came later and was counted.")
    miss_rate: float | None = Field(description="Share of values outside the 90 % interval; null: there are none yet.")
    statistic: float = Field(description="Cumulative evidence for the suspected miss rate; 0: none.")
    num_alarms: int = Field(description="How often it rose above the threshold; it begins again from 0 each time.")
    alarmed_at: datetime | None
    changed_at: datetime


class DriftOut(Reply):
    """Whether forecasts of a task hold what they promise; the version that was looked at last first."""

    task: str
    promised_miss_rate: float
    suspected_miss_rate: float
    threshold: float
    versions: list[VersionDrift]
