"""Tabular Q-learning (Baker et al., "Designing Neural Network Architectures using Reinforcement Learning", ICLR 2017: MetaQNN).

A state is a partial architecture, as much of it as the table can tell: the step that is next and the last decision, as in the
paper, or more of them. An action is the next decision. The reward, between 0 and 1 from the worst to the best known, comes with
the whole architecture; nothing is discounted. Actions are greedy but for a share that falls on a schedule; after every outcome
others are replayed.

Where a state does not tell the whole beginning, what follows from it says little of the decisions before it, and through the
table alone they would never be credited. So targets mix in the reward itself: Q(λ) after Peng & Williams ("Incremental Multi-Step
Q-Learning", Machine Learning 1996), with λ called `trace`.

It learns off policy: from what it is told of any architecture, whoever proposed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.merit import RewardScale
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings, setting
from predictor.search.step_spaces import steps_of, steps_refusal
from predictor.search_spaces.stepwise import Path

_MAX_DRAWS = 64
_INITIAL_VALUE = 0.5  # as in the paper: the middle of the rewards


@dataclass(frozen=True)
class QLearningSettings(StrategySettings):
    """How it explores and learns."""

    learning_rate: float = setting(0.1, "How far a value moves towards what was seen.", low=1e-4, high=1.0)
    window: int = setting(
        1, "How many of the last decisions a state tells; many make it the whole beginning.", low=0, high=2_000
    )
    trace: float = setting(
        0.9,
        "How much of the reward itself reaches earlier decisions; 0: through the table alone, as in the paper.",
        low=0.0,
        high=1.0,
    )
    replay: int = setting(32, "Outcomes that are learned from again after each new one.", low=0, high=10_000)
    exploration: int = setting(20, "Proposals that are drawn at random first.", low=0, high=1_000_000)
    decay: int = setting(60, "Proposals over which the share of random decisions then falls.", low=1, high=1_000_000)
    final_epsilon: float = setting(0.1, "The share of random decisions in the end.", low=0.0, high=1.0)


@dataclass(frozen=True)
class _Move:
    """A decision that was taken: in which state, which one, out of which that were open, and out of how many in all."""

    state: str
    option: int
    options: Sequence[int]
    num_options: int


class QLearning(RememberingStrategy):
    """A table of how good the best architecture is that can still come of each decision."""

    name = "q_learning"
    description = (
        "Reinforcement learning: a table of what each next decision is worth in each partial architecture (MetaQNN)."
    )
    source = "Baker et al., Designing Neural Network Architectures using Reinforcement Learning, ICLR 2017"
    settings_type = QLearningSettings

    def __init__(self, problem: SearchProblem, settings: QLearningSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._config = settings
        self._steps = steps_of(problem, self.name)
        self._values: dict[str, list[float]] = {}
        self._paths: dict[str, Path] = {}  # by hash
        self._memory: dict[str, None] = {}  # hashes of what there is to replay, in order
        self._moves: dict[str, list[_Move]] = {}

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return steps_refusal(problem, cls.name)

    @property
    def epsilon(self) -> float:
        """The share of random decisions now."""
        beyond = max(0, self._history.num_proposed - self._config.exploration)
        return max(self._config.final_epsilon, 1.0 - (1.0 - self._config.final_epsilon) * beyond / self._config.decay)

    def value(self, beginning: Path, option: int) -> float:
        """How good it is held to be to take that option after that beginning of a path."""
        values = self._values.get(self._state(beginning))
        return _INITIAL_VALUE if values is None else values[option]

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        for attempt in range(_MAX_DRAWS):
            path = self._decided(max(self.epsilon, attempt / _MAX_DRAWS))
            architecture = self._steps.build(path, self._rng)
            if self._is_new(architecture):
                self._paths.setdefault(architecture.hash, path)
                return [Proposal(architecture, origin=f"decided with epsilon {self.epsilon:.2f}")]
        return self._random_proposal()

    def _decided(self, epsilon: float) -> Path:
        path: list[int] = []
        for _ in self._steps.steps:
            options = self._steps.open_options(tuple(path))
            if len(options) > 1 and self._rng.random() >= epsilon:
                path.append(self._best(tuple(path), options))
            else:
                path.append(options[int(self._rng.integers(len(options)))])
        return tuple(path)

    def _best(self, beginning: Path, options: Sequence[int]) -> int:
        values = np.array([self.value(beginning, option) for option in options])
        return options[int(self._rng.choice(np.flatnonzero(values == values.max())))]

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        if outcome.fidelity != 1.0:
            return
        name = outcome.architecture.hash
        if name not in self._paths:
            self._paths[name] = self._steps.path_of(outcome.architecture)
        self._memory[name] = None
        scale = RewardScale(self.problem, self._history.outcomes())
        self._follow(name, scale)
        remembered = list(self._memory)
        for place in self._rng.integers(len(remembered), size=self._config.replay):
            self._follow(remembered[int(place)], scale)

    def _follow(self, name: str, scale: RewardScale) -> None:
        """One pass over the decisions of a known architecture, from the last to the first."""
        outcome = self._history.outcome(name)
        if outcome is None:
            return
        target = scale.reward(outcome)
        for move in reversed(self._moves_of(name)):
            values = self._values.setdefault(move.state, [_INITIAL_VALUE] * move.num_options)
            values[move.option] += self._config.learning_rate * (target - values[move.option])
            best = max(values[option] for option in move.options)
            target = self._config.trace * target + (1.0 - self._config.trace) * best

    def _moves_of(self, name: str) -> list[_Move]:
        """The decisions behind a known architecture, less those that had no alternative."""
        found = self._moves.get(name)
        if found is None:
            path = self._paths[name]
            opened = [(place, self._steps.open_options(path[:place])) for place in range(len(path))]
            found = self._moves[name] = [
                _Move(self._state(path[:place]), path[place], options, len(self._steps.steps[place].options))
                for place, options in opened
                if len(options) > 1
            ]
        return found

    def _state(self, beginning: Path) -> str:
        last = beginning[max(0, len(beginning) - self._config.window) :]
        return f"{len(beginning)}:{','.join(map(str, last))}"

    def _own_state(self) -> State:
        return {
            "values": {state: list(values) for state, values in self._values.items()},
            "paths": {name: list(path) for name, path in self._paths.items()},
            "memory": list(self._memory),
        }

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        self._values = {str(key): list(map(float, values)) for key, values in state["values"].items()}
        self._paths = {str(name): tuple(map(int, path)) for name, path in state["paths"].items()}
        self._memory = {self._history.architecture(str(name)).hash: None for name in state["memory"]}
