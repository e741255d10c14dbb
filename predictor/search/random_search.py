"""Random search (Li & Talwalkar, "Random Search and Reproducibility for Neural Architecture Search", UAI 2019).

Draws without repeats until the space is exhausted. On an open space it is a random walk from what is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings


class RandomSearch(RememberingStrategy):
    """What every other strategy has to beat."""

    name = "random"
    description = "Draws architectures at random, none twice."
    source = "Li & Talwalkar, Random Search and Reproducibility for Neural Architecture Search, UAI 2019"
    settings_type = StrategySettings
    takes_several_objectives = True

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        return self._random_proposal()

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        pass  # nothing that it is told changes what it draws

    def _own_state(self) -> State:
        return {}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        pass  # the history is all there is
