"""The outer loop: learns where the inner loop starts and how far it steps, over episodes of many tasks.

Two engines compute the same gradients: `batched` runs all episodes of a meta-batch at once (torch.func, vmap over tasks),
`learn2learn` one after the other with learn2learn's MAML. `docs/quality.md` has the ratio of their speeds.

Notation: K inner steps, P parameter tensors, T tasks, S support and Q query architectures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from predictor.meta.episodes import EpisodeBatch, EpisodeSampler, without_features
from predictor.meta.inner_loop import (
    InnerLoopConfig,
    Parameters,
    adaptation_loss,
    initial_log_step_sizes,
    inner_loop,
)
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig, SurrogateInputs

Engine = Literal["batched", "learn2learn"]


@dataclass(frozen=True)
class OuterLoopConfig:
    """Length and pace of meta-training."""

    num_steps: int = 4000
    learning_rate: float = 1.5e-3
    step_size_learning_rate: float = 1e-2
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    gradient_limit: float = 1.0
    zero_shot_weight: float = 0.3
    feature_dropout: float = 0.1  # share of features that an episode does not see
    average_decay: float = 0.998  # of the moving average of parameters that is kept as the result
    inner: InnerLoopConfig = field(default_factory=InnerLoopConfig)


@dataclass
class MetaLearnerState:
    """What the outer loop learns: initial parameters and step sizes, and their moving averages."""

    surrogate: Surrogate
    log_step_sizes: Tensor  # (K, P)
    averages: dict[str, Tensor]

    @classmethod
    def fresh(cls, config: SurrogateConfig, inner: InnerLoopConfig, seed: int) -> MetaLearnerState:
        """Random initial parameters."""
        with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
            torch.manual_seed(seed)
            surrogate = Surrogate(config)
        return cls.starting_from(surrogate, initial_log_step_sizes(surrogate, inner))

    @classmethod
    def starting_from(cls, surrogate: Surrogate, log_step_sizes: Tensor) -> MetaLearnerState:
        """Continues from given parameters; the surrogate is trained in place."""
        state = cls(surrogate, log_step_sizes.clone().requires_grad_(), {})
        state.averages = {name: value.detach().clone() for name, value in state.named()}
        return state

    def named(self) -> list[tuple[str, Tensor]]:
        """Everything that is learned, by name."""
        return [*self.surrogate.named_parameters(), ("log_step_sizes", self.log_step_sizes)]

    def update_averages(self, decay: float) -> None:
        """Moves the averages towards the present values."""
        for name, value in self.named():
            average = self.averages[name]
            average.lerp_(value.detach().to(average.device), 1.0 - decay)


class InnerEngine(Protocol):
    """Mean and log standard deviation of the query sets after adaptation, for all episodes: (T, Q) each."""

    def __call__(
        self, surrogate: Surrogate, log_step_sizes: Tensor, batch: EpisodeBatch, ranking_weight: float
    ) -> tuple[Tensor, Tensor]: ...


def batched_engine(
    surrogate: Surrogate, log_step_sizes: Tensor, batch: EpisodeBatch, ranking_weight: float
) -> tuple[Tensor, Tensor]:
    """All episodes at once."""
    parameters: Parameters = dict(surrogate.named_parameters())

    def one(support: tuple[Tensor, ...], targets: Tensor, query: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        weights = torch.ones_like(targets)
        inputs = SurrogateInputs(*support)
        adapted = inner_loop(surrogate, parameters, log_step_sizes, inputs, targets, weights, ranking_weight)
        mean, log_std, _ = functional_call(surrogate, dict(adapted), query)
        return mean, log_std

    return vmap(one)(batch.support.tensors(), batch.support_targets, batch.query.tensors())


def learn2learn_engine() -> InnerEngine:
    """One episode after the other through learn2learn, which is imported here and nowhere else in the library."""
    from predictor.meta.learn2learn_loop import adapted_surrogate  # seconds to import: only meta-training pays

    def engine(
        surrogate: Surrogate, log_step_sizes: Tensor, batch: EpisodeBatch, ranking_weight: float
    ) -> tuple[Tensor, Tensor]:
        answers = []
        for number in range(len(batch)):
            support = SurrogateInputs(*(tensor[number] for tensor in batch.support.tensors()))
            targets = batch.support_targets[number]
            adapted = adapted_surrogate(
                surrogate, log_step_sizes, support, targets, torch.ones_like(targets), ranking_weight
            )
            answers.append(adapted(*(tensor[number] for tensor in batch.query.tensors()))[:2])
        means, log_stds = zip(*answers, strict=True)
        return torch.stack(means), torch.stack(log_stds)

    return engine


def inner_engine(name: Engine) -> InnerEngine:
    """The engine of that name."""
    return learn2learn_engine() if name == "learn2learn" else batched_engine


def batch_loss(
    surrogate: Surrogate, log_step_sizes: Tensor, batch: EpisodeBatch, config: OuterLoopConfig, engine: InnerEngine
) -> tuple[Tensor, Tensor]:
    """(loss to descend, its part after adaptation), both averaged over episodes."""
    mean, log_std = engine(surrogate, log_step_sizes, batch, config.inner.ranking_weight)
    adapted = _query_loss(mean, log_std, batch.query_targets, config)
    if config.zero_shot_weight == 0.0:
        return adapted, adapted.detach()
    flat = SurrogateInputs(*(tensor.flatten(0, 1) for tensor in batch.zero_shot_query.tensors()))
    mean, log_std, _ = surrogate(*flat.tensors())
    shape = batch.query_targets.shape
    unadapted = _query_loss(mean.reshape(shape), log_std.reshape(shape), batch.query_targets, config)
    return adapted + config.zero_shot_weight * unadapted, adapted.detach()


def _query_loss(mean: Tensor, log_std: Tensor, targets: Tensor, config: OuterLoopConfig) -> Tensor:
    weights = torch.ones_like(targets)

    def one(m: Tensor, s: Tensor, t: Tensor, w: Tensor) -> Tensor:
        return adaptation_loss(m, s, t, w, config.inner.ranking_weight)

    losses = vmap(one)(mean, log_std, targets, weights)  # (T,)
    return losses.clamp(max=10.0).mean()  # one hopeless episode does not steer the step


class OuterLoop:
    """Meta-training that can stop after any step and go on from `state_dict`."""

    def __init__(self, state: MetaLearnerState, sampler: EpisodeSampler, config: OuterLoopConfig, seed: int) -> None:
        self.state, self.config, self.step = state, config, 0
        self._sampler = sampler
        self._rng = np.random.default_rng(seed)
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(state.surrogate.parameters()), "lr": config.learning_rate},
                {"params": [state.log_step_sizes], "lr": config.step_size_learning_rate, "weight_decay": 0.0},
            ],
            weight_decay=config.weight_decay,
        )
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]

    def run(self, until_step: int, engine: InnerEngine, on_step: Callable[[int, float], bool]) -> None:
        """Steps until `until_step`; after each, `on_step(step, loss)` may end it by returning False."""
        device = next(self.state.surrogate.parameters()).device
        while self.step < until_step:
            batch = without_features(self._sampler.sample(self._rng), self.config.feature_dropout, self._rng).to(device)
            loss = self._descend(batch, engine)
            self.step += 1
            if not on_step(self.step, loss):
                return

    def _descend(self, batch: EpisodeBatch, engine: InnerEngine) -> float:
        for group, base in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = base * self._pace()
        self._optimizer.zero_grad()
        loss, adapted = batch_loss(self.state.surrogate, self.state.log_step_sizes, batch, self.config, engine)
        if torch.isfinite(loss):
            loss.backward()  # type: ignore[no-untyped-call]
            learned = [value for _, value in self.state.named()]
            norm = torch.nn.utils.clip_grad_norm_(learned, self.config.gradient_limit)
            if torch.isfinite(norm):  # a finite loss can have a gradient that is not
                self._optimizer.step()
                self.state.update_averages(min(self.config.average_decay, (1 + self.step) / (10 + self.step)))
        return float(adapted)

    def _pace(self) -> float:
        """Linear warm-up, then a cosine down to a fiftieth."""
        warmup = min(1.0, (self.step + 1) / max(self.config.warmup_steps, 1))
        done = min(1.0, self.step / max(self.config.num_steps, 1))
        return warmup * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))

    def tensors(self) -> dict[str, Tensor]:
        """Everything needed to go on later, as plain tensors (for safetensors)."""
        saved = {f"value.{name}": value.detach() for name, value in self.state.named()}
        saved |= {f"average.{name}": value for name, value in self.state.averages.items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            saved |= {f"optimizer.{number}.{key}": torch.as_tensor(value) for key, value in moments.items()}
        saved["step"] = torch.tensor(self.step)
        saved["rng"] = torch.tensor(list(json.dumps(self._rng.bit_generator.state).encode()), dtype=torch.uint8)
        return {name: value.contiguous().clone() for name, value in saved.items()}

    def load_tensors(self, saved: dict[str, Tensor]) -> None:
        """Goes on from what `tensors` returned, with the episodes that would have come next; where what was saved does not say
        which (as none did once), their order from here on depends on the step."""
        with torch.no_grad():
            for name, value in self.state.named():
                value.copy_(saved[f"value.{name}"])
                self.state.averages[name].copy_(saved[f"average.{name}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in saved.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".")
                moments.setdefault(int(number), {})[key] = value
        if moments:
            state = self._optimizer.state_dict()
            self._optimizer.load_state_dict({"state": moments, "param_groups": state["param_groups"]})
        self.step = int(saved["step"])
        self._rng = np.random.default_rng([self.step, 1])
        if "rng" in saved:
            self._rng.bit_generator.state = json.loads(bytes(saved["rng"].tolist()))
