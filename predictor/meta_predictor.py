"""MetaPredictor.adapt(support) -> AdaptedPredictor.predict(architectures): the library's main job.

A `MetaPredictor` is one model version: meta-learned initial parameters, step sizes, priors and calibration. `adapt` runs the
inner loop on a support set and fits the residual process; the result forecasts in the task's metric unit.

Notation: S support architectures, Q asked ones, D embedding width, P parameter tensors.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, vmap

from predictor import checkpoint
from predictor.architecture import Architecture
from predictor.calibration import NORMAL_90, WidthTable, own_factor
from predictor.encoding import KINDS, ArchitectureEncoder, GraphBatch, SpaceReference
from predictor.errors import CheckpointError
from predictor.meta.episodes import space_reference
from predictor.meta.inner_loop import InnerLoopConfig, inner_loop
from predictor.prediction import Predictions
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.fast_surrogate import FastSurrogate
from predictor.surrogate.residual_gp import MAX_OBSERVATIONS, GPInputs, ResidualGP
from predictor.surrogate.standardisation import UNKNOWN_PRIOR, ScalePrior, Standardisation
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig, SurrogateInputs, task_context
from predictor.tasks import SupportSet, Task

_MAX_NODES = 3_072  # (padded) in one forward pass: what it computes with then stays near the processor
_MAX_NODE_PAIRS = 2_000_000  # that attention looks at in one inner loop
_NUM_FOLDS = 4
_MAX_ADAPTED = 256  # support architectures that the inner loop looks at
_FARTHEST = 20.0  # standardised units beyond which the surrogate is not believed
_MIN_FOR_GP = 4
_EXTREME_NODES, _EXTREME_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WITHIN = 4.5  # standardised units beyond which no mean is taken


@dataclass(frozen=True)
class _Surroundings:
    """What an adaptation needs of its task besides the surrogate."""

    task: Task
    space: SearchSpace
    scale: Standardisation
    location_spread: float  # uncertainty of the location itself, in standardised units; 0 once something was measured
    reference: SpaceReference
    context: Tensor  # (C,)


class MetaPredictor:
    """Meta-learned initial parameters. Immutable; may be called from any thread."""

    def __init__(
        self,
        surrogate: Surrogate,
        log_step_sizes: Tensor,
        default_reference: SpaceReference,
        manifest: Mapping[str, Any],
    ) -> None:
        """From parts; the surrogate is owned from here on and must not be trained further."""
        self._surrogate = surrogate.eval().requires_grad_(False)
        self._log_step_sizes = log_step_sizes.detach()
        self._default_reference = default_reference
        self.manifest = manifest
        self._weights = checkpoint.to_bytes(self._tensors())
        self.version = checkpoint.version_of(self._weights)
        self._ranking_weight = float(manifest["inner"]["ranking_weight"])
        self._widths = WidthTable.from_json(manifest.get("widths", {"numbers": [0], "factors": [1.0]}))
        self._priors = {family: ScalePrior(**prior) for family, prior in manifest.get("priors", {}).items()}
        self._references: dict[str, SpaceReference] = {}
        self._lock, self._of_thread = Lock(), local()
        self.encoder = ArchitectureEncoder()

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> MetaPredictor:
        """Reads weights and manifest.

        Raises:
            CheckpointError: if they are missing, malformed, or made for another encoding.
        """
        return cls.from_bytes(*checkpoint.read(directory), device=device)

    @classmethod
    def from_bytes(cls, weights: bytes, manifest: Mapping[str, Any], device: str = "cpu") -> MetaPredictor:
        """The same from memory.

        Raises:
            CheckpointError: see `load`.
        """
        fingerprint = checkpoint.encoding_fingerprint()
        if manifest.get("encoding") != fingerprint:
            raise CheckpointError(f"expected weights for the encoding {fingerprint}, got {manifest.get('encoding')}")
        tensors = checkpoint.from_bytes(weights)
        try:
            surrogate = Surrogate(SurrogateConfig(EncoderConfig(**manifest["surrogate"])))
            parameters = {n.removeprefix("surrogate."): v for n, v in tensors.items() if n.startswith("surrogate.")}
            surrogate.load_state_dict(parameters)
            reference = SpaceReference(tensors["reference.mean"], tensors["reference.std"])
            steps = tensors["log_step_sizes"]
            if steps.dim() != 2 or steps.shape[1] != len(parameters):
                raise ValueError(f"step sizes (K, {len(parameters)}) expected, got {tuple(steps.shape)}")
            return cls(surrogate.to(device), steps.to(device), reference, manifest)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"expected weights and a manifest that fit each other, got {type(error).__name__}: {error}"
            ) from error

    def _tensors(self) -> dict[str, Tensor]:
        named = {f"surrogate.{name}": value for name, value in self._surrogate.named_parameters()}
        return named | {
            "log_step_sizes": self._log_step_sizes,
            "reference.mean": self._default_reference.mean,
            "reference.std": self._default_reference.std,
        }

    def to_bytes(self) -> bytes:
        """The weights as safetensors; with `manifest`, what `from_bytes` reads."""
        return self._weights

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate at its initial parameters; copy it before training."""
        return self._surrogate

    @property
    def stateless(self) -> Surrogate:
        """The surrogate's shape without numbers, for `functional_call`, which puts parameters into the module while it runs:
        every thread has its own, so that none computes with those of another."""
        if not hasattr(self._of_thread, "surrogate"):
            self._of_thread.surrogate = copy.deepcopy(self._surrogate).to("meta")
        shape: Surrogate = self._of_thread.surrogate
        return shape

    @property
    def log_step_sizes(self) -> Tensor:
        """(K, P)."""
        return self._log_step_sizes

    @property
    def default_reference(self) -> SpaceReference:
        """What stands in for a space whose architectures cannot be sampled."""
        return self._default_reference

    @property
    def inner_config(self) -> InnerLoopConfig:
        """The inner loop that this version was meta-trained with."""
        return InnerLoopConfig(**self.manifest["inner"])

    def reference_of(self, space: SearchSpace, architectures: Sequence[Architecture] = ()) -> SpaceReference:
        """Statistics of the space, from random architectures of it; of an open space, from the given ones if they are many."""
        if space.is_open:
            return (
                SpaceReference.of(self.encoder.batch(architectures))
                if len(architectures) >= 16
                else self._default_reference
            )
        with self._lock:
            known = self._references.get(space.name)
        if known is None:
            known = space_reference(space, self.encoder)
            with self._lock:
                self._references[space.name] = known
        return known

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> AdaptedPredictor:
        """Inner loop and residual process on the support set, which may be empty."""
        surroundings = self._surroundings(task, space, support)
        if len(support) == 0:
            return AdaptedPredictor(self, surroundings, dict(self._surrogate.named_parameters()), None, support, 1.0)
        held = support.select(range(min(len(support), MAX_OBSERVATIONS)))
        targets = torch.from_numpy(surroundings.scale.forward(held.targets)).float()
        batch = self.encoder.batch(held.architectures)
        inputs = SurrogateInputs.of(batch, surroundings.reference, surroundings.context)
        parameters, left_out_mean = self._adapted(inputs, targets)
        adapted = AdaptedPredictor(self, surroundings, parameters, None, support, 1.0)
        if len(support) < _MIN_FOR_GP:
            return adapted
        gp_inputs = replace(adapted.gp_inputs(held.architectures), mean=left_out_mean.double())
        process = ResidualGP.fit(gp_inputs, targets.double(), torch.tensor(held.counts).double())
        return AdaptedPredictor(self, surroundings, parameters, process, support, own_factor(process.leave_one_out()))

    def _surroundings(self, task: Task, space: SearchSpace, support: SupportSet) -> _Surroundings:
        family = task.metric.family
        prior = self._priors[family].in_unit_of(task.metric) if family in self._priors else UNKNOWN_PRIOR
        scale = Standardisation.fit(task, support.targets, prior)
        spread = prior.location_spread / scale.scale if len(support) == 0 else 0.0
        reference = self.reference_of(space, support.architectures)
        return _Surroundings(task, space, scale, spread, reference, task_context(task, len(support)))

    def _adapted(self, inputs: SurrogateInputs, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Parameters adapted to everything, and for each observation the mean that was adapted without it: (S,).

        Folds run as one vmap; the last "fold" leaves nothing out. Observations beyond the inner loop's limit are left out of
        every fold, so the mean of the last one is already honest for them.
        """
        device = self._log_step_sizes.device
        inputs, targets = SurrogateInputs(*(tensor.to(device) for tensor in inputs.tensors())), targets.to(device)
        count, pairs_each = len(targets), inputs.nodes.shape[1] ** 2
        num_folds = min(_NUM_FOLDS, count) if count >= _MIN_FOR_GP else 0
        fold = torch.randperm(count, generator=torch.Generator().manual_seed(0)) % max(num_folds, 1)
        weights = torch.ones(num_folds + 1, count, device=device)
        for number in range(num_folds):
            weights[number, fold == number] = 0.0
        looked_at = torch.arange(min(count, _MAX_ADAPTED, max(2 * _MAX_NODE_PAIRS // pairs_each, 1)))
        part = SurrogateInputs(*(tensor[looked_at] for tensor in inputs.tensors()))
        initial, stateless = dict(self._surrogate.named_parameters()), self.stateless
        is_large = len(looked_at) * pairs_each > _MAX_NODE_PAIRS // 4

        def one(fold_weights: Tensor) -> dict[str, Tensor]:
            return dict(
                inner_loop(
                    stateless,
                    initial,
                    self._log_step_sizes,
                    part,
                    targets[looked_at],
                    fold_weights,
                    self._ranking_weight,
                )
            )

        def answered(parameters: dict[str, Tensor]) -> Tensor:
            mean: Tensor = functional_call(stateless, parameters, inputs.tensors())[0]
            return _believable(mean)

        with torch.no_grad():
            every = _finite_or(initial, vmap(one, chunk_size=1 if is_large else None)(weights[:, looked_at]))
            means = vmap(answered, chunk_size=1 if is_large or count > 2 * _MAX_ADAPTED else None)(every).cpu()
        last = {name: value[-1].clone() for name, value in every.items()}
        which = (
            torch.where(torch.arange(count) < len(looked_at), fold, num_folds) if num_folds else torch.zeros_like(fold)
        )
        return last, means.gather(0, which[None, :])[0]

    def widths(self, num_observations: int) -> float:
        """Factor on interval widths for that many observations, learned from tasks kept out of meta-training."""
        return self._widths.factor(num_observations)

    def restore(self, task: Task, space: SearchSpace, payload: bytes) -> AdaptedPredictor:
        """An adaptation from `AdaptedPredictor.to_bytes` of the same version.

        Raises:
            CheckpointError: if the payload is malformed or of another version.
        """
        tensors = checkpoint.from_bytes(payload)
        try:
            return self._restored(task, space, tensors)
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"expected an adaptation of version {self.version}, got {error!r}") from error

    def _restored(self, task: Task, space: SearchSpace, tensors: dict[str, Tensor]) -> AdaptedPredictor:
        header = json.loads(bytes(tensors["header"].tolist()).decode())
        if header["model_version"] != self.version:
            raise ValueError(f"version {header['model_version']}")
        surroundings = _Surroundings(
            task,
            space,
            Standardisation(**header["scale"]),
            header["location_spread"],
            SpaceReference(tensors["reference.mean"], tensors["reference.std"]),
            tensors["context"],
        )
        device = self._log_step_sizes.device
        parameters = {
            n.removeprefix("surrogate."): v.to(device) for n, v in tensors.items() if n.startswith("surrogate.")
        }
        process = None
        if "gp.raw" in tensors:
            views = tuple(tensors[f"gp.view.{number}"] for number in range(header["num_views"]))
            inputs = GPInputs(tensors["gp.mean"], views)
            process = ResidualGP(
                tensors["gp.raw"], inputs, tensors["gp.targets"], tensors["gp.noise_scale"], tensors["gp.view_scales"]
            )
        return AdaptedPredictor(
            self,
            surroundings,
            parameters,
            process,
            None,
            header["own_factor"],
            header["num_observations"],
            header["support_hash"],
        )


class AdaptedPredictor:
    """The surrogate after the inner loop for one task and one support set. Immutable; may be called from any thread."""

    def __init__(
        self,
        meta: MetaPredictor,
        surroundings: _Surroundings,
        parameters: dict[str, Tensor],
        process: ResidualGP | None,
        support: SupportSet | None,
        own: float,
        num_observations: int | None = None,
        support_hash: str | None = None,
    ) -> None:
        self._meta, self._around, self._process, self._own_factor = meta, surroundings, process, own
        self._parameters = parameters
        self._surrogate = FastSurrogate(parameters)
        self.task = surroundings.task
        self.model_version = meta.version
        self.num_observations = num_observations if num_observations is not None else len(support or ())
        self.support_hash = support_hash if support_hash is not None else (support or SupportSet()).hash

    def _forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        inputs = SurrogateInputs.of(batch, self._around.reference, self._around.context)
        device = self._meta.log_step_sizes.device
        mean, log_std, embedding = self._surrogate(*(tensor.to(device) for tensor in inputs.tensors()))
        return _believable(mean.cpu()), log_std.cpu(), embedding.cpu()

    def gp_inputs(self, architectures: Sequence[Architecture]) -> GPInputs:
        """Architectures as the residual process sees them."""
        with torch.no_grad():
            batch = self._meta.encoder.batch(architectures)
            mean, _, embedding = self._forward(batch)
        return self._gp_inputs(architectures, batch, mean, embedding)

    def _gp_inputs(
        self, architectures: Sequence[Architecture], batch: GraphBatch, mean: Tensor, embedding: Tensor
    ) -> GPInputs:
        decisions = torch.from_numpy(np.array([self._around.space.features(a) for a in architectures], np.float64))
        statistics = self._around.reference.standardised(batch.globals).double()
        return GPInputs(mean.double(), (embedding.double(), statistics, decisions.reshape(len(architectures), -1)))

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        """Forecasts in the task's metric unit, in the order of the architectures."""
        parts = [self._predict_chunk(chunk) for chunk in _chunks(architectures)]
        if not parts:
            empty = np.zeros(0)
            return Predictions(empty, empty, empty, empty, empty)
        return Predictions(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("mean", "std", "lower", "upper", "ood_score")
            )
        )

    def errors_in_std(self, architectures: Sequence[Architecture], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far measured values (Q,) lie from their forecasts, in predicted standard deviations of standardised units."""
        center, spread, _ = self._standardised(architectures)
        factor = self._own_factor * self._meta.widths(self.num_observations)
        return (self._around.scale.forward(values) - center) / (spread * factor)

    def log_std(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """Logarithm of the predicted standard deviations, standardised units."""
        _, spread, _ = self._standardised(architectures)
        return np.log(spread * self._own_factor * self._meta.widths(self.num_observations))

    def _predict_chunk(self, architectures: Sequence[Architecture]) -> Predictions:
        return self._in_unit(*self._standardised(architectures))

    def _standardised(
        self, architectures: Sequence[Architecture]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean, spread before calibration, out-of-distribution score: (Q,) each, standardised units."""
        with torch.inference_mode():
            batch = self._meta.encoder.batch(architectures)
            mean, log_std, embedding = self._forward(batch)
            if self._process is None:
                center, spread = mean.double(), log_std.exp().double()
            else:
                center, spread = self._process.predict(self._gp_inputs(architectures, batch, mean, embedding))
        ood = _ood_scores(batch, self._around.reference)
        widened = np.hypot(spread.numpy(), self._around.location_spread) * (1.0 + 2.0 * ood)
        return center.numpy(), widened, ood

    def _in_unit(
        self, center: NDArray[np.float64], spread: NDArray[np.float64], ood: NDArray[np.float64]
    ) -> Predictions:
        """Through the inverse of the standardisation: quantiles exactly, mean and spread by Gauss–Hermite quadrature."""
        scale, metric = self._around.scale, self.task.metric
        factor = self._own_factor * self._meta.widths(self.num_observations)
        std = spread * factor
        at = np.clip(center[:, None] + std[:, None] * _EXTREME_NODES, -_WITHIN, _WITHIN)
        values = metric.clipped(scale.inverse(at))  # (Q, nodes)
        weights = _EXTREME_WEIGHTS / _EXTREME_WEIGHTS.sum()
        average = values @ weights
        apart = values - average[:, None]
        largest = np.maximum(np.abs(apart).max(axis=1, initial=0.0), np.finfo(float).tiny)  # squares must not overflow
        deviation = largest * np.sqrt((apart / largest[:, None]) ** 2 @ weights)
        ends = [metric.clipped(scale.inverse(center + side * NORMAL_90 * std)) for side in (-1.0, 1.0)]
        lower, upper = np.minimum(*ends), np.maximum(*ends)
        return Predictions(np.clip(average, lower, upper), deviation, lower, upper, ood)

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:  # (Q, D)
        """The adapted surrogate's embedding: architectures that it takes for alike are near each other."""
        with torch.inference_mode():
            parts = [self._forward(self._meta.encoder.batch(chunk))[2] for chunk in _chunks(architectures)]
        return torch.cat(parts).numpy() if parts else np.zeros((0, 0), np.float32)

    def without_process(self) -> AdaptedPredictor:
        """The same adaptation without its residual process: the surrogate's own mean and spread, to compare with."""
        return AdaptedPredictor(
            self._meta, self._around, self._parameters, None, None, 1.0, self.num_observations, self.support_hash
        )

    def to_bytes(self) -> bytes:
        """Everything that `MetaPredictor.restore` needs, as safetensors."""
        header = {
            "model_version": self.model_version,
            "scale": asdict(self._around.scale),
            "location_spread": self._around.location_spread,
            "own_factor": self._own_factor,
            "num_observations": self.num_observations,
            "support_hash": self.support_hash,
            "num_views": len(self._process.support.views) if self._process else 0,
        }
        tensors = {f"surrogate.{name}": value for name, value in self._parameters.items()}
        tensors |= {
            "header": torch.tensor(list(json.dumps(header).encode()), dtype=torch.uint8),
            "reference.mean": self._around.reference.mean,
            "reference.std": self._around.reference.std,
            "context": self._around.context,
        }
        if self._process is not None:
            process = self._process
            tensors |= {f"gp.view.{number}": view for number, view in enumerate(process.support.views)}
            tensors |= {"gp.raw": process.raw, "gp.mean": process.support.mean, "gp.targets": process.targets}
            tensors |= {"gp.noise_scale": process.noise_scale, "gp.view_scales": process.view_scales}
        return checkpoint.to_bytes(tensors)


def _chunks(architectures: Sequence[Architecture]) -> Iterator[Sequence[Architecture]]:
    """Pieces small enough for one forward pass, in order."""
    start, most = 0, 0
    for place, architecture in enumerate(architectures):
        most = max(most, architecture.num_nodes)
        if place > start and (place - start + 1) * most > _MAX_NODES:
            yield architectures[start:place]
            start, most = place, architecture.num_nodes
    if start < len(architectures):
        yield architectures[start:]


def _believable(mean: Tensor) -> Tensor:
    """Means in standardised units, where the surrogate was asked about something too strange to answer for: bounded."""
    return mean.nan_to_num().clamp(-_FARTHEST, _FARTHEST)


def _finite_or(initial: Mapping[str, Tensor], adapted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The initial parameters in place of an adaptation that diverged; `adapted` leads with the folds."""
    stayed = torch.stack([value.flatten(1).isfinite().all(1) for value in adapted.values()]).all(0)
    return {
        name: torch.where(stayed.reshape(-1, *[1] * initial[name].dim()), value, initial[name])
        for name, value in adapted.items()
    }


def _ood_scores(batch: GraphBatch, reference: SpaceReference) -> NDArray[np.float64]:  # (Q,)
    """0 for architectures like those of the space, towards 1 the further their statistics lie outside or the more of
    their operations are of unknown kind."""
    z = reference.standardised(batch.globals)
    distance = z.square().mean(1).sqrt()
    known = batch.nodes[..., : len(KINDS)].sum((1, 2))
    unknown = 1.0 - known / batch.mask.sum(1).clamp(min=1.0)
    far = 1.0 - torch.exp(-((distance - 1.5).clamp(min=0.0)) / 1.0)
    return torch.maximum(far, unknown).clamp(0.0, 1.0).double().numpy()
