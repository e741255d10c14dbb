"""The surrogate: encoder and head, and what it is told about the task.

Notation: B architectures, G global features, C context features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from predictor.encoding import GraphBatch, SpaceReference
from predictor.surrogate.encoder import EncoderConfig, GraphEncoder
from predictor.surrogate.head import GaussianHead
from predictor.tasks import METRIC_FAMILIES, Task

NUM_CONTEXT = len(METRIC_FAMILIES) + 1 + 4
"""C."""


def task_context(task: Task, num_observations: int) -> Tensor:  # (C,)
    """What the surrogate is told about the task: the metric's family (`Metric.told_as`), that one's direction, a device, how much was
    measured."""
    metric = task.metric
    families = [family for family, _ in METRIC_FAMILIES] + ["other"]
    one_hot = [float(family == metric.told_as) for family in families]
    is_own = metric.told_as == metric.family
    rest = [
        float(metric.direction == "minimize" if is_own else metric.told_as == "latency"),
        float(task.device is not None),
        math.log2(1 + num_observations) / 4,
        float(num_observations == 0),
    ]
    return torch.tensor(one_hot + rest)


@dataclass(frozen=True)
class SurrogateInputs:
    """B architectures as the surrogate reads them."""

    nodes: Tensor  # (B, N, F)
    adjacency: Tensor  # (B, N, N)
    mask: Tensor  # (B, N)
    whole: Tensor  # (B, 2G)
    context: Tensor  # (B, C)

    @classmethod
    def of(cls, batch: GraphBatch, reference: SpaceReference, context: Tensor) -> SurrogateInputs:
        """Joins global features with the same relative to the space, and repeats the task's context."""
        whole = torch.cat([batch.globals, reference.standardised(batch.globals)], dim=-1)
        return cls(batch.nodes, batch.adjacency, batch.mask, whole, context.expand(len(batch), -1))

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """In the order of `Surrogate.forward`."""
        return self.nodes, self.adjacency, self.mask, self.whole, self.context

    def __len__(self) -> int:
        return len(self.nodes)


@dataclass(frozen=True)
class SurrogateConfig:
    """Everything that fixes the surrogate's shape."""

    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(num_context=NUM_CONTEXT))


class Surrogate(nn.Module):
    """Mean and log standard deviation of the standardised goodness of architectures."""

    def __init__(self, config: SurrogateConfig) -> None:
        super().__init__()
        self.encoder = GraphEncoder(config.encoder)
        self.head = GaussianHead(config.encoder.width)

    def forward(
        self, nodes: Tensor, adjacency: Tensor, mask: Tensor, whole: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, …) -> mean (B,), log standard deviation (B,), embedding (B, D)."""
        embedding = self.encoder(nodes, adjacency, mask, whole, context)
        mean, log_std = self.head(embedding)
        return mean, log_std, embedding
