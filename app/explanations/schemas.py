"""The documents of explanations."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from app.schemas import NotationForm, Reply, RequestBody

MAX_ARCHITECTURES = 20
MAX_AVERAGED = 200
Method = Literal["swaps", "shapley", "integrated_gradients"]

_CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
_OTHER = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
_SENTENCE = "nor_conv_3x3 as edge_0_1 is worth +4.2 percentage points here, against the average alternative."


class ExplanationOptions(RequestBody):
    """How large the samples are that explanations rest on. More takes longer."""

    num_variants: Annotated[int, Field(ge=2, le=256)] = Field(
        default=64,
        description="Variants of the architecture that `shapley` and `integrated_gradients` compare it with.",
    )
    num_pairs: Annotated[int, Field(ge=4, le=500)] = Field(
        default=100, description="Pairs of random orders, where `shapley` has more than ten parts to share among."
    )
    num_steps: Annotated[int, Field(ge=8, le=256)] = Field(
        default=64, description="Steps of `integrated_gradients` at first; more are taken where shares do not add up."
    )
    num_architectures: Annotated[int, Field(ge=2, le=MAX_AVERAGED)] = Field(
        default=100, description="Random architectures that `task_summary` averages over."
    )
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Leave out for a new one.")


class ExplanationRequest(RequestBody):
    """What to explain: forecasts of architectures, or what choices are worth in the task as a whole."""

    architectures: list[NotationForm] = Field(
        default=[],
        max_length=MAX_AVERAGED,
        description=f"At most {MAX_ARCHITECTURES}, in any form that forecasts take. With `task_summary` up to {MAX_AVERAGED}, which "
        "effects are averaged over in the place of random ones; the open space `graph` needs them.",
    )
    method: Method | None = Field(default=None, description="`swaps` where it is left out.")
    task_summary: bool = Field(default=False, description="Average effects of each choice of each decision.")
    options: ExplanationOptions = Field(default=ExplanationOptions(), description="Sizes of samples.")

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Self:
        if self.task_summary and self.method is not None:
            raise ValueError(f"expected a method or task_summary, got both: {self.method}")
        if not self.task_summary and not 1 <= len(self.architectures) <= MAX_ARCHITECTURES:
            raise ValueError(
                f"expected 1 to {MAX_ARCHITECTURES} architectures, or task_summary, got {len(self.architectures)}"
            )
        return self


class SwapOut(Reply):
    """One part decided otherwise."""

    choice: str = Field(description="How it is decided then; `gone` where an operation or an edge is taken away.")
    architecture_id: str
    genotype: str | None = Field(description="The architecture that comes of it; null in the space of all graphs.")
    forecast: float
    effect: float = Field(description="Its forecast less the explained architecture's, in the metric's unit.")
    std_error: float | None = Field(
        description="Standard deviation of the effect as observations leave it open; null below four observations."
    )


class PartOut(Reply):
    """A decision or, where the space has none, an operation or an edge of the graph."""

    kind: Literal["decision", "operation", "edge"]
    name: str
    nodes: list[int] = Field(description="In `graph`: an operation's node, an edge's two; empty for decisions.")
    chosen: str = Field(description="How the explained architecture decides it.")
    value: float = Field(
        description="In the metric's unit. `swaps`: the forecast less the average of the alternatives. `shapley`: the part's "
        "share of what the forecast differs from the average of variants by."
    )
    std_error: float | None = Field(description="`shapley`: how far another sample might lead. null with `swaps`.")
    spread: float | None = Field(description="`swaps`: standard deviation of the forecasts over all choices.")
    sentence: str | None = Field(description="`swaps`: the value in words.")
    swaps: list[SwapOut] = Field(description="Empty with `shapley`.")


class NodeShareOut(Reply):
    """A node's share."""

    node: int = Field(description="In `graph`.")
    operation: str
    share: float = Field(description="In the metric's unit.")


class EdgeShareOut(Reply):
    """An edge's share."""

    source: int = Field(description="In `graph`.")
    target: int = Field(description="In `graph`.")
    share: float = Field(description="In the metric's unit.")


