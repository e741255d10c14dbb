"""The documents of tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, field_validator

from app.schemas import FiniteNumber, Name, Reply, RequestBody, Slug

MAX_METADATA_BYTES = 65_536

TASK_REQUEST_EXAMPLE = {
    "name": "digits-accuracy",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
    "max_fidelity": 20,
    "metadata": {"owner": "vision"},
}
TASK_EDIT_EXAMPLE = {"metadata": {"owner": "speech"}}
TASK_EXAMPLE = {
    "id": 1,
    **TASK_REQUEST_EXAMPLE,
    "project": "default",
    "device": None,
    "num_observations": 40,
    "revision": 4,
    "created_at": "2026-11-22T09:30:00Z",
    "pinned_version": None,
    "adaptation": {
        "num_observations": 30,
        "model_version": "9b2f6c1d0a3e4f5b8c7d6e5f4a3b2c1d",
        "adapted_at": "2026-11-22T09:41:07Z",
        "is_fresh": False,
        "is_pending": True,
    },
}


class MetricSchema(RequestBody):
    """What is measured."""

    name: Annotated[str, Field(min_length=1, max_length=64, examples=["accuracy"])]
    unit: Annotated[str, Field(min_length=1, max_length=32, examples=["fraction"])]
    direction: Literal["maximize", "minimize"] = Field(description="Which way is better.")


class TaskIn(RequestBody):
    """Search space × data set × metric (× device)."""

    name: Slug = Field(description="Unique: letters, digits, dot, underscore, hyphen; not a number.")
    search_space: Name = Field(description="Name of a search space.")
    dataset: Name
    metric: MetricSchema
    device: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="What it is measured on, for metrics such as latency."
    )
    max_fidelity: Annotated[FiniteNumber, Field(gt=0)] | None = Field(
        default=None, description="The fidelity (such as epochs) that counts as final; null: the largest seen."
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Anything, up to 65,536 bytes of JSON; kept as it is."
    )
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None, description="Name of the project that it is to belong to; left out: the caller's."
    )

    @field_validator("metadata")
    @classmethod
    def _is_small(cls, value: dict[str, Any]) -> dict[str, Any]:
        num_bytes = len(orjson.dumps(value))
        if num_bytes > MAX_METADATA_BYTES:
            raise ValueError(f"expected metadata of at most {MAX_METADATA_BYTES} bytes of JSON, got {num_bytes}")
        return value


class TaskEdit(RequestBody):
    """What may be changed of a task: nothing that its observations depend on."""

    metadata: dict[str, Any] = Field(description="Takes the place of what was there.")


class AdaptationOut(Reply):
    """How fresh the forecasts are."""

    num_observations: int = Field(description="How many observations the answering adaptation was made from.")
    model_version: str | None = Field(description="The model version that answers; null: none is loaded.")
    adapted_at: datetime | None = Field(
        description="When; null: it has not been adapted, the champion answers as it is."
    )
    is_fresh: bool = Field(description="Whether the champion, or what it is pinned to, is adapted to all observations.")
    is_pending: bool = Field(description="Whether an adaptation is queued or running.")


class TaskOut(Reply):
    """A task."""

    id: int
    name: str
    project: str | None = Field(description="The project that it belongs to; null: it came with the program, for all.")
    search_space: str
    dataset: str
    metric: MetricSchema
    device: str | None
    max_fidelity: float | None
    metadata: dict[str, Any]
    num_observations: int = Field(description="Current ones: neither superseded nor retracted.")
    revision: int = Field(description="How often its observations changed.")
    created_at: datetime
    pinned_version: str | None = Field(description="The model version that it is pinned to; null: the champion counts.")
    adaptation: AdaptationOut
