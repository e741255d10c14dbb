"""Hierarchical search: the whole and the kinds of its modules first, then what is inside of each.

After Liu et al., "Hierarchical Representations for Efficient Architecture Search" (ICLR 2018), who assemble architectures
from motifs that recur, and the coarse-to-fine search of Tan et al., "MnasNet" (CVPR 2019), whose blocks are decided once per
stage. The levels come from the space itself (see `levels`): first only sketches are proposed, in which all decisions of a
kind agree; then modules are told apart, starting from the best that is known; then single decisions. A share of proposals
goes back to a coarser level, so that a bad beginning can be left.

With a forecaster each level is guided: many candidates of the level are forecast, the best are moved on at that level and
forecast again, and the best by upper confidence bound are proposed. Without one, candidates are proposed as they come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.acquisition import acquisition_values
from predictor.architecture import Architecture
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.levels import Knob, Level, levels_of, moved, sketch
from predictor.search.merit import merit
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings, setting
from predictor.search.step_spaces import steps_of, steps_refusal
from predictor.search_spaces.stepwise import Path

_MAX_TRIES = 64
_UNTIL_TOLD = 1_000_000
_LIKELY = 0.5  # what is less probable to hold all constraints comes after everything else


@dataclass(frozen=True)
class HierarchicalSettings(StrategySettings):
    """How long each level lasts, and how many candidates are forecast."""

    sketches: int = setting(12, "Proposals about the whole, before modules are told apart.", low=1, high=1_000_000)
    modules: int = setting(24, "Proposals about modules, before decisions are told apart.", low=0, high=1_000_000)
    return_rate: float = setting(0.15, "Share of later proposals that go back to a coarser level.", low=0.0, high=1.0)
    elites: int = setting(4, "How many of the best are gone on from.", low=1, high=10_000)
    pool: int = setting(96, "Candidates that are forecast for one choice.", low=4, high=100_000)
    rounds: int = setting(3, "How often the best candidates are moved on and forecast again.", low=1, high=100)
    kappa: float = setting(0.5, "How much the uncertainty of a forecast counts in its favour.", low=0.0, high=100.0)


@dataclass(frozen=True)
class _Candidate:
    architecture: Architecture
    path: Path
    origin: str


class HierarchicalSearch(RememberingStrategy):
    """Coarse to fine."""

    name = "has"
    description = (
        "Hierarchical: decides on the whole and the kinds of its modules first, then on what is inside each module."
    )
    source = "after Liu et al., Hierarchical Representations for Efficient Architecture Search, ICLR 2018"
    settings_type = HierarchicalSettings

    def __init__(self, problem: SearchProblem, settings: HierarchicalSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._config = settings
        self._steps = steps_of(problem, self.name)
        self.levels = levels_of(self._steps)
        self._paths: dict[str, Path] = {}  # by hash

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return steps_refusal(problem, cls.name)

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        drawn, most = self._drawn_level()
        for level in self.levels[self.levels.index(drawn) :]:  # a finer one where a coarse one is exhausted
            chosen = self._tried(level) if forecaster is None else self._guided(level, min(count, most), forecaster)
            if chosen:
                self._paths.update((one.architecture.hash, one.path) for one in chosen)
                return [Proposal(one.architecture, origin=one.origin) for one in chosen]
        return self._random_proposal()

    def _drawn_level(self) -> tuple[Level, int]:
        """The finest level that has begun, or a coarser one; and how many proposals it may make before that is drawn again."""
        first, second = self._config.sketches, self._config.sketches + self._config.modules
        ends = [first, second][: len(self.levels) - 1]
        made = self._history.num_proposed
        finest = sum(end <= made for end in ends)
        if finest and self._rng.random() < self._config.return_rate:
            return self.levels[int(self._rng.integers(finest))], 1
        return self.levels[finest], ends[finest] - made if finest < len(ends) else _UNTIL_TOLD

    def _tried(self, level: Level) -> list[_Candidate]:
        """One new candidate of the level; none if none is found."""
        elites = self._elites()
        for _ in range(_MAX_TRIES):
            candidate = self._candidate(level, elites)
            if self._is_new(candidate.architecture):
                return [candidate]
        return []

    def _candidate(self, level: Level, bases: list[Path]) -> _Candidate:
        """A sketch at the coarsest level, half of the time; otherwise a move from one of the bases."""
        is_sketch = level is self.levels[0] and self._rng.random() < 0.5
        if is_sketch or not bases:
            path = sketch(self._steps, self.levels[0], self._rng)
            return _Candidate(self._steps.build(path, self._rng), path, f"{self.levels[0].name}: a sketch")
        base = bases[int(self._rng.integers(len(bases)))]
        path, knob = moved(self._steps, level, base, self._rng)
        return _Candidate(self._steps.build(path, self._rng), path, f"{level.name}: {self._named(knob, path)}")

    def _named(self, knob: Knob, path: Path) -> str:
        """What was turned, for people."""
        if not knob:
            return "as it was"
        step = self._steps.steps[knob[0]]
        others = f" and {len(knob) - 1} more" if len(knob) > 1 else ""
        return f"{step.name}{others} to {step.options[path[knob[0]]]}"

    def _elites(self) -> list[Path]:
        """Paths of the best that are known, the best first."""
        known = [outcome for outcome in self._history.outcomes() if outcome.values is not None]
        ranked = sorted(known, key=lambda outcome: merit(self.problem, outcome), reverse=True)
        return [self._path_of(outcome.architecture) for outcome in ranked[: self._config.elites]]

    def _path_of(self, architecture: Architecture) -> Path:
        if architecture.hash not in self._paths:
            self._paths[architecture.hash] = self._steps.path_of(architecture)
        return self._paths[architecture.hash]

    def _guided(self, level: Level, count: int, forecaster: Forecaster) -> list[_Candidate]:
        """The best by forecast after some rounds of moves; new to the history and different."""
        scored: dict[str, tuple[tuple[bool, float], _Candidate]] = {}
        bases = self._elites()
        for _ in range(self._config.rounds):
            self._forecast(self._pool(level, bases, scored), forecaster, scored)
            ranked = sorted(scored.values(), key=lambda one: one[0], reverse=True)
            bases = [candidate.path for _, candidate in ranked[: self._config.elites]] or bases
        fresh = [candidate for _, candidate in ranked if self._is_new(candidate.architecture)]
        return fresh[:count]

    def _pool(
        self, level: Level, bases: list[Path], scored: Mapping[str, tuple[tuple[bool, float], _Candidate]]
    ) -> list[_Candidate]:
        """Different candidates that were not forecast yet."""
        found: dict[str, _Candidate] = {}
        wanted = max(1, self._config.pool // self._config.rounds)
        for _ in range(2 * wanted):
            candidate = self._candidate(level, bases)
            if candidate.architecture.hash not in scored:
                found.setdefault(candidate.architecture.hash, candidate)
            if len(found) == wanted:
                break
        return list(found.values())

    def _forecast(
        self,
        pool: list[_Candidate],
        forecaster: Forecaster,
        scored: dict[str, tuple[tuple[bool, float], _Candidate]],
    ) -> None:
        """Adds what is forecast of the pool to what is scored: whether constraints probably hold, then the bound."""
        if not pool:
            return
        architectures = [candidate.architecture for candidate in pool]
        bounds = self._bounds(architectures, forecaster)
        likely = forecaster.feasibility(architectures) >= _LIKELY
        for candidate, is_likely, bound in zip(pool, likely, bounds, strict=True):
            scored[candidate.architecture.hash] = ((bool(is_likely), float(bound)), candidate)

    def _bounds(self, architectures: list[Architecture], forecaster: Forecaster) -> NDArray[np.float64]:
        (predictions,) = forecaster.predict(architectures)
        direction = self.problem.objectives[0].direction
        return acquisition_values("ucb", predictions, direction, None, self._rng, self._config.kappa)

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        pass  # what it goes on from is the history itself

    def _own_state(self) -> State:
        return {"paths": {name: list(path) for name, path in self._paths.items()}}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        self._paths = {str(name): tuple(map(int, path)) for name, path in state["paths"].items()}
