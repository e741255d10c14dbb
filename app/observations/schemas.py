"""The documents of observations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, SkipValidation, Tag, model_validator

from app.schemas import FiniteNumber, NotationForm, Reply, RequestBody, SeedNumber

Status = Literal["ok", "failed", "infeasible"]
KeptStatus = Literal["ok", "failed", "infeasible", "retracted"]
Reason = Annotated[str, Field(min_length=1, max_length=10_000)]

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
ARCHITECTURE_ID = "0f3c5b1d2e4a69788796a5b4c3d2e1f0"

ONE_EXAMPLE = {
    "architecture": CELL, "value": 0.951, "std_error": 0.004, "seed": 0, "fidelity": 20, "cost": 41.5,
    "client_key": "run-17",
}  # fmt: skip
MANY_EXAMPLE = {
    "observations": [
        ONE_EXAMPLE,
        {"architecture": {"id": ARCHITECTURE_ID}, "value": 0.948, "seed": 1, "fidelity": 20, "cost": 40.9},
        {"architecture": CELL, "status": "failed", "reason": "out of memory"},
    ]
}
DAG_EXAMPLE = {
    "architecture": {
        "nodes": [
            {"kind": "input"},
            {"kind": "conv", "attributes": {"kernel_size": 3, "stride": 1}},
            {"kind": "output"},
        ],
        "edges": [[0, 1], [1, 2]],
    },
    "value": 0.87,
}
POSTED_EXAMPLE = {
    "task": "digits-accuracy",
    "num_created": 1,
    "num_duplicates": 0,
    "observations": [{"id": 41, "architecture_id": ARCHITECTURE_ID, "is_duplicate": False}],
}
OBSERVATION_EXAMPLE = {
    "id": 41,
    "task": "digits-accuracy",
    "architecture_id": ARCHITECTURE_ID,
    "genotype": CELL,
    "status": "ok",
    "value": 0.951,
    "std_error": 0.004,
    "seed": 0,
    "fidelity": 20.0,
    "cost": 41.5,
    "reason": None,
    "client_key": "run-17",
    "supersedes_id": None,
    "superseded_by_id": None,
    "created_at": "2026-11-22T09:40:00Z",
}
CORRECTION_REQUEST_EXAMPLE = {"value": 0.915, "reason": "two digits were swapped"}
CORRECTION_EXAMPLE = {
    **OBSERVATION_EXAMPLE, "id": 42, "value": 0.915, "reason": "two digits were swapped", "client_key": None,
    "supersedes_id": 41,
}  # fmt: skip
RETRACTION_REQUEST_EXAMPLE = {"reason": "it was measured on the wrong data set"}
RETRACTION_EXAMPLE = {
    **OBSERVATION_EXAMPLE, "id": 43, "status": "retracted", "value": None, "std_error": None, "client_key": None,
    "supersedes_id": 42, "reason": "it was measured on the wrong data set",
}  # fmt: skip
BEST_EXAMPLE = {
    "task": "digits-accuracy",
    "direction": "maximize",
    "unit": "fraction",
    "fidelity": 20.0,
    "items": [
        {"rank": 1, "architecture_id": ARCHITECTURE_ID, "genotype": CELL, "mean": 0.9495, "std": 0.0021, "count": 2}
    ],
}

PARETO_EXAMPLE = {
    "tasks": [
        {"task": "digits-accuracy", "direction": "maximize", "unit": "fraction", "fidelity": 20.0},
        {"task": "digits-latency", "direction": "minimize", "unit": "ms", "fidelity": None},
    ],
    "num_measured": 40,
    "items": [
        {
            "architecture_id": ARCHITECTURE_ID,
            "genotype": CELL,
            "values": [
                {"task": "digits-accuracy", "mean": 0.9495, "std": 0.0021, "count": 2},
                {"task": "digits-latency", "mean": 3.1, "std": None, "count": 1},
            ],
        }
    ],
}


StdError = Annotated[FiniteNumber, Field(ge=0)]


def _checked_value(status: str, value: float | None, std_error: float | None) -> None:
    if status == "ok" and value is None:
        raise ValueError("expected a value, since the status is ok, got none")
    if status != "ok" and value is not None:
        raise ValueError(f"expected no value, since the status is {status}, got {value}")
    if status != "ok" and std_error is not None:
        raise ValueError(f"expected no std_error, since the status is {status}, got {std_error}")


class ObservationIn(RequestBody):
    """One measured value, or the news that there is none."""

    architecture: NotationForm = Field(
        description='In the notation of the task\'s search space, or as a DAG `{"nodes": …, "edges": …}`, or '
        '`{"id": …}` of one that was posted before.'
    )
    value: FiniteNumber | None = Field(
        default=None, description="In the metric's unit; required when the status is ok."
    )
    std_error: StdError | None = Field(
        default=None,
        description="How uncertain this very value is, beyond what repeated measurements scatter anyway: the standard "
        "deviation of its own error, in the metric's unit, such as that of a small test set. The larger, the less it "
        "counts in adaptation; null: not known.",
    )
    seed: SeedNumber | None = Field(default=None, description="Tells repeated measurements apart.")
    fidelity: Annotated[FiniteNumber, Field(gt=0)] | None = Field(
        default=None, description="Training budget behind the value, such as epochs; null: the full one."
    )
    cost: Annotated[FiniteNumber, Field(ge=0)] | None = Field(
        default=None, description="What it took, in a unit of your own."
    )
    status: Status = Field(
        default="ok", description="failed: it could not be measured; infeasible: it cannot be built."
    )
    reason: Reason | None = Field(default=None, description="Why there is no value.")
    client_key: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="Your own key, unique in the task: posting the same again is harmless."
    )

    @model_validator(mode="after")
    def _has_value_if_ok(self) -> Self:
        _checked_value(self.status, self.value, self.std_error)
        return self


class ObservationBatch(RequestBody):
    """Several observations; all of them are kept, or none. `intake` validates each, to report all that is wrong at once."""

    observations: Annotated[list[SkipValidation[ObservationIn]], Field(min_length=1)]


def _form(body: Any) -> str:
    return (
        "<many>"
        if isinstance(body, ObservationBatch) or (isinstance(body, dict) and "observations" in body)
        else "<one>"
    )


ObservationsBody = Annotated[
    Annotated[ObservationIn, Tag("<one>")] | Annotated[ObservationBatch, Tag("<many>")], Discriminator(_form)
]


class CorrectionIn(RequestBody):
    """What should have been posted."""

    status: Status = "ok"
    value: FiniteNumber | None = Field(default=None, description="Required when the status is ok.")
    std_error: StdError | None = Field(
        default=None, description="Of the corrected value; left out: that of the older one; null: not known."
    )
    reason: Reason = Field(description="Why it is corrected.")

    @model_validator(mode="after")
    def _has_value_if_ok(self) -> Self:
        _checked_value(self.status, self.value, self.std_error)
        return self


class RetractionIn(RequestBody):
    """Why an observation is to be ignored."""

    reason: Reason


class PostedObservation(Reply):
    """What became of one posted observation."""

    id: int
    architecture_id: str
    is_duplicate: bool = Field(description="It was there already, under the same client key.")


class PostedOut(Reply):
    """What became of the posted observations, in the order in which they were sent."""

    task: str
    num_created: int
    num_duplicates: int
    observations: list[PostedObservation]


class ObservationOut(Reply):
    """An observation as it was recorded."""

    id: int
    task: str
    architecture_id: str
    genotype: str | None = Field(description="Its text in the notation of the task's search space.")
    status: KeptStatus
    value: float | None
    std_error: float | None
    seed: int | None
    fidelity: float | None
    cost: float | None
    reason: str | None
    client_key: str | None
    supersedes_id: int | None = Field(description="The observation that this one corrects or retracts.")
    superseded_by_id: int | None = Field(description="The correction or retraction of this one.")
    created_at: datetime


class BestArchitecture(Reply):
    """One place of the leaderboard."""

    rank: int
    architecture_id: str
    genotype: str | None
    mean: float = Field(description="Over its measurements at the final fidelity.")
    std: float | None = Field(description="Sample standard deviation; null for a single measurement.")
    count: int


class BestOut(Reply):
    """The measured leaderboard."""

    task: str
    direction: str
    unit: str
    fidelity: float | None = Field(description="The final fidelity; null: none was ever given.")
    items: list[BestArchitecture]


class ParetoTask(Reply):
    """One of the aims, and which way it is better."""

    task: str
    direction: str
    unit: str
    fidelity: float | None = Field(description="The final fidelity; null: none was ever given.")


class ParetoValue(Reply):
    """What an architecture reaches in one task."""

    task: str
    mean: float = Field(description="Over its measurements at the final fidelity.")
    std: float | None = Field(description="Sample standard deviation; null for a single measurement.")
    count: int


class ParetoArchitecture(Reply):
    """One architecture that no other beats."""

    architecture_id: str
    genotype: str | None
    values: list[ParetoValue] = Field(description="In the order of the tasks.")


class ParetoOut(Reply):
    """The measured Pareto front of several tasks, the best in the first task first."""

    tasks: list[ParetoTask]
    num_measured: int = Field(description="How many architectures have been measured in all of the tasks.")
    items: list[ParetoArchitecture]
