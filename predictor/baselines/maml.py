"""Gradient-based meta-learners with a small neural network on fixed inputs, through torch.func.

MAML: Finn et al., "Model-Agnostic Meta-Learning", ICML 2017. Meta-SGD: Li et al., 2017 (a learned step size for every
parameter). ANIL: Raghu et al., "Rapid Learning or Feature Reuse?", ICLR 2020 (only the last layer adapts).

Notation: T episodes, S support and Q query architectures, F inputs, K folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, vmap

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
from predictor.baselines.standardised import Forecaster, StandardisedBaseline, residual_std
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]
Parameters = Mapping[str, Tensor]
_NUM_FOLDS = 4
_LAST_LAYER = frozenset({"weight_2", "bias_2"})


@dataclass(frozen=True)
class MAMLConfig:
    """Which of the three, its size and its two loops."""

    name: str
    learns_step_sizes: bool = False
    adapts_last_layer_only: bool = False
    width: int = 64
    num_inner_steps: int = 5
    num_steps_when_asked: int = 10
    inner_step_size: float = 0.05
    num_outer_steps: int = 3_000
    outer_step_size: float = 1e-3
    episodes_per_step: int = 8
    min_support: int = 5
    max_support: int = 50
    num_query: int = 48


MAML = MAMLConfig("maml")
META_SGD = MAMLConfig("meta_sgd", learns_step_sizes=True, num_steps_when_asked=5)
ANIL = MAMLConfig("anil", adapts_last_layer_only=True)


class MetaLearnedNetwork(StandardisedBaseline):
    """The initial parameters, and the step sizes that they were learned with."""

    min_observations = 0

    def __init__(
        self, parameters: Parameters, log_steps: Parameters, inputs: NetworkInputs, config: MAMLConfig
    ) -> None:
        self.name = config.name
        self._parameters, self._log_steps, self._inputs, self._config = parameters, log_steps, inputs, config

    @classmethod
    def meta_trained(
        cls,
        sources: Sequence[MeasuredTask],
        seed: int = 0,
        on_progress: ReportProgress = no_progress,
        features: Features | None = None,
        config: MAMLConfig = MAML,
    ) -> MetaLearnedNetwork:
        """Learns from source tasks; the one asked about must not be among them."""
        chosen = chosen_sources(sources, seed)
        inputs = NetworkInputs.of(chosen, features or Features())
        trained = cls(*_meta_trained(Episodes(chosen, inputs), seed, on_progress, config), inputs, config)
        trained.priors = priors_of(chosen)
        return trained

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        reference = self._inputs.features.reference(space, support.architectures)

        def inputs(architectures: Sequence[Architecture]) -> Tensor:
            return self._inputs(task, space, reference, architectures).float()

        adapted, errors = self._adapted(inputs(support.architectures), torch.from_numpy(goodness).float())
        spread = residual_std(errors)

        def forecast(architectures: Sequence[Architecture]) -> tuple[Array, Array]:
            with torch.no_grad():
                mean = _forward(adapted, inputs(architectures)).double().numpy()
            return mean, np.full(len(mean), spread)

        return forecast

    def _adapted(self, inputs: Tensor, targets: Tensor) -> tuple[Parameters, Array]:
        """Parameters after the inner loop on everything, and for each observation the error of a loop that left it out."""
        if not len(targets):
            return self._parameters, np.zeros(0)
        fold = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0)) % _NUM_FOLDS
        weights = (torch.arange(_NUM_FOLDS + 1)[:, None] != fold[None, :]).float()  # the last fold leaves nothing out
        num_steps = self._config.num_steps_when_asked

        def one(weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
            adapted = _inner_loop(self._parameters, self._log_steps, inputs, targets, weight, num_steps)
            return adapted, _forward(adapted, inputs)

        with torch.no_grad():
            every, means = vmap(one)(weights)  # (K + 1, …), (K + 1, S)
        errors = targets - means[fold, torch.arange(len(targets))]
        return {name: value[-1] for name, value in every.items()}, errors.double().numpy()


def _forward(parameters: Parameters, inputs: Tensor) -> Tensor:  # (S, F) -> (S,)
    hidden = torch.nn.functional.silu(inputs @ parameters["weight_0"] + parameters["bias_0"])
    hidden = torch.nn.functional.silu(hidden @ parameters["weight_1"] + parameters["bias_1"])
    return (hidden @ parameters["weight_2"] + parameters["bias_2"])[:, 0]


def _inner_loop(
    parameters: Parameters, log_steps: Parameters, inputs: Tensor, targets: Tensor, weights: Tensor, num_steps: int
) -> dict[str, Tensor]:
    """Gradient steps on the weighted squared error; only parameters that have a step size move."""

    def loss(moving: dict[str, Tensor], staying: dict[str, Tensor]) -> Tensor:
        squared = (_forward({**staying, **moving}, inputs) - targets).square()
        return (weights * squared).sum() / weights.sum().clamp(min=1.0)

    moving = {name: parameters[name] for name in log_steps}
    staying = {name: value for name, value in parameters.items() if name not in log_steps}
    for _ in range(num_steps):
        gradients = grad(loss)(moving, staying)
        moving = {name: value - log_steps[name].exp() * gradients[name] for name, value in moving.items()}
    return {**staying, **moving}


def _initial(num_inputs: int, seed: int, config: MAMLConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    parameters: dict[str, Tensor] = {}
    for number, (into, out) in enumerate(((num_inputs, config.width), (config.width, config.width), (config.width, 1))):
        parameters[f"weight_{number}"] = torch.randn(into, out, generator=generator) * (1.0 / max(into, 1)) ** 0.5
        parameters[f"bias_{number}"] = torch.zeros(out)
    start = torch.tensor(config.inner_step_size).log()
    moving = [name for name in parameters if name in _LAST_LAYER or not config.adapts_last_layer_only]
    shapes = {name: parameters[name].shape if config.learns_step_sizes else torch.Size() for name in moving}
    return parameters, {name: start.expand(shape).clone() for name, shape in shapes.items()}


def _meta_trained(
    episodes: Episodes, seed: int, on_progress: ReportProgress, config: MAMLConfig
) -> tuple[Parameters, Parameters]:
    rng = np.random.default_rng(seed)
    parameters, log_steps = _initial(episodes.num_inputs, seed, config)
    learned = [*parameters.values(), *(log_steps.values() if config.learns_step_sizes else ())]
    optimizer = torch.optim.Adam([one.requires_grad_() for one in learned], lr=config.outer_step_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(config.num_outer_steps, 1))

    def episode_loss(inputs: Tensor, targets: Tensor, asked: Tensor, truth: Tensor) -> Tensor:
        weights = torch.ones_like(targets)
        adapted = _inner_loop(parameters, log_steps, inputs, targets, weights, config.num_inner_steps)
        return torch.nn.functional.smooth_l1_loss(_forward(adapted, asked), truth)

    for step in range(config.num_outer_steps):
        optimizer.zero_grad()
        vmap(episode_loss)(*_drawn(episodes, config, rng)).mean().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 5.0)
        optimizer.step()
        schedule.step()
        on_progress((step + 1) / config.num_outer_steps)
    return (
        {name: value.detach() for name, value in parameters.items()},
        {name: value.detach() for name, value in log_steps.items()},
    )


def _drawn(
    episodes: Episodes, config: MAMLConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # (T, S, F), (T, S), (T, Q, F), (T, Q)
    low, high = np.log(config.min_support), np.log(config.max_support + 1)
    num_support = int(np.exp(rng.uniform(low, high)))
    drawn = [episodes.draw(num_support, config.num_query, rng) for _ in range(config.episodes_per_step)]
    return (
        torch.stack([known.inputs for known, _ in drawn]).float(),
        torch.stack([known.targets for known, _ in drawn]).float(),
        torch.stack([asked.inputs for _, asked in drawn]).float(),
        torch.stack([asked.targets for _, asked in drawn]).float(),
    )
