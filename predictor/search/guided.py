"""The predictor-guided loop (Wen et al., "Neural Predictor for Neural Architecture Search", ECCV 2020; with rounds that search
the whole space anew by the forecast: Wu et al., "Stronger NAS with Weaker Predictors", NeurIPS 2021).

Any other strategy searches on the forecast, many times faster than anything could be measured; of all that it visited the few
best are proposed; what they turn out to be worth makes the next forecast better. The strategy inside hears of forecasts alone,
or of measured values, too. A strategy by itself is the third way: measured values alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predictor.architecture import Architecture
from predictor.errors import SearchError
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, SearchStrategy, State
from predictor.search.evolution import RegularizedEvolution
from predictor.search.measured import Measured
from predictor.search.nsga2 import NSGA2
from predictor.search.plain import PLAIN_STRATEGIES
from predictor.search.remembering import RememberingStrategy
from predictor.search.selection import SelectionSettings, Selector
from predictor.search.settings import read_settings, setting

_INSIDE = {one.name: one for one in PLAIN_STRATEGIES}
_AUTO = "auto"
_MOST_ASKED = 64  # forecasts at once
_SEEDS = 2**31


@dataclass(frozen=True)
class GuidedSettings(SelectionSettings):
    """Which strategy searches on the forecast, for how long, and how its finds become proposals."""

    inner: str = setting(
        _AUTO,
        "The strategy that searches on the forecast; auto: evolution, or NSGA-II for several objectives.",
        choices=(_AUTO, *_INSIDE),
    )
    inner_settings: str = setting("{}", "Its settings, as a JSON object.")
    num_forecasts: int = setting(1_000, "Architectures that it looks at in a round.", low=1)
    hears: str = setting(
        "both",
        "What the strategy inside learns from: forecasts, or measured values as well.",
        choices=("forecasts", "both"),
    )
    optimism: float = setting(0.5, "Standard deviations that are added to what it is told of a forecast.", low=0.0)


class GuidedSearch(RememberingStrategy):
    """A new search inside in every round, since forecasts of an earlier round are worth less than this one's."""

    name = "guided"
    description = "Lets another strategy search on the forecast, and measures the best of what it finds."
    source = (
        "Wen et al., Neural Predictor for Neural Architecture Search, ECCV 2020; "
        "Wu et al., Stronger NAS with Weaker Predictors, NeurIPS 2021"
    )
    settings_type = GuidedSettings
    takes_several_objectives = True
    needs_forecaster = True

    def __init__(self, problem: SearchProblem, settings: GuidedSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._inside = _inside(problem, settings)
        self._inner_settings = _read(self._inside, settings)
        self._optimism, self._hears, self._num_forecasts = settings.optimism, settings.hears, settings.num_forecasts
        if len(problem.objectives) > 1 and not self._inside.takes_several_objectives:
            raise SearchError(
                f"{self.name}: expected one objective for {self._inside.name}, got {len(problem.objectives)}"
            )
        if (reason := self._inside.refusal(problem)) is not None:
            raise SearchError(f"{self.name}: {reason}")
        self._measured = Measured(problem, self._history)
        self._selector = Selector(problem, settings, self._measured)

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        if forecaster is None:
            raise SearchError(f"{self.name}: expected a forecaster, got none")
        found = [one for one in self._searched(forecaster) if self._measured.is_new(one)]
        if len(found) < count:  # all that the search inside met is known already
            found += self._others(count - len(found), found)
        chosen = self._selector.chosen(found, forecaster, count, self._rng)
        return [Proposal(one, origin=f"found by {self._inside.name} on the forecast") for one in chosen]

    def _searched(self, forecaster: Forecaster) -> list[Architecture]:
        """All that the strategy inside visits in one round."""
        inner = self._new_inner()
        visited: dict[str, Architecture] = {}
        while len(visited) < self._num_forecasts:
            wanted = min(_MOST_ASKED, self._num_forecasts - len(visited))
            proposals = inner.ask(wanted, forecaster)
            new = [one.architecture for one in proposals if one.architecture.hash not in visited]
            if not new:
                break
            visited.update((one.hash, one) for one in new)
            inner.tell(self._forecast([one.architecture for one in proposals], forecaster))
        return list(visited.values())

    def _new_inner(self) -> SearchStrategy:
        inner = self._inside(self._inner_problem(), self._inner_settings, int(self._rng.integers(_SEEDS)))
        if self._hears == "both":
            inner.tell(self._measured.outcomes)
        return inner

    def _inner_problem(self) -> SearchProblem:
        """The best measured ones are where an open space is entered."""
        if not self.problem.space.is_open:
            return SearchProblem(self.problem.space, self.problem.objectives)
        known = [one.architecture for one in self._measured.ranked] or list(self.problem.start)
        return SearchProblem(self.problem.space, self.problem.objectives, tuple(known[:_MOST_ASKED]))

    def _forecast(self, architectures: Sequence[Architecture], forecaster: Forecaster) -> list[Outcome]:
        """Optimistic forecasts as outcomes; what is probably infeasible counts as a violation."""
        feasibility = forecaster.feasibility(architectures)
        columns = [
            metric.clipped(one.promised(metric.sign, self._optimism))
            for metric, one in zip(self.problem.objectives, forecaster.predict(architectures), strict=True)
        ]
        return [
            Outcome(
                one,
                tuple(float(column[row]) for column in columns),
                violation=max(0.0, 0.5 - float(feasibility[row])),
                is_forecast=True,
            )
            for row, one in enumerate(architectures)
        ]

    def _others(self, count: int, found: Sequence[Architecture]) -> list[Architecture]:
        known = {one.hash for one in found}
        drawn = (self._fresh.draw(self._rng) for _ in range(4 * count))
        new = {one.hash: one for one in drawn if one is not None and one.hash not in known}
        return list(new.values())[:count]

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        pass  # the forecaster learns; the rest is in the history

    def _own_state(self) -> State:
        return {}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        pass  # the history is all there is


def _inside(problem: SearchProblem, settings: GuidedSettings) -> type[SearchStrategy]:
    if settings.inner != _AUTO:
        return _INSIDE[settings.inner]
    return RegularizedEvolution if len(problem.objectives) == 1 else NSGA2


def _read(inside: type[SearchStrategy], settings: GuidedSettings) -> Any:
    """The settings of the strategy inside.

    Raises:
        SearchError: if they are no JSON object, or not settings of that strategy.
    """
    try:
        given = json.loads(settings.inner_settings)
    except ValueError as error:
        raise SearchError(f"expected inner_settings to be a JSON object, got text that is no JSON: {error}") from error
    if not isinstance(given, Mapping):
        raise SearchError(f"expected inner_settings to be a JSON object, got {type(given).__name__}")
    return read_settings(inside.settings_type, given)
