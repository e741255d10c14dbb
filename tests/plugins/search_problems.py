"""Problems whose answers are known, for tests of search strategies."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.prediction import Predictions
from predictor.search.base import Outcome, Proposal, SearchProblem, SearchStrategy
from predictor.search.registry import make_strategy
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import declared_search_space
from predictor.tasks import Metric

ACCURACY = Metric("accuracy", "%", "maximize")
LATENCY = Metric("latency", "ms", "minimize")

CONDITIONAL = declared_search_space(
    "conditional",
    {
        "version": 1,
        "decisions": [
            {"name": "depth", "type": "integer", "low": 1, "high": 4},
            {"name": "op", "type": "categorical", "values": ["conv3x3", "mbconv_k3_e6", "skip"], "repeat": "depth"},
            {"name": "width", "type": "ordinal", "values": [16, 32], "repeat": "depth", "when": {"op": "conv3x3"}},
            {"name": "rate", "type": "real", "low": 1e-4, "high": 0.1, "log": True},
        ],
    },
)
TINY = declared_search_space(
    "tiny",
    {
        "version": 1,
        "decisions": [
            {"name": "op", "type": "categorical", "values": ["conv3x3", "conv5x5", "skip"]},
            {"name": "width", "type": "ordinal", "values": [16, 32], "when": {"op": ["conv3x3", "conv5x5"]}},
        ],
    },
)
NUM_TINY = 5

Value = Callable[[Architecture], float]


def scattered(architecture: Architecture) -> float:
    """A number from 0 to 100 that nothing can foresee; the same for the same architecture."""
    return int(hashlib.sha256(architecture.hash.encode()).hexdigest()[:8], 16) / 2**32 * 100.0


def additive(space: SearchSpace, seed: int) -> Value:
    """A value that is a sum over decisions and over pairs of neighbouring ones: hills that a search can climb."""
    steps = space.stepwise()
    assert steps is not None
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=len(step.options)) for step in steps.steps]
    pairs = [
        0.5 * rng.normal(size=(len(one.options), len(other.options))) for one, other in itertools.pairwise(steps.steps)
    ]

    def value(architecture: Architecture) -> float:
        path = steps.path_of(architecture)
        alone = sum(weight[option] for weight, option in zip(weights, path, strict=True))
        return float(alone + sum(pair[two] for pair, two in zip(pairs, itertools.pairwise(path), strict=True)))

    return value


class Oracle:
    """A forecaster that knows the values, give or take `std`."""

    def __init__(self, values: Sequence[Value], std: float = 1.0, feasibility: Value = lambda _: 1.0) -> None:
        self._values = values
        self._std = std
        self._feasibility = feasibility

    def predict(self, architectures: Sequence[Architecture]) -> tuple[Predictions, ...]:
        """The values themselves."""
        return tuple(self._predicted(value, architectures) for value in self._values)

    def _predicted(self, value: Value, architectures: Sequence[Architecture]) -> Predictions:
        mean = np.array([value(one) for one in architectures], np.float64)
        std = np.full(len(mean), self._std)
        return Predictions(mean, std, mean - 1.645 * std, mean + 1.645 * std, np.zeros(len(mean)))

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        """A few numbers of the graph's size and its hash."""
        rows = [[one.num_nodes, len(one.edges), scattered(one)] for one in architectures]
        return np.array(rows, np.float32).reshape(len(architectures), 3)

    def feasibility(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:
        """As told."""
        return np.array([self._feasibility(one) for one in architectures], np.float64)


def started(space: SearchSpace, objectives: tuple[Metric, ...] = (ACCURACY,)) -> SearchProblem:
    """A problem on the space; an open one with two architectures to begin with."""
    rng = np.random.default_rng(8)
    return SearchProblem(space, objectives, tuple(space.sample(rng) for _ in range(2)) if space.is_open else ())


def outcome_of(proposal: Proposal, *values: Value, violation: float = 0.0) -> Outcome:
    """What measuring the proposal says."""
    told = tuple(value(proposal.architecture) for value in values or (scattered,))
    return Outcome(proposal.architecture, told, proposal.fidelity, violation)


def through_json(document: Any) -> Any:
    """As it comes back from a database."""
    return json.loads(json.dumps(document, allow_nan=False))


def best_found(name: str, problem: SearchProblem, value: Value, seed: int, evaluations: int, **settings: Any) -> float:
    """The best value among so many evaluations, one at a time."""
    strategy: SearchStrategy = make_strategy(name, problem, settings, seed)
    best = -np.inf
    for _ in range(evaluations):
        (proposal,) = strategy.ask(1)
        outcome = outcome_of(proposal, value)
        best = max(best, (outcome.values or (-np.inf,))[0])
        strategy.tell([outcome])
    return float(best)
