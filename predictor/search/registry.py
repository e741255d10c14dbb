"""The one place where the name of a search strategy is looked up. A new strategy is one line in `_STRATEGIES`, or in
`plain.PLAIN_STRATEGIES` if it can search on a forecast inside of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from predictor.errors import SearchError
from predictor.search.base import SearchProblem, SearchStrategy
from predictor.search.bayesian import BayesianSearch
from predictor.search.gradient import GradientSearch
from predictor.search.guided import GuidedSearch
from predictor.search.hierarchical import HierarchicalSearch
from predictor.search.multi_fidelity import ASHA, Hyperband, SuccessiveHalving
from predictor.search.plain import PLAIN_STRATEGIES
from predictor.search.settings import Setting, StrategySettings, list_settings, read_settings

_STRATEGIES: tuple[type[SearchStrategy], ...] = (
    *PLAIN_STRATEGIES,
    HierarchicalSearch,
    BayesianSearch,
    GradientSearch,
    GuidedSearch,
    SuccessiveHalving,
    Hyperband,
    ASHA,
)


@dataclass(frozen=True)
class StrategyInfo:
    """What a user who is to choose among strategies needs to know."""

    name: str
    description: str
    source: str
    settings_type: type[StrategySettings]
    takes_several_objectives: bool
    needs_forecaster: bool
    strategy: type[SearchStrategy]

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All its settings."""
        return list_settings(self.settings_type)

    def settings_schema(self) -> dict[str, Any]:
        """Its settings as a JSON schema."""
        properties = {one.name: one.to_json() for one in self.settings}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def unsupported(self, problem: SearchProblem) -> str | None:
        """Why it cannot solve this problem; None if it can."""
        if len(problem.objectives) > 1 and not self.takes_several_objectives:
            several = [one.name for one in strategies().values() if one.takes_several_objectives]
            return (
                f"{self.name}: expected one objective, got {len(problem.objectives)} "
                f"(strategies that take several: {', '.join(several)})"
            )
        return self.strategy.refusal(problem)


@cache
def strategies() -> Mapping[str, StrategyInfo]:
    """All strategies, by name."""
    infos = (
        StrategyInfo(
            one.name,
            one.description,
            one.source,
            one.settings_type,
            one.takes_several_objectives,
            one.needs_forecaster,
            one,
        )
        for one in _STRATEGIES
    )
    return MappingProxyType({info.name: info for info in infos})


def strategy_names() -> tuple[str, ...]:
    """The names of all strategies."""
    return tuple(strategies())


def strategy_info(name: str) -> StrategyInfo:
    """The strategy of that name.

    Raises:
        SearchError: if there is none.
    """
    if name not in strategies():
        raise SearchError(f"expected one of the strategies {', '.join(strategies())}, got {ascii(name)[:100]}")
    return strategies()[name]


def make_strategy(
    name: str, problem: SearchProblem, settings: Mapping[str, object] | None = None, seed: int = 0
) -> SearchStrategy:
    """A new strategy of that name for the problem.

    Raises:
        SearchError: if there is no such strategy, it cannot solve the problem, or a setting is unknown or not allowed.
    """
    info = strategy_info(name)
    reason = info.unsupported(problem)
    if reason is not None:
        raise SearchError(reason)
    return info.strategy(problem, read_settings(info.settings_type, settings or {}), seed)
