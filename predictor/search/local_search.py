"""Local search (White, Nolen & Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021): climb from a
few random architectures to neighbours that are better, and start again where there are none.

Neighbours of the best of this climb are tried first. While they are out, those of the next best are tried, so that nobody
waits (best-first search, Pearl, "Heuristics", 1984). A climb ends when all neighbours of its best are known and none is
better; the next one begins at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.architecture import Architecture
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.merit import merit
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings, setting

_KEPT = 64  # lists of neighbours


@dataclass(frozen=True)
class LocalSearchSettings(StrategySettings):
    """Where climbs begin."""

    starts: int = setting(
        10, "Random architectures at the beginning of a climb; it goes on from the best.", low=1, high=100_000
    )


class LocalSearch(RememberingStrategy):
    """Climbs, and begins anew at every local optimum."""

    name = "local"
    description = (
        "Tries the neighbours of the best architecture, moves to a better one, and starts again at a local optimum."
    )
    source = "White, Nolen & Savani, Exploring the Loss Landscape in Neural Architecture Search, UAI 2021"
    settings_type = LocalSearchSettings

    def __init__(self, problem: SearchProblem, settings: LocalSearchSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._config = settings
        self._climb: list[str] = []  # hashes of what was told since it began
        self._num_starts = 0  # random proposals of this climb
        self._neighbours: dict[str, list[Architecture]] = {}

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        if self._is_at_optimum():
            self._climb, self._num_starts = [], 0
        if self._is_starting():
            self._num_starts += 1
            return self._random_proposal()
        for centre in self._ranked():
            untried = [one for one in self._around(centre) if self._is_new(one)]
            if untried:
                drawn = untried[int(self._rng.integers(len(untried)))]
                return [Proposal(drawn, origin=f"a neighbour of {centre.hash}")]
        return self._random_proposal()

    def _is_starting(self) -> bool:
        return not self._climb or max(self._num_starts, len(self._climb)) < self._config.starts

    def _ranked(self) -> list[Architecture]:
        """What was told since this climb began, the best first."""
        known = [outcome for outcome in map(self._history.outcome, self._climb) if outcome is not None]
        ranked = sorted(known, key=lambda outcome: merit(self.problem, outcome), reverse=True)
        return [outcome.architecture for outcome in ranked]

    def _is_at_optimum(self) -> bool:
        """Whether every neighbour of the best is known; a better one would itself be the best."""
        if self._is_starting():
            return False
        awaited = {key[0] for key in self._history.out}
        return all(not self._is_new(one) and one.hash not in awaited for one in self._around(self._ranked()[0]))

    def _around(self, centre: Architecture) -> list[Architecture]:
        found = self._neighbours.get(centre.hash)
        if found is None:
            found = self.problem.space.neighbours(centre)
            self._neighbours[centre.hash] = found
            if len(self._neighbours) > _KEPT:
                self._neighbours.pop(next(iter(self._neighbours)))
        return found

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        if outcome.fidelity == 1.0 and outcome.values is not None and is_first:
            self._climb.append(outcome.architecture.hash)

    def _own_state(self) -> State:
        return {"climb": list(self._climb), "num_starts": self._num_starts}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        self._climb = [self._history.architecture(str(one)).hash for one in state["climb"]]
        self._num_starts = int(state["num_starts"])
