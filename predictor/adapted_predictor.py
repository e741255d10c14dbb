"""AdaptedPredictor: forecasts of one task in its metric's unit, after adaptation to some support set.

Notation: S support architectures, Q asked ones, D embedding width, C context features.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor import checkpoint
from predictor.architecture import Architecture
from predictor.calibration import own_factor
from predictor.encoding import KINDS, ArchitectureEncoder, GraphBatch, SpaceReference
from predictor.meta.cross_fitting import believable
from predictor.prediction import NORMAL_90, Predictions
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.fast_surrogate import FastSurrogate
from predictor.surrogate.hyperparameters import GPInputs
from predictor.surrogate.neighbourhoods import neighbourhood_features
from predictor.surrogate.related_tasks import RelatedTasks
from predictor.surrogate.residual_gp import ResidualGP
from predictor.surrogate.standardisation import Standardisation
from predictor.surrogate.support_forests import SupportForests
from predictor.surrogate.surrogate import SurrogateInputs
from predictor.surrogate.universal_mean import FamilyMean
from predictor.tasks import Task

_MAX_NODES = 3_072  # (padded) in one forward pass: what it computes with then stays near the processor
_MAX_ENCODED = 4 * _MAX_NODES  # in one batch, whose statistics cost the same again for each
_MAX_WORKERS = 2
EXTREME_NODES, EXTREME_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
WITHIN = 4.5  # standardised units beyond which no mean is taken
_SLOPE_STEP = 0.05  # standardised units
DECISIONS = 3
"""Place of decisions among the views of the process."""


@dataclass(frozen=True)
class Surroundings:
    """What forecasts need of their task and model version besides adapted parameters."""

    task: Task
    space: SearchSpace
    scale: Standardisation
    reference: SpaceReference
    shared_reference: SpaceReference  # the same for all tasks of the space, whatever was observed
    context: Tensor  # (C,)
    encoder: ArchitectureEncoder
    model_version: str
    device: torch.device
    related: RelatedTasks | None = None
    universal: FamilyMean | None = None

    def universal_opinions(self, batch: GraphBatch) -> Tensor:  # (B, 2), or (B, 0) where there are none
        """What the universal mean says, if it knows of this metric."""
        if self.universal is None:
            return torch.zeros(len(batch), 0)
        return self.universal.opinions(self.reference.normal_scores(batch.globals))

    @property
    def own_shares(self) -> tuple[float, ...]:
        """Of the surrogate and of the universal mean's opinions, before observations tell which are right."""
        return (1.0,) if self.universal is None else self.universal.shares

    def views(self, architectures: Sequence[Architecture]) -> tuple[Tensor, ...]:
        """Architectures as tensors that depend on the space alone."""
        return self._views(architectures, self.encoder.batch(architectures), self.shared_reference)

    def views_of(self, architectures: Sequence[Architecture], batch: GraphBatch) -> tuple[Tensor, ...]:
        """The same as this adaptation's process sees them, where the batch is at hand."""
        return self._views(architectures, batch, self.reference)

    def _views(
        self, architectures: Sequence[Architecture], batch: GraphBatch, reference: SpaceReference
    ) -> tuple[Tensor, ...]:
        """Statistics of the graph, neighbourhoods of nodes, decisions of the space."""
        decisions = torch.from_numpy(self.space.features_of_all(architectures))
        return reference.standardised(batch.globals), neighbourhood_features(batch), decisions

    def forest_rows(
        self, batch: GraphBatch, decisions: Tensor, means: Tensor
    ) -> Tensor:  # (B, G), (B, X), (B, K) -> (B, F)
        """Architectures as forests see them: statistics by their rank in the space, decisions, opinions of the mean."""
        return torch.cat([self.reference.normal_scores(batch.globals), decisions.float(), means.float()], dim=1)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those to be kept with an adaptation."""
        related = {f"related.{name}": value for name, value in self.related.tensors().items()} if self.related else {}
        return self.reference.tensors("reference.") | {"context": self.context} | related


@dataclass(frozen=True)
class Experience:
    """What an adaptation has seen, and what that says about its intervals."""

    num_observations: int
    support_hash: str
    width_factor: float = 1.0  # of the model version for that many observations
    own_factor: float = 1.0  # of this task's own leave-one-out errors


@dataclass(frozen=True)
class Insides:
    """What an adaptation computes forecasts from, for whoever explains them."""

    surroundings: Surroundings
    parameters: Mapping[str, Tensor]
    process: ResidualGP | None
    forests: SupportForests | None


class AdaptedPredictor:
    """The surrogate after the inner loop for one task and one support set. Immutable; may be called from any thread."""

    def __init__(
        self,
        surroundings: Surroundings,
        parameters: Mapping[str, Tensor],
        process: ResidualGP | None,
        experience: Experience,
        forests: SupportForests | None = None,
    ) -> None:
        """From the surrogate's adapted parameters and, where enough was observed, its residual process and forests."""
        self._around, self._process, self._experience = surroundings, process, experience
        self._forests = forests
        self._parameters = parameters
        self._surrogate = FastSurrogate(parameters)
        self._width = experience.own_factor * experience.width_factor
        self.task = surroundings.task
        self.model_version = surroundings.model_version
        self.num_observations, self.support_hash = experience.num_observations, experience.support_hash

    @property
    def scale(self) -> Standardisation | None:
        """On which forecasts are normal; None before anything was measured, when it is not known where that lies."""
        scale = self._around.scale
        return None if scale.location_spread > 0.0 else scale

    @property
    def insides(self) -> Insides:
        """What it computes with; not to be changed."""
        return Insides(self._around, self._parameters, self._process, self._forests)

    def _forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        inputs = SurrogateInputs.of(batch, self._around.reference, self._around.context)
        given = (inputs.nodes, inputs.adjacency, inputs.mask, inputs.whole, self._around.context)
        mean, log_std, embedding = self._surrogate(*(tensor.to(self._around.device) for tensor in given))
        return believable(mean.cpu()), log_std.cpu(), embedding.cpu()

    def gp_inputs(self, architectures: Sequence[Architecture]) -> GPInputs:
        """Architectures as the residual process sees them."""
        return self._encoded(architectures)[0]

    def said_by_forests(
        self, architectures: Sequence[Architecture]
    ) -> Tensor:  # (Q, 2), or (Q, 0) where there are none
        """The forests' opinion and correction."""
        inputs, rows = self._encoded(architectures)
        if self._forests is None or rows is None:
            return inputs.means[:, :0]
        return torch.stack([inputs.means[:, -1], self._forests.correction(rows).double()], dim=1)

    def _encoded(self, architectures: Sequence[Architecture]) -> tuple[GPInputs, Tensor | None]:
        with torch.no_grad():
            batch = self._around.encoder.batch(architectures)
            mean, _, embedding = self._forward(batch)
        return self._seen(architectures, batch, mean, embedding)

    def _seen(
        self, architectures: Sequence[Architecture], batch: GraphBatch, mean: Tensor, embedding: Tensor
    ) -> tuple[GPInputs, Tensor | None]:
        """Architectures as the residual process sees them, and as forests do where there are any."""
        views = (embedding, *self._around.views_of(architectures, batch))
        related, contrasts = self._around.related, None
        means = torch.cat([mean[:, None], self._around.universal_opinions(batch)], dim=1)
        if related is not None:
            opinions = related(architectures, self._around.views)
            contrasts = related.contrasts(opinions)
            means = torch.cat([means, related.unshrunk(architectures, opinions)[:, None], opinions], dim=1)
            views = (*views, opinions)
        views = (*views, self._around.encoder.operation_counts(batch))
        known = len(views) if self._process is None else len(self._process.support.views)  # kept ones may lack counts
        rows = None
        if self._forests is not None:
            rows = self._around.forest_rows(batch, views[DECISIONS], means)
            means = torch.cat([means, self._forests.opinion(rows)[:, None]], dim=1)
        return GPInputs(means.double(), views[:known], contrasts), rows

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        """Forecasts in the task's metric unit, in the order of the architectures."""
        groups = list(_groups(architectures, _MAX_ENCODED))
        side_by_side = _workers().map if len(groups) > 1 else map
        parts = list(side_by_side(self._predict_group, groups))
        if not parts:
            empty = np.zeros(0)
            return Predictions(empty, empty, empty, empty, empty)
        return Predictions.joined(parts)

    def errors_in_std(self, architectures: Sequence[Architecture], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far measured values (Q,) lie from their forecasts, in predicted standard deviations of standardised units."""
        center, spread, ood = self._standardised(architectures)
        return (self._around.scale.forward(values) - center) / self._total_std(spread, ood)

    def log_std(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """Logarithm of the predicted standard deviations, standardised units."""
        _, spread, ood = self._standardised(architectures)
        return np.log(self._total_std(spread, ood))

    def spreads(self, architecture: Architecture) -> tuple[float, float]:
        """The predicted standard deviation about the task's location, standardised units, and how many times as uncertain as the
        scale says that location is taken for."""
        _, spread, ood = self._standardised([architecture])
        return float(spread[0] * self._width), float(_widening(ood)[0])

    def _total_std(self, spread: NDArray[np.float64], ood: NDArray[np.float64]) -> NDArray[np.float64]:
        """The location's uncertainty included."""
        scale = self._around.scale
        return np.hypot(spread * self._width, _widening(ood) * scale.location_spread / scale.scale)

    def difference_std(self, architecture: Architecture, others: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """How uncertain the difference of each other forecast from the architecture's is: a standard deviation in the metric's unit.

        It counts what observations leave open of the two together, through the slope of the unit's scale at both; the noise of a
        measurement is left out. NaN before there is a residual process, since nothing then tells how errors go together.
        """
        if self._process is None or not others:
            return np.full(len(others), np.nan)
        asked = [architecture, *others]
        center, spread, ood = self._standardised(asked)
        ends = [self._in_unit(center + side * _SLOPE_STEP, spread, ood).mean for side in (-1.0, 1.0)]
        slope = (ends[1] - ends[0]) / (2.0 * _SLOPE_STEP)
        left = self._process.covariance(self.gp_inputs(asked)).numpy() * np.outer(slope, slope)
        variance = left[0, 0] + left.diagonal()[1:] - 2.0 * left[0, 1:]
        std: NDArray[np.float64] = self._width * np.sqrt(np.maximum(variance, 0.0))
        return std

    def _predict_group(self, architectures: Sequence[Architecture]) -> Predictions:
        return self._in_unit(*self._standardised(architectures))

    def _standardised(
        self, architectures: Sequence[Architecture]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean, spread about the location before calibration, out-of-distribution score: (Q,) each, standardised units."""
        with torch.inference_mode():
            batch = self._around.encoder.batch(architectures)
            step = max(_MAX_NODES // max(batch.nodes.shape[1], 1), 1)
            passes = [slice(start, start + step) for start in range(0, max(len(batch), 1), step)]
            parts = [self._passed(architectures[rows], batch.select(rows)) for rows in passes]
            center, spread, novelty = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
        outside = _outside_scores(batch, self._around.reference)
        return center, spread * _widening(outside), np.maximum(outside, novelty)  # it knows of novelty

    def _passed(self, architectures: Sequence[Architecture], batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, spread and novelty of one forward pass: (Q,) each."""
        mean, log_std, embedding = self._forward(batch)
        if self._process is None:
            blended = self._blended(architectures, batch, mean).double()
            return blended, log_std.exp().double(), torch.zeros_like(blended)
        inputs, rows = self._seen(architectures, batch, mean, embedding)
        center, spread, novelty = self._process.predict(inputs)
        if self._forests is not None and rows is not None:
            corrected = self._process.blend(inputs.means) + self._forests.correction(rows)
            center = torch.lerp(center, corrected, self._forests.share)
        return center, spread, novelty

    def _blended(self, architectures: Sequence[Architecture], batch: GraphBatch, mean: Tensor) -> Tensor:  # (Q,)
        """The mean before a residual process can tell whose opinion counts."""
        related = self._around.related
        opinions = torch.cat([mean[:, None], self._around.universal_opinions(batch)], dim=1)
        mean = opinions @ torch.tensor(self._around.own_shares)
        if related is None:
            return mean
        return torch.lerp(mean, related.mean(related(architectures, self._around.views)), related.share)

    def _in_unit(
        self, center: NDArray[np.float64], spread: NDArray[np.float64], ood: NDArray[np.float64]
    ) -> Predictions:
        """Through the inverse of the standardisation: quantiles exactly, mean and spread by Gauss–Hermite quadrature."""
        scale, metric = self._around.scale, self.task.metric
        std, widening = spread * self._width, _widening(ood)
        at = np.clip(center[:, None] + std[:, None] * EXTREME_NODES, -WITHIN, WITHIN)
        over = (EXTREME_NODES, EXTREME_WEIGHTS, widening)
        found, weights = scale.quadrature(at, EXTREME_WEIGHTS, *over)
        values = metric.clipped(found)  # (Q, nodes)
        average = values @ weights
        if scale.location_spread > 0.0:  # whose network is the less certain should not decide the order of costs
            found, middle = scale.quadrature(center[:, None], np.ones(1), *over)
            average = metric.clipped(found) @ middle
        apart = values - average[:, None]
        largest = np.maximum(np.abs(apart).max(axis=1, initial=0.0), np.finfo(float).tiny)  # squares must not overflow
        deviation = largest * np.sqrt((apart / largest[:, None]) ** 2 @ weights)
        ends = [metric.clipped(scale.quantiles(center, std, side * NORMAL_90, widening)) for side in (-1.0, 1.0)]
        lower, upper = np.minimum(*ends), np.maximum(*ends)
        return Predictions(np.clip(average, lower, upper), deviation, lower, upper, ood, (center, std), self.scale)

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:  # (Q, D)
        """The adapted surrogate's embedding: architectures that it takes for alike are near each other."""
        with torch.inference_mode():
            groups = _groups(architectures, _MAX_NODES)
            parts = [self._forward(self._around.encoder.batch(group))[2] for group in groups]
        return torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)

    def with_process(self, process: ResidualGP, forests: SupportForests | None = None) -> AdaptedPredictor:
        """The same adaptation with a residual process, whose left-out errors tell how wide this task wants its intervals."""
        # misses of observations whose error is beyond the noise tell how good that known error is
        experience = replace(self._experience, own_factor=own_factor(process.leave_one_out()[process.is_ordinary]))
        return AdaptedPredictor(self._around, self._parameters, process, experience, forests)

    def without_process(self) -> AdaptedPredictor:
        """The same adaptation without residual process, forests, related tasks and universal mean: the surrogate's own mean and spread,
        to compare with."""
        experience = replace(self._experience, own_factor=1.0)
        alone = replace(self._around, related=None, universal=None)
        return AdaptedPredictor(alone, self._parameters, None, experience)

    def to_bytes(self) -> bytes:
        """Everything that `MetaPredictor.restore` needs, as safetensors."""
        header = {
            "model_version": self.model_version,
            "scale": asdict(self._around.scale),
            "experience": asdict(self._experience),
            "hears_universal_mean": self._around.universal is not None,
            "num_views": len(self._process.support.views) if self._process else 0,
            "num_forest_columns": self._forests.opinion.num_features if self._forests else 0,
        }
        tensors = {f"surrogate.{name}": value for name, value in self._parameters.items()} | self._around.tensors
        tensors["header"] = torch.tensor(list(json.dumps(header).encode()), dtype=torch.uint8)
        if self._process is not None:
            process = self._process
            tensors |= {f"gp.view.{number}": view for number, view in enumerate(process.support.views)}
            tensors |= {"gp.raw": process.raw, "gp.means": process.support.means, "gp.targets": process.targets}
            tensors["gp.noise_scale"] = process.noise_scale
            if process.support.contrasts is not None:
                tensors["gp.contrasts"] = process.support.contrasts
            if bool(process.known_variance.any()):
                tensors["gp.known_variance"] = process.known_variance
        if self._forests is not None:
            tensors |= {f"forests.{name}": value for name, value in self._forests.tensors().items()}
        return checkpoint.to_bytes(tensors)

    @classmethod
    def restored(
        cls, surroundings: Surroundings, header: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> AdaptedPredictor:
        """From what `to_bytes` wrote; raises KeyError, TypeError, ValueError or RuntimeError if it is something else."""
        parameters = {
            name.removeprefix("surrogate."): value.to(surroundings.device)
            for name, value in tensors.items()
            if name.startswith("surrogate.")
        }
        process = None
        if "gp.raw" in tensors:
            views = tuple(tensors[f"gp.view.{number}"] for number in range(header["num_views"]))
            inputs = GPInputs(tensors["gp.means"], views, tensors.get("gp.contrasts"))  # kept ones may lack contrasts
            noise_scale, known_variance = tensors["gp.noise_scale"], tensors.get("gp.known_variance")
            process = ResidualGP(tensors["gp.raw"], inputs, tensors["gp.targets"], noise_scale, known_variance)
        named = {n.removeprefix("forests."): v for n, v in tensors.items() if n.startswith("forests.")}
        forests = SupportForests.from_tensors(named, header["num_forest_columns"]) if named else None
        return cls(surroundings, parameters, process, Experience(**header["experience"]), forests)


@cache
def _workers() -> ThreadPoolExecutor:
    """Threads for large requests, started when the first one comes: PyTorch computes without holding up Python."""
    return ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1), "forecast")


def _groups(architectures: Sequence[Architecture], max_nodes: int) -> Iterator[Sequence[Architecture]]:
    """Pieces of so many (padded) nodes at most, in order."""
    start, most = 0, 0
    for place, architecture in enumerate(architectures):
        most = max(most, architecture.num_nodes)
        if place > start and (place - start + 1) * most > max_nodes:
            yield architectures[start:place]
            start, most = place, architecture.num_nodes
    if start < len(architectures):
        yield architectures[start:]


def _widening(outside: NDArray[np.float64]) -> NDArray[np.float64]:  # (Q,) -> (Q,)
    """Of spreads of what lies outside."""
    return 1.0 + 2.0 * outside


def _outside_scores(batch: GraphBatch, reference: SpaceReference) -> NDArray[np.float64]:  # (Q,)
    """0 for architectures like those of the space, towards 1 the further their statistics lie outside or the more of
    their operations are of unknown kind."""
    z = reference.standardised(batch.globals)
    distance = z.square().mean(1).sqrt()
    known = batch.nodes[..., : len(KINDS)].sum((1, 2))
    unknown = 1.0 - known / batch.mask.sum(1).clamp(min=1.0)
    far = 1.0 - torch.exp(-((distance - 1.5).clamp(min=0.0)) / 1.0)
    return torch.maximum(far, unknown).clamp(0.0, 1.0).double().numpy()
