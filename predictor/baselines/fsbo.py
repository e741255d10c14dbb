"""A Gaussian process on learned features, meta-learned over source tasks and fine-tuned on the task: Wistuba & Grabocka,
"Few-Shot Bayesian Optimization with Deep Kernel Surrogates" (FSBO), ICLR 2021.

Notation: S observations, Q asked, F inputs, H width, L latent features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.architecture import Architecture
from predictor.baselines.features import Features
from predictor.baselines.sources import (
    Episodes,
    NetworkInputs,
    ReportProgress,
    chosen_sources,
    no_progress,
    priors_of,
)
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]
Parameters = Mapping[str, Tensor]
_LEAST_NOISE = 1e-4
_MAX_FINE_TUNED = 400  # observations that parameters are fine-tuned on


@dataclass(frozen=True)
class FSBOConfig:
    """Size, meta-training and fine-tuning."""

    width: int = 64
    num_latent: int = 16
    num_steps: int = 3_000
    episodes_per_step: int = 4
    observations_per_episode: int = 48
    step_size: float = 1e-3
    num_fine_tuning_steps: int = 50
    fine_tuning_step_size: float = 1e-3


class FSBO(StandardisedBaseline):
    """Zero mean; a squared-exponential kernel on the output of a small neural network."""

    name = "fsbo"
    max_observations = 2_000

    def __init__(self, parameters: Parameters, inputs: NetworkInputs, config: FSBOConfig) -> None:
        self._parameters, self._inputs, self._config = parameters, inputs, config

    @classmethod
    def meta_trained(
        cls,
        sources: Sequence[MeasuredTask],
        seed: int = 0,
        on_progress: ReportProgress = no_progress,
        features: Features | None = None,
        config: FSBOConfig = FSBOConfig(),
    ) -> FSBO:
        """Learns from source tasks; the one asked about must not be among them."""
        chosen = chosen_sources(sources, seed)
        inputs = NetworkInputs.of(chosen, features or Features())
        parameters = _meta_trained(Episodes(chosen, inputs), seed, on_progress, config)
        trained = cls(parameters, inputs, config)
        trained.priors = priors_of(chosen)
        return trained

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        reference = self._inputs.features.reference(space, support.architectures)

        def inputs(architectures: Sequence[Architecture]) -> Tensor:
            return self._inputs(task, space, reference, architectures)

        known, targets = inputs(support.architectures), torch.from_numpy(goodness)
        tuned = _fine_tuned(self._parameters, known[:_MAX_FINE_TUNED], targets[:_MAX_FINE_TUNED], self._config)
        posterior = _Posterior.of(tuned, known, targets)
        return lambda architectures: posterior.predict(inputs(architectures))


def _initial(num_inputs: int, seed: int, config: FSBOConfig) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((num_inputs, config.width), (config.width, config.width), (config.width, config.num_latent))
    parameters = {"log_amplitude": torch.zeros((), dtype=torch.float64), "log_noise": torch.tensor(-1.0).double()}
    for number, (into, out) in enumerate(sizes):
        drawn = torch.randn(into, out, generator=generator, dtype=torch.float64)
        parameters[f"weight_{number}"] = drawn * (1.0 / max(into, 1)) ** 0.5
        parameters[f"bias_{number}"] = torch.zeros(out, dtype=torch.float64)
    return parameters


def _latent(parameters: Parameters, inputs: Tensor) -> Tensor:  # (..., F) -> (..., L)
    hidden = torch.relu(inputs @ parameters["weight_0"] + parameters["bias_0"])
    hidden = torch.relu(hidden @ parameters["weight_1"] + parameters["bias_1"])
    return hidden @ parameters["weight_2"] + parameters["bias_2"]


def _kernel(parameters: Parameters, first: Tensor, second: Tensor) -> Tensor:  # (..., S, L), (..., Q, L) -> (..., S, Q)
    squared = first.square().sum(-1)[..., :, None] + second.square().sum(-1)[..., None, :]
    distance = (squared - 2.0 * first @ second.transpose(-1, -2)).clamp(min=0.0)
    return parameters["log_amplitude"].exp() * torch.exp(-0.5 * distance)


def _noisy(parameters: Parameters, latent: Tensor) -> Tensor:  # (..., S, L) -> (..., S, S)
    noise = parameters["log_noise"].exp() + _LEAST_NOISE
    return _kernel(parameters, latent, latent) + noise * torch.eye(latent.shape[-2], dtype=latent.dtype)


def _negative_evidence(parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
    """Per observation, less its constant; inputs (..., S, F), targets (..., S)."""
    factor = torch.linalg.cholesky(_noisy(parameters, _latent(parameters, inputs)))
    half = torch.linalg.solve_triangular(factor, targets[..., None], upper=False)
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    negative: Tensor = ((0.5 * half.square().sum((-2, -1)) + log_determinant) / targets.shape[-1]).mean()
    return negative


def _meta_trained(
    episodes: Episodes, seed: int, on_progress: ReportProgress, config: FSBOConfig
) -> Mapping[str, Tensor]:
    rng = np.random.default_rng(seed)
    parameters = {k: v.requires_grad_() for k, v in _initial(episodes.num_inputs, seed, config).items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=config.step_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(config.num_steps, 1))
    for step in range(config.num_steps):
        drawn = [episodes.draw(config.observations_per_episode, 0, rng)[0] for _ in range(config.episodes_per_step)]
        optimizer.zero_grad()
        loss = _negative_evidence(
            parameters, torch.stack([one.inputs for one in drawn]), torch.stack([one.targets for one in drawn])
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_progress((step + 1) / config.num_steps)
    return {name: value.detach() for name, value in parameters.items()}


def _fine_tuned(parameters: Parameters, inputs: Tensor, targets: Tensor, config: FSBOConfig) -> Parameters:
    tuned = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    optimizer = torch.optim.Adam(tuned.values(), lr=config.fine_tuning_step_size)
    for _ in range(config.num_fine_tuning_steps):
        optimizer.zero_grad()
        _negative_evidence(tuned, inputs, targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.detach() for name, value in tuned.items()}


@dataclass(frozen=True)
class _Posterior:
    parameters: Parameters
    latent: Tensor  # (S, L)
    factor: Tensor  # (S, S)
    weights: Tensor  # (S, 1)

    @classmethod
    def of(cls, parameters: Parameters, inputs: Tensor, targets: Tensor) -> _Posterior:
        latent = _latent(parameters, inputs)
        factor = torch.linalg.cholesky(_noisy(parameters, latent))
        return cls(parameters, latent, factor, torch.cholesky_solve(targets[:, None], factor))

    def predict(self, inputs: Tensor) -> tuple[Array, Array]:  # (Q, F) -> (Q,), (Q,)
        across = _kernel(self.parameters, self.latent, _latent(self.parameters, inputs))  # (S, Q)
        explained = torch.linalg.solve_triangular(self.factor, across, upper=False).square().sum(0)
        amplitude, noise = self.parameters["log_amplitude"].exp(), self.parameters["log_noise"].exp()
        variance = (amplitude - explained).clamp(min=0.0) + noise
        return (across.T @ self.weights)[:, 0].numpy(), variance.sqrt().numpy()
