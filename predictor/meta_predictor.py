"""MetaPredictor.adapt(support) -> AdaptedPredictor.predict(architectures): the library's main job.

A `MetaPredictor` is one model version: meta-learned initial parameters, step sizes, priors and calibration. `adapt` runs the
inner loop on a support set and fits the residual process; the result forecasts in the task's metric unit.

Notation: S support architectures, Q asked ones, D embedding width, P parameter tensors.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
import torch
from torch import Tensor

from predictor import checkpoint
from predictor.adaptation_parts import EVERYTHING, Parts
from predictor.adapted_predictor import DECISIONS, AdaptedPredictor, Experience, Surroundings
from predictor.architecture import Architecture
from predictor.calibration import Widths
from predictor.encoding import ArchitectureEncoder, GraphBatch, SpaceReference
from predictor.errors import CheckpointError
from predictor.meta.cross_fitting import MIN_FOR_FOLDS, cross_fitted
from predictor.meta.episodes import space_reference
from predictor.meta.inner_loop import InnerLoopConfig
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.hyperparameters import GPInputs
from predictor.surrogate.process_fitting import Learned, process_of, process_with_forests
from predictor.surrogate.related_tasks import RelatedTasks, are_related, is_cost
from predictor.surrogate.residual_gp import MAX_OBSERVATIONS, ResidualGP
from predictor.surrogate.standardisation import UNKNOWN_PRIOR, ScalePrior, Standardisation
from predictor.surrogate.support_forests import MIN_FOR_FORESTS
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig, SurrogateInputs, task_context
from predictor.surrogate.universal_mean import UniversalMean
from predictor.tasks import MeasuredTask, SupportSet, Task

_MIN_FOR_CHOICE = 40
"""Observations from which on they tell whether related tasks help at all."""

_MOST_FOR_CHOICE = 200
"""Observations that are asked: more tell no more, and take longer."""

_REFERENCE, _UNIVERSAL = "reference.", "universal."
"""What names of tensors in a checkpoint begin with."""

_TRUSTED = 0.35
"""Share of related tasks, before anything was measured, beyond which they are trusted: half of the most. Then they speak in place of the
universal mean, and widths of intervals are those of tasks that were heard with relatives."""


class MetaPredictor:
    """Meta-learned initial parameters. Immutable; may be called from any thread."""

    def __init__(
        self,
        surrogate: Surrogate,
        log_step_sizes: Tensor,
        default_reference: SpaceReference,
        manifest: Mapping[str, Any],
        universal: UniversalMean | None = None,
    ) -> None:
        """From parts; the surrogate is owned from here on and must not be trained further."""
        self._surrogate = surrogate.eval().requires_grad_(False)
        self._log_step_sizes = log_step_sizes.detach()
        self._default_reference = default_reference
        self._universal = universal or UniversalMean({})
        self.manifest = manifest
        self._weights = checkpoint.to_bytes(self._tensors())
        self.version = checkpoint.version_of(self._weights)
        self._ranking_weight = float(manifest["inner"]["ranking_weight"])
        self._widths = Widths.from_manifest(manifest)
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
        if not cls.reads(manifest):
            expected = checkpoint.encoding_fingerprint()
            raise CheckpointError(f"expected weights for the encoding {expected}, got {manifest.get('encoding')}")
        tensors = checkpoint.from_bytes(weights)
        try:
            surrogate = Surrogate(SurrogateConfig(EncoderConfig(**manifest["surrogate"])))
            parameters = {n.removeprefix("surrogate."): v for n, v in tensors.items() if n.startswith("surrogate.")}
            surrogate.load_state_dict(parameters)
            reference = SpaceReference.from_tensors(tensors, _REFERENCE)
            steps = tensors["log_step_sizes"]
            if steps.dim() != 2 or steps.shape[1] != len(parameters):
                raise ValueError(f"step sizes (K, {len(parameters)}) expected, got {tuple(steps.shape)}")
            means = {n.removeprefix(_UNIVERSAL): v for n, v in tensors.items() if n.startswith(_UNIVERSAL)}
            universal = UniversalMean.from_tensors(means)
            return cls(surrogate.to(device), steps.to(device), reference, manifest, universal)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"expected weights and a manifest that fit each other, got {type(error).__name__}: {error}"
            ) from error

    @staticmethod
    def reads(manifest: Mapping[str, Any]) -> bool:
        """Whether a version of that manifest was made for the encoding that this program has; others have to be trained anew."""
        return bool(manifest.get("encoding") == checkpoint.encoding_fingerprint())

    def _tensors(self) -> dict[str, Tensor]:
        named = {f"surrogate.{name}": value for name, value in self._surrogate.named_parameters()}
        universal = {f"{_UNIVERSAL}{name}": value for name, value in self._universal.tensors().items()}
        reference = self._default_reference.tensors(_REFERENCE)
        return named | {"log_step_sizes": self._log_step_sizes} | reference | universal

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
    def universal(self) -> UniversalMean:
        """What it knows of all search spaces alike; of no metric family where it learned none."""
        return self._universal

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

    def related(self, task: Task, space: SearchSpace, others: Sequence[MeasuredTask]) -> RelatedTasks | None:
        """What those of the other tasks that are related to this one say of its space; None if none has measured enough."""
        chosen = [one for one in others if are_related(task, one.task)]
        surroundings = self._surroundings(task, space, SupportSet(), self.reference_of(space))
        return RelatedTasks.of(chosen, surroundings.views, task)

    def adapt(
        self,
        task: Task,
        space: SearchSpace,
        support: SupportSet,
        related: RelatedTasks | None = None,
        parts: Parts = EVERYTHING,
    ) -> AdaptedPredictor:
        """Inner loop and residual process on the support set, which may be empty; `related` from the method of that name. Forests
        are grown where quality is forecast: costs are sums, which trees tell badly. Related tasks are heard unless there are enough
        observations to tell that these are foretold better without; forests take no part in that choice.

        Known errors of observations (`SupportSet.std_errors`) count in the residual process, and in which observations the
        widths of intervals are judged by. The inner loop takes all observations alike, so that fewer than the process needs
        are answered as if no error had been told, and so does the standardisation.
        """
        reference = self.reference_of(space, support.architectures)
        alone = self._surroundings(task, space, support, reference, parts.warp)
        alone = alone if parts.universal_mean else replace(alone, universal=None)
        surroundings = alone if related is None else _with_related(alone, related)
        if len(support) == 0:
            experience = Experience(0, support.hash)  # how much tasks differ is known from those trained on
            return AdaptedPredictor(surroundings, dict(self._surrogate.named_parameters()), None, experience)
        widths = self._widths.table(
            has_related=related is not None and is_trusted(related), is_cost=is_cost(task.metric)
        )
        experience = Experience(len(support), support.hash, widths.factor(len(support)))
        held = support.select(range(min(len(support), MAX_OBSERVATIONS)))
        targets = torch.from_numpy(surroundings.scale.forward(held.targets)).float()
        batch = self.encoder.batch(held.architectures)
        asked = SurrogateInputs.of(batch, surroundings.reference, surroundings.context)
        initial = dict(self._surrogate.named_parameters())
        parameters, left_out_mean = cross_fitted(
            self.stateless, initial, parts.steps(self._log_step_sizes), asked, targets, self._ranking_weight
        )
        adapted = AdaptedPredictor(surroundings, parameters, None, experience)
        if len(support) < MIN_FOR_FOLDS:
            return adapted
        errors = surroundings.scale.forward_errors(held.targets, np.array(held.std_errors))
        noise = torch.tensor(held.counts).double(), torch.from_numpy(errors).square()
        learned = Learned(targets.double(), *noise)

        def started(adapted: AdaptedPredictor, related: RelatedTasks | None) -> _Started:
            return _Started(adapted, held, left_out_mean, related, learned, parts)

        start = started(adapted, related)
        if related is not None and len(support) >= _MIN_FOR_CHOICE:
            experience = replace(experience, width_factor=self._widths.alone.factor(len(support)))
            unheard = started(AdaptedPredictor(alone, parameters, None, experience), None)
            start = max(start, unheard, key=lambda one: one.leave_one_out_log_density)
        grows = parts.forests and len(support) >= MIN_FOR_FORESTS and not is_cost(task.metric)
        return start.with_forests(batch) if grows else start.with_process()

    def _surroundings(
        self, task: Task, space: SearchSpace, support: SupportSet, reference: SpaceReference, warped: bool = True
    ) -> Surroundings:
        family = task.metric.family
        prior = self._priors[family].in_unit_of(task.metric) if family in self._priors else UNKNOWN_PRIOR
        scale = (Standardisation.warped if warped else Standardisation.fit)(task, support.targets, prior)
        return self._around(task, space, scale, reference, task_context(task, len(support)))

    def _around(
        self,
        task: Task,
        space: SearchSpace,
        scale: Standardisation,
        reference: SpaceReference,
        context: Tensor,
    ) -> Surroundings:
        shared = self._default_reference if space.is_open else reference
        return Surroundings(
            task, space, scale, reference, shared, context, self.encoder, self.version,
            self._log_step_sizes.device, universal=self._universal.of(task.metric.told_as),
        )  # fmt: skip

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
        scale, reference = Standardisation.from_json(header["scale"]), SpaceReference.from_tensors(tensors, _REFERENCE)
        surroundings = self._around(task, space, scale, reference, tensors["context"])
        named = {n.removeprefix("related."): v for n, v in tensors.items() if n.startswith("related.")}
        surroundings = replace(surroundings, related=RelatedTasks.from_tensors(named) if named else None)
        if not header.get("hears_universal_mean", False):  # kept ones of before there was any say nothing
            surroundings = replace(surroundings, universal=None)
        return AdaptedPredictor.restored(surroundings, header, tensors)


@dataclass(frozen=True)
class _Started:
    """An adaptation that lacks its process."""

    adapted: AdaptedPredictor
    held: SupportSet
    left_out_mean: Tensor  # (S,) the surrogate's, of observations that it did not see
    related: RelatedTasks | None
    learned: Learned
    parts: Parts

    @cached_property
    def seen(self) -> GPInputs:
        """The support set as the residual process sees it."""
        inputs = self.adapted.gp_inputs(self.held.architectures)
        inputs.means[:, 0] = self.left_out_mean  # the other opinions never saw these observations
        return inputs

    @cached_property
    def process(self) -> ResidualGP:
        """Without forests."""
        seen, own_shares = self.parts.seen(self.seen), self._around.own_shares
        return process_of(self.adapted.task, seen, self.learned, self.related, own_shares)

    @property
    def leave_one_out_log_density(self) -> float:
        """Of that process, or where there are many observations of one on some of them."""
        count = len(self.learned.targets)
        if count <= _MOST_FOR_CHOICE:
            return self.process.leave_one_out_log_density
        rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:_MOST_FOR_CHOICE]
        held, left_out_mean = self.held.select(rows.tolist()), self.left_out_mean[rows]
        some = replace(self, held=held, left_out_mean=left_out_mean, learned=self.learned.select(rows))
        return some.process.leave_one_out_log_density

    def with_process(self) -> AdaptedPredictor:
        """The adaptation with it."""
        return self.adapted.with_process(self.process)

    def with_forests(self, batch: GraphBatch) -> AdaptedPredictor:
        """The adaptation with a process that starts from a forest's opinion, too; from the support set's graphs."""
        decisions = self.seen.views[DECISIONS]
        rows = self.parts.shown(self._around.forest_rows(batch, decisions, self.seen.means), decisions.shape[1])
        seen, own_shares = self.parts.seen(self.seen), self._around.own_shares
        found = process_with_forests(self.adapted.task, seen, rows, self.learned, self.related, own_shares)
        return self.adapted.with_process(*found)

    @property
    def _around(self) -> Surroundings:
        return self.adapted.insides.surroundings


def _with_related(alone: Surroundings, related: RelatedTasks) -> Surroundings:
    """Related tasks that are trusted know this very space: beside them the universal mean takes no part."""
    return replace(alone, related=related, universal=None if is_trusted(related) else alone.universal)


def is_trusted(related: RelatedTasks) -> bool:
    """Whether related tasks can be relied on before anything was measured."""
    return related.share > _TRUSTED
