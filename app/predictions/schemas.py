"""Documents of forecasts. The endpoint reads and writes them without these classes, which document them; a test holds
the two together.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.schemas import Reply, RequestBody

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"


class PredictionRequest(RequestBody):
    """Architectures to forecast."""

    architectures: list[Any] = Field(
        min_length=1,
        description="Each in the notation of the task's search space, as a DAG document with nodes and edges, or as "
        '`{"id": …}` of an architecture that was posted before.',
    )


class ArchitectureProblem(Reply):
    """Why one architecture cannot be forecast."""

    type: str = Field(examples=["/problems/invalid-content"])
    title: str = Field(examples=["Invalid content"])
    status: int = Field(examples=[422])
    detail: str = Field(description="What was expected and what came.")


class PredictionReply(Reply):
    """The forecast of one architecture, or `error` and nothing else."""

    index: int = Field(description="Place in the request, from 0.")
    architecture_id: str | None = Field(default=None, description="Id of the architecture: equal for equal networks.")
    genotype: str | None = Field(
        default=None, description="The architecture in the notation of the task's search space."
    )
    mean: float | None = Field(default=None, description="Expected value, in the metric's unit.")
    std: float | None = Field(default=None, description="Standard deviation, in the metric's unit.")
    lower: float | None = Field(
        default=None, description="Lower end of the interval that holds 90 % of the measured values."
    )
    upper: float | None = Field(
        default=None, description="Upper end of the interval that holds 90 % of the measured values."
    )
    rank: int | None = Field(default=None, description="1 is the best of this request; ties go by place.")
    ood_score: float | None = Field(
        default=None, description="0: like the architectures that the surrogate knows; towards 1: unlike all of them."
    )
    error: ArchitectureProblem | None = Field(
        default=None, description="Present only if this architecture was refused."
    )


class PredictionsReply(Reply):
    """Forecasts in the order of the request."""

    task: str
    metric: str
    unit: str
    direction: str = Field(description="maximize or minimize.")
    model_version: str = Field(description="The model version that answered.")
    num_observations: int = Field(description="How many observations of the task the surrogate had adapted to.")
    is_fresh: bool = Field(description="False while newer observations wait for the next adaptation.")
    predictions: list[PredictionReply]


REQUEST_EXAMPLE = {"architectures": [CELL]}
REPLY_EXAMPLE = {
    "task": "digits-accuracy",
    "metric": "accuracy",
    "unit": "fraction",
    "direction": "maximize",
    "model_version": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "num_observations": 24,
    "is_fresh": True,
    "predictions": [
        {
            "index": 0,
            "architecture_id": "9b2f5c1d7e8a4b3c9d0e1f2a3b4c5d6e",
            "genotype": CELL,
            "mean": 0.942,
            "std": 0.011,
            "lower": 0.923,
            "upper": 0.959,
            "rank": 1,
            "ood_score": 0.04,
        }
    ],
}