class GradientsOut(Reply):
    """Integrated gradients: `base` and all shares are the forecast, up to `completeness_error`."""

    nodes: list[NodeShareOut]
    edges: list[EdgeShareOut]
    decisions: dict[str, float] = Field(description="Shares of the space's decisions themselves, by name.")
    statistics: float = Field(
        description="The share of statistics of the whole graph, which no node or edge has alone, and of what trees make of them "
        "and, where forests take part, of decisions and related tasks."
    )
    related_tasks: float = Field(description="The share of what related tasks say.")
    completeness_error: float
    coverage: float = Field(
        description="Which part of all that moves the forecast falls on nodes and edges, 0 to 1: how much of it this explains."
    )


class ExplanationOut(Reply):
    """Why the forecast of one architecture is what it is."""

    index: int = Field(description="Place in the request, from 0.")
    architecture_id: str
    genotype: str
    graph: dict[str, Any] = Field(description="The canonical form, in which nodes are numbered.")
    forecast: float = Field(description="Mean, in the metric's unit.")
    base: float | None = Field(
        description="What the forecast is compared with: the average of variants, or the baseline of integrated gradients."
    )
    is_exact: bool = Field(description="False where Shapley values come from random orders.")
    parts: list[PartOut] = Field(description="Empty with `integrated_gradients`.")
    gradients: GradientsOut | None


class EffectOut(Reply):
    """What one choice is worth on average, against the average choice in the same place."""

    decision: str = Field(description="The decision; `operation` or `edge` where the space has none.")
    choice: str
    effect: float = Field(description="In the metric's unit.")
    std_error: float | None = Field(description="null where one architecture alone has the choice.")
    num_architectures: int
    sentence: str


class SummaryOut(Reply):
    """What hangs on what in the task as a whole."""

    mean: float = Field(description="Of the forecasts of the architectures that were averaged over.")
    num_architectures: int
    spreads: dict[str, float] = Field(
        description="Standard deviation of the average effects of each decision, the largest first."
    )
    effects: list[EffectOut]


class ExplanationsOut(Reply):
    """Explanations of one adaptation's forecasts."""

    task: str
    metric: str
    unit: str
    direction: str = Field(description="maximize or minimize.")
    model_version: str = Field(description="The model version that is explained.")
    num_observations: int = Field(description="How many observations of the task the surrogate had adapted to.")
    is_fresh: bool = Field(description="False while newer observations wait for the next adaptation.")
    method: Literal["swaps", "shapley", "integrated_gradients", "task_summary"]
    seed: int = Field(description="Asking again with it gives the same answer until the next adaptation.")
    explanations: list[ExplanationOut] = Field(description="In the order of the request; empty with `task_summary`.")
    summary: SummaryOut | None


REQUEST_EXAMPLES = {
    "swaps": {"value": {"architectures": [_CELL]}},
    "shapley": {"value": {"architectures": [_CELL], "method": "shapley", "options": {"num_variants": 16, "seed": 7}}},
    "task": {"value": {"task_summary": True}},
}
REPLY_EXAMPLE = {
    "task": "digits-accuracy",
    "metric": "accuracy",
    "unit": "%",
    "direction": "maximize",
    "model_version": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "num_observations": 24,
    "is_fresh": True,
    "method": "swaps",
    "seed": 7,
    "explanations": [
        {
            "index": 0,
            "architecture_id": "9b2f5c1d7e8a4b3c9d0e1f2a3b4c5d6e",
            "genotype": _CELL,
            "graph": {"nodes": [{"kind": "input"}, {"kind": "output"}], "edges": [[0, 1]]},
            "forecast": 94.2,
            "base": None,
            "is_exact": True,
            "parts": [
                {
                    "kind": "decision",
                    "name": "edge_0_1",
                    "nodes": [],
                    "chosen": "nor_conv_3x3",
                    "value": 4.2,
                    "std_error": None,
                    "spread": 2.1,
                    "sentence": _SENTENCE,
                    "swaps": [
                        {
                            "choice": "nor_conv_1x1",
                            "architecture_id": "1d7e8a4b3c9d0e1f2a3b4c5d6e9b2f5c",
                            "genotype": _OTHER,
                            "forecast": 92.9,
                            "effect": -1.3,
                            "std_error": 0.8,
                        }
                    ],
                }
            ],
            "gradients": None,
        }
    ],
    "summary": None,
}
