"""The documents of architectures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from app.observations.schemas import ARCHITECTURE_ID, CELL, OBSERVATION_EXAMPLE, ObservationOut
from app.schemas import Reply

ARCHITECTURE_EXAMPLE = {
    "id": ARCHITECTURE_ID,
    "hash_algorithm": "archcast-dag-1",
    "graph": {
        "nodes": [
            {"kind": "input"},
            {"kind": "conv", "attributes": {"kernel_size": 3, "stride": 1}},
            {"kind": "output"},
        ],
        "edges": [[0, 1], [1, 2]],
    },
    "notations": [{"search_space": "nasbench201", "genotype": CELL}],
    "observations": [OBSERVATION_EXAMPLE],
    "forecasts": [
        {
            "task": "digits-accuracy",
            "metric": "accuracy",
            "unit": "fraction",
            "direction": "maximize",
            "mean": 0.948,
            "std": 0.006,
            "lower": 0.938,
            "upper": 0.958,
            "ood_score": 0.04,
            "model_version": "9b2f6c1d0a3e4f5b8c7d6e5f4a3b2c1d",
            "num_observations": 30,
            "is_fresh": True,
        }
    ],
    "created_at": "2026-11-22T09:40:00Z",
}


class NotationOut(Reply):
    """How one search space writes the architecture."""

    search_space: str
    genotype: str


class ForecastOut(Reply):
    """What is expected of the architecture in one task, in its metric's unit."""

    task: str
    metric: str
    unit: str
    direction: str
    mean: float
    std: float
    lower: float = Field(description="Lower end of the 90% interval.")
    upper: float = Field(description="Upper end of the 90% interval.")
    ood_score: float = Field(description="0: like what the surrogate knows; towards 1: unlike all of it.")
    model_version: str
    num_observations: int = Field(description="How many observations the answering adaptation was made from.")
    is_fresh: bool


class ArchitectureOut(Reply):
    """Everything that is known about one architecture."""

    id: str = Field(description="The hash of its canonical form.")
    hash_algorithm: str
    graph: dict[str, Any] = Field(description="The canonical form as a DAG.")
    notations: list[NotationOut]
    observations: list[ObservationOut] = Field(description="The newest 1,000 current ones over all tasks.")
    forecasts: list[ForecastOut] = Field(
        description="For the newest 50 tasks of the search spaces that know it; none while no champion is loaded."
    )
    created_at: datetime
