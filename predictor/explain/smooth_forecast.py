"""A forecast, all of it, as a differentiable function of what an architecture looks like.

What it looks like are six tensors (`Looks`). A forecast is computed from them alone: the surrogate reads nodes, edges and statistics
of the whole graph; the residual process reads its embedding and mean, the statistics, neighbourhoods and counts of operations (both
functions of nodes and edges), decisions, what the universal mean and forests say (steps have no slope, so they are taken as they are), and
what related tasks say. The spread, through which a mean in standardised units becomes one
in the metric's unit, is held as it is.

Notation: B rows, N nodes, F node features, W counts, G global features, X features of decisions, E opinions, R related tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from predictor.adapted_predictor import (
    EXTREME_NODES,
    EXTREME_WEIGHTS,
    WITHIN,
    AdaptedPredictor,
)
from predictor.architecture import Architecture
from predictor.encoding import NUM_COUNTS, ArchitectureEncoder, GraphBatch
from predictor.explain.smooth_surrogate import SmoothSurrogate
from predictor.meta.cross_fitting import believable
from predictor.prediction import NORMAL_90
from predictor.surrogate.hyperparameters import GPInputs
from predictor.surrogate.neighbourhoods import differentiable_neighbourhood_features

Tensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Looks:
    """Architectures as their forecasts see them, float64."""

    nodes: Tensor  # (B, N, F)
    counted: Tensor  # (B, N, W) what every node adds to the counts of operations
    adjacency: Tensor  # (B, N, N)
    globals: Tensor  # (B, G)
    decisions: Tensor  # (B, X)
    opinions: Tensor  # (B, E) of trees (see `SmoothForecast.num_of_trees`), then all related tasks unshrunk, then each (R), as far as there are any
    mask: Tensor  # (B, N)

    @property
    def tensors(self) -> Tensors:
        """All that a forecast depends on but which nodes there are."""
        return self.nodes, self.counted, self.adjacency, self.globals, self.decisions, self.opinions


class SmoothForecast:
    """The forecast of one adaptation. Belongs to one thread."""

    def __init__(self, adapted: AdaptedPredictor) -> None:
        self._adapted = adapted
        insides = adapted.insides
        self._around, self._process, self._forests = insides.surroundings, insides.process, insides.forests
        self._surrogate = SmoothSurrogate(insides.parameters)
        self._encoder = (
            ArchitectureEncoder()
        )  # of its own: one that is shared may know a graph in another order of nodes
        self._bounds = adapted.task.metric.clipped(np.array([-np.inf, np.inf]))

    @property
    def num_of_trees(self) -> int:
        """How many of the opinions, the first ones, are of trees or of ranks: the universal mean's two, the forest's opinion, the forest's
        correction."""
        return self._num_universal + 2 * int(self._forests is not None)

    @property
    def _num_universal(self) -> int:
        return len(self._around.own_shares) - 1

    def looks(self, architectures: Sequence[Architecture]) -> Looks:
        """What the architectures look like; nodes in topological order."""
        batch = self._encoder.batch(architectures)
        decisions = torch.from_numpy(self._around.space.features_of_all(architectures)).double()
        found = (batch.nodes, self._counted(batch), batch.adjacency, batch.globals)
        nodes, counted, adjacency, whole = (tensor.double() for tensor in found)
        opinions = self._opinions(architectures, batch)
        return Looks(nodes, counted, adjacency, whole, decisions, opinions, batch.mask.double())

    def spreads(self, architecture: Architecture) -> tuple[float, float]:
        """Those of the forecast, which are held as they are (see `AdaptedPredictor.spreads`)."""
        return self._adapted.spreads(architecture)

    def value(self, tensors: Tensors, mask: Tensor, spreads: tuple[float, float]) -> Tensor:  # -> (B,)
        """The forecast in the metric's unit."""
        unused = sum(tensor.flatten(1).sum(1) * 0.0 for tensor in tensors)  # a derivative of 0 rather than none
        return self._in_unit(self._center(tensors, mask), *spreads) + unused

    def _center(self, tensors: Tensors, mask: Tensor) -> Tensor:  # (B,) standardised units
        nodes, counted, adjacency, whole, decisions, opinions = tensors
        relative = self._around.reference.standardised(whole)
        context = self._around.context.double().expand(len(nodes), -1)
        mean, embedding = self._surrogate(nodes, adjacency, mask, torch.cat([whole, relative], -1), context)
        mean = believable(mean)
        if self._process is None:
            return self._blended(mean, opinions)
        neighbourhoods = differentiable_neighbourhood_features(nodes, adjacency, mask)
        related, each = self._around.related, self._of_related(opinions)
        contrasts = None if related is None else related.contrasts(each.float()).double()
        own_opinions = () if related is None else (each,)
        views = (embedding, relative, neighbourhoods, decisions, *own_opinions, counted.sum(1))
        known = len(self._process.support.views)  # kept adaptations may lack counts
        if self._forests is None:
            means = torch.cat([mean[:, None], opinions], 1)
            return self._process.differentiable_mean(GPInputs(means, views[:known], contrasts))
        at = self._num_universal  # after these the forests' opinion, which the process hears last, and correction
        universal, opinion, correction = opinions[:, :at], opinions[:, at : at + 1], opinions[:, at + 1]
        means = torch.cat([mean[:, None], universal, opinions[:, self.num_of_trees :], opinion], 1)
        center = self._process.differentiable_mean(GPInputs(means, views[:known], contrasts))
        return torch.lerp(center, self._process.blend(means) + correction, self._forests.share)

    def _blended(self, mean: Tensor, opinions: Tensor) -> Tensor:
        related = self._around.related
        own = torch.cat([mean[:, None], opinions[:, : self._num_universal]], dim=1)
        mean = own @ torch.tensor(self._around.own_shares, dtype=own.dtype)
        if related is None:
            return mean
        return torch.lerp(mean, related.mean(self._of_related(opinions).float()).double(), related.share)

    def _of_related(self, opinions: Tensor) -> Tensor:  # (B, E) -> (B, R)
        return opinions[:, 1 + self.num_of_trees :]

    def _in_unit(self, center: Tensor, std: float, widening: float) -> Tensor:
        """As `AdaptedPredictor` does: by Gauss–Hermite quadrature."""
        scale, (low, high) = self._around.scale, self._bounds.tolist()
        nodes, weights = torch.from_numpy(EXTREME_NODES), torch.from_numpy(EXTREME_WEIGHTS)
        if scale.location_spread > 0.0:
            places, counted = center[:, None], torch.ones(1, dtype=center.dtype)
        else:
            places, counted = torch.clamp(center[:, None] + std * nodes, -WITHIN, WITHIN), weights
        values, counted = scale.differentiable_quadrature(places, counted, nodes, weights, widening)
        average = values.clamp(low, high) @ counted
        ends = [scale.differentiable_quantiles(center, std, side * NORMAL_90, widening) for side in (-1.0, 1.0)]
        ends = [end.clamp(low, high) for end in ends]
        return average.clamp(torch.minimum(*ends), torch.maximum(*ends))

    def _counted(self, batch: GraphBatch) -> Tensor:  # (B, N, W)
        nodes, adjacency, mask, operations = (
            tensor.flatten(0, 1)[:, None] for tensor in (batch.nodes, batch.adjacency, batch.mask, batch.operations)
        )
        single = GraphBatch(nodes, adjacency, mask, batch.globals, operations)  # every node as a graph of its own
        return self._encoder.operation_counts(single).view(*batch.mask.shape, NUM_COUNTS)

    def _opinions(self, architectures: Sequence[Architecture], batch: GraphBatch) -> Tensor:  # (B, E)
        related = self._around.related
        found = [self._around.universal_opinions(batch)]
        if self._forests is not None:
            found.append(self._adapted.said_by_forests(architectures))
        if related is not None:
            opinions = related(architectures, self._around.views)
            found += [related.unshrunk(architectures, opinions)[:, None], opinions]
        return torch.cat([one.double() for one in found], 1)
