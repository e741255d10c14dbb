"""An ensemble of small neural networks on the path encoding: White et al., "BANANAS: Bayesian Optimization with Neural
Architectures for Neural Architecture Search", AAAI 2021.

A path is the sequence of operations on a way from input to output. The encoding says for each of the most frequent paths of
the space whether an architecture has it. Where architectures are chains of one path it would say nothing, and decisions
stand in.

Notation: E networks, S support architectures, Q asked ones, F inputs, H width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.architecture import Architecture
from predictor.baselines.features import Features
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task

Array = NDArray[np.float64]
Path = tuple[str, ...]

_MAX_PATHS = 512  # of one architecture that are looked at
_NUM_DRAWN = 512  # architectures of the space that say which paths are frequent
_ENDS = frozenset({"input", "output"})
_PRIOR_RESIDUALS = 2.0


@dataclass(frozen=True)
class EnsembleConfig:
    """Size and training of the ensemble."""

    num_networks: int = 5
    width: int = 32
    num_steps: int = 300
    step_size: float = 0.01
    weight_decay: float = 1e-3
    num_paths: int = 256


def paths(architecture: Architecture) -> frozenset[Path]:
    """Operations along every way from input to output, at most `_MAX_PATHS` of them."""
    found: set[Path] = set()
    starts = [node for node, sources in enumerate(architecture.predecessors) if not sources]
    waiting: list[tuple[int, Path]] = [(node, ()) for node in starts]
    while waiting and len(found) < _MAX_PATHS:
        node, before = waiting.pop()
        operation = architecture.operations[node]
        path = before if operation.kind in _ENDS else (*before, operation.key)
        if architecture.successors[node]:
            waiting += [(target, path) for target in architecture.successors[node]]
        else:
            found.add(path)
    return frozenset(found)


class Bananas(StandardisedBaseline):
    """Each network leaves out one fifth of the observations; their errors there and their disagreement make the interval."""

    name = "bananas"

    def __init__(self, features: Features | None = None, seed: int = 0, config: EnsembleConfig | None = None) -> None:
        self._features, self._seed, self._config = features or Features(), seed, config or EnsembleConfig()
        self._paths: dict[str, frozenset[Path]] = {}
        self._frequent: dict[str, tuple[Path, ...]] = {}

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        view = self._view(space, support.architectures)
        inputs = _tensor(view(support.architectures))
        fold = np.random.default_rng(self._seed).permutation(len(goodness)) % self._config.num_networks
        networks = _trained(
            inputs, torch.from_numpy(goodness).float(), torch.from_numpy(fold), self._config, self._seed
        )
        noise = _noise_variance(networks(inputs), goodness, fold)

        def forecast(architectures: Sequence[Architecture]) -> tuple[Array, Array]:
            every = networks(_tensor(view(architectures)))  # (E, Q)
            return every.mean(axis=0), np.sqrt(every.var(axis=0) + noise)

        return forecast

    def _view(self, space: SearchSpace, known: Sequence[Architecture]) -> Callable[[Sequence[Architecture]], Array]:
        frequent = self._frequent_paths(space, known)
        if not frequent:
            return self._features.view(space, known)
        place = {path: number for number, path in enumerate(frequent)}

        def encoded(architectures: Sequence[Architecture]) -> Array:
            found = np.zeros((len(architectures), len(place)))
            for row, architecture in enumerate(architectures):
                found[row, [place[path] for path in self._paths_of(architecture) if path in place]] = 1.0
            return found

        return encoded

    def _paths_of(self, architecture: Architecture) -> frozenset[Path]:
        if architecture.hash not in self._paths:
            self._paths[architecture.hash] = paths(architecture)
        return self._paths[architecture.hash]

    def _frequent_paths(self, space: SearchSpace, known: Sequence[Architecture]) -> tuple[Path, ...]:
        """The most frequent paths of the space (of the known architectures where it is open), none where all are chains."""
        if space.is_open:
            return self._most_frequent(known)
        if space.name not in self._frequent:
            rng = np.random.default_rng(0)
            self._frequent[space.name] = self._most_frequent([space.sample(rng) for _ in range(_NUM_DRAWN)])
        return self._frequent[space.name]

    def _most_frequent(self, architectures: Sequence[Architecture]) -> tuple[Path, ...]:
        every = [self._paths_of(one) for one in architectures]
        if all(len(own) <= 1 for own in every):
            return ()
        counts = Counter(path for own in every for path in own)
        return tuple(sorted(counts, key=lambda path: (-counts[path], path))[: self._config.num_paths])


def _tensor(inputs: Array) -> Tensor:
    return torch.from_numpy(inputs).float()


def _noise_variance(every: Array, goodness: Array, fold: NDArray[np.int64]) -> float:  # (E, S), (S,), (S,)
    """Squared errors on left-out observations beyond what the networks' disagreement tells, shrunk towards 1."""
    left_out = np.square(goodness - every[fold, np.arange(len(goodness))])
    shrunk = (left_out.sum() + _PRIOR_RESIDUALS) / (len(goodness) + _PRIOR_RESIDUALS)
    return float(max(shrunk - every.var(axis=0).mean(), 0.1 * shrunk))


def _trained(
    inputs: Tensor,  # (S, F)
    targets: Tensor,  # (S,)
    fold: Tensor,  # (S,) the network that must not see the observation
    config: EnsembleConfig,
    seed: int,
) -> Callable[[Tensor], Array]:
    """All networks at once, full batches; answers (Q, F) with (E, Q)."""
    generator, width = torch.Generator().manual_seed(seed), config.width
    sizes = [(inputs.shape[1], width), (width, width), (width, width), (width, 1)]
    weights = [
        (torch.randn(config.num_networks, into, out, generator=generator) * (2.0 / max(into, 1)) ** 0.5)
        for into, out in sizes
    ]
    biases = [torch.zeros(config.num_networks, 1, out) for _, out in sizes]
    parameters = [tensor.requires_grad_() for tensor in (*weights, *biases)]

    def forward(asked: Tensor) -> Tensor:
        hidden = asked.expand(config.num_networks, -1, -1)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden if number == 0 else torch.relu(hidden), weight)
        return hidden[..., 0]  # (E, Q)

    seen = (fold[None, :] != torch.arange(config.num_networks)[:, None]).float()  # (E, S)
    share = seen / seen.sum(dim=1, keepdim=True).clamp(min=1.0)
    optimizer = torch.optim.AdamW(parameters, lr=config.step_size, weight_decay=config.weight_decay)
    for _ in range(config.num_steps):
        optimizer.zero_grad()
        ((forward(inputs) - targets).square() * share).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def answered(asked: Tensor) -> Array:
        with torch.no_grad():
            return forward(asked).double().numpy()

    return answered
