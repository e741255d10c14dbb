"""Documents of candidates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.schemas import Reply

Acquisition = Literal["ucb", "ei", "thompson", "mean"]

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
CANDIDATES_EXAMPLE = {
    "task": "digits-accuracy",
    "metric": "accuracy",
    "unit": "fraction",
    "direction": "maximize",
    "model_version": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "num_observations": 24,
    "is_fresh": True,
    "acquisition": "ucb",
    "kappa": 1.0,
    "seed": 7,
    "best_measured": 0.951,
    "method": "enumerated",
    "num_considered": 6442,
    "num_feasible": 1210,
    "candidates": [
        {
            "rank": 1,
            "architecture_id": "9b2f5c1d7e8a4b3c9d0e1f2a3b4c5d6e",
            "genotype": CELL,
            "mean": 0.962,
            "std": 0.008,
            "lower": 0.948,
            "upper": 0.974,
            "ood_score": 0.05,
            "acquisition_value": 1.42,
            "constraints": [
                {
                    "metric": "latency_ms",
                    "task": "digits-latency",
                    "operator": "<=",
                    "bound": 12.0,
                    "mean": 9.8,
                    "std": 0.6,
                    "is_measured": False,
                    "probability": 0.9999,
                }
            ],
        }
    ],
}


class ConstraintForecast(Reply):
    """What is known about one constraint for one architecture."""

    metric: str
    task: str | None = Field(description="The task that measures it; null for what the architecture itself states.")
    operator: str
    bound: float
    mean: float | None = Field(description="The measured value where there is one, else the forecast; null: unknown.")
    std: float | None = Field(description="0 for what was measured.")
    is_measured: bool
    probability: float = Field(description="How probable it is that the constraint holds.")


class CandidateReply(Reply):
    """An architecture worth measuring, with its forecast in the metric's unit."""

    rank: int = Field(description="1 is to be measured first.")
    architecture_id: str
    genotype: str = Field(description="The architecture in the notation of the task's search space.")
    mean: float
    std: float
    lower: float
    upper: float
    ood_score: float
    acquisition_value: float = Field(
        description="How much it is worth measuring; larger is better. For the acquisition mean the forecast, turned so that larger is "
        "better; for the others, once something was measured, in units in which measured values of the task are spread evenly."
    )
    constraints: list[ConstraintForecast]


class CandidatesReply(Reply):
    """The best unmeasured architectures of a task's search space."""

    task: str
    metric: str
    unit: str
    direction: str
    model_version: str
    num_observations: int
    is_fresh: bool
    acquisition: Acquisition
    kappa: float
    seed: int = Field(description="Asking again with it gives the same answer until the next adaptation.")
    best_measured: float | None = Field(description="The best measured value so far; null: none.")
    method: Literal["enumerated", "searched"] = Field(
        description="Whether the space was scored as a whole or searched, since it is too large."
    )
    num_considered: int = Field(description="How many unmeasured architectures were compared.")
    num_feasible: int = Field(description="How many of them satisfy all constraints with a probability of 0.5 or more.")
    candidates: list[CandidateReply]
