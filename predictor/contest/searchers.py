"""Who searches: every strategy by itself, with forecasts of a model version, with those of other predictors, and Optuna."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from predictor.baselines.bananas import Bananas
from predictor.baselines.base import Baseline, FewShotPredictor
from predictor.baselines.features import Features
from predictor.baselines.forest import Forest
from predictor.contest.fingerprints import digest
from predictor.contest.ours import own_fingerprint
from predictor.contest.search_cases import SearchedTask
from predictor.contest.search_results import SearchResult
from predictor.contest.tree_parzen import decisions_of, tree_parzen_search
from predictor.meta_predictor import MetaPredictor
from predictor.search.base import Outcome, SearchProblem
from predictor.search.driving import Budget, run_search
from predictor.search.forecasting import AdaptationPace, ForecastTask, LocalForecaster, WithRelated
from predictor.search.plain import PLAIN_STRATEGIES
from predictor.search.registry import make_strategy, strategy_info
from predictor.searching import Sloping

Kind = Literal["ours", "measured", "peer"]
"""`ours` search with a model version's forecasts, `measured` are strategies by themselves, `peer` what others would use."""

OURS = "Archcast"
EVOLUTION = "evolution"
MEASURED = (*(one.name for one in PLAIN_STRATEGIES), "has")
"""Strategies that can do without forecasts."""

TPE = "Optuna TPE"
FOREST, ENSEMBLE = "random forest", "ensemble on paths"
_AT_A_TIME = 5  # proposals between two adaptations
_PACE = AdaptationPace(after=_AT_A_TIME, after_share=0.1)
_REVISION = "1"
"""Raise it when searchers do something else than before: results of earlier ones are computed anew then."""

IsEnough = Callable[[Outcome], bool]
Settings = Mapping[str, object]


@dataclass(frozen=True)
class Searcher:
    """One that spends a number of evaluations on a task."""

    name: str
    kind: Kind
    fingerprint: str
    refusal: Callable[[SearchProblem], str | None]
    search: Callable[[SearchedTask, int, int, IsEnough], Sequence[Outcome]]

    def result(self, view: str, asked: SearchedTask, budget: int, seed: int) -> SearchResult:
        """Runs it; it ends when it has found the table's best."""
        metric, start = asked.table.task.metric, time.perf_counter()

        def is_best(outcome: Outcome) -> bool:
            return outcome.values is not None and metric.sign * (outcome.values[0] - asked.optimum) >= 0.0

        outcomes = self.search(asked, budget, seed, is_best)
        values = [one.values[0] for one in outcomes if one.values is not None][:budget]
        return SearchResult(
            view, asked.case.name, self.name, self.kind, seed, self.fingerprint, budget, asked.optimum, metric.sign,
            values, time.perf_counter() - start,
        )  # fmt: skip


def measuring(name: str, settings: Settings | None = None) -> Searcher:
    """A strategy of the registry by itself, one architecture at a time."""

    def search(asked: SearchedTask, budget: int, seed: int, is_enough: IsEnough) -> Sequence[Outcome]:
        strategy = make_strategy(name, asked.problem, settings, seed)
        return run_search(asked.problem, strategy, asked.evaluate, Budget(budget), is_enough=is_enough).outcomes

    return Searcher(name, "measured", digest(_REVISION, name, str(settings)), strategy_info(name).unsupported, search)


@dataclass(frozen=True)
class Forecasting:
    """A strategy with forecasts of some predictor."""

    strategy: str
    settings: Settings
    predictor_for: Callable[[SearchedTask], FewShotPredictor]

    def __call__(self, asked: SearchedTask, budget: int, seed: int, is_enough: IsEnough) -> Sequence[Outcome]:
        """Several architectures at a time, and random ones until the predictor can say anything."""
        predictor = self.predictor_for(asked)
        least = max(predictor.min_observations, 2 * _AT_A_TIME) if isinstance(predictor, Baseline) else 0
        task = ForecastTask(asked.table.task, predictor, least)
        forecaster = LocalForecaster(asked.problem, [task], pace=_PACE)
        strategy = make_strategy(self.strategy, asked.problem, self.settings, seed)
        spent = Budget(budget, _AT_A_TIME)
        return run_search(
            asked.problem, strategy, asked.evaluate, spent, forecaster, is_enough=is_enough, seed=seed
        ).outcomes


WITH_FORECASTS: Mapping[str, tuple[str, Settings]] = {
    "bayesian": ("bayesian", {}),
    "bayesian, Thompson": ("bayesian", {"acquisition": "thompson"}),
    "bayesian, UCB": ("bayesian", {"acquisition": "ucb"}),
    "gradient": ("gradient", {}),
    "hierarchical": ("has", {}),
    "best forecast": ("bayesian", {"acquisition": "mean", "diversity": 0.0}),
}
"""Strategies that ask the forecaster themselves, with their settings; every plain strategy is guided besides."""


def forecasting_settings() -> dict[str, tuple[str, Settings]]:
    """All ways to search with forecasts."""
    guided = {f"guided {one.name}": ("guided", {"inner": one.name, "num_forecasts": 500}) for one in PLAIN_STRATEGIES}
    return {**WITH_FORECASTS, **guided}


def ours(version: MetaPredictor) -> list[Searcher]:
    """Searches with a version's forecasts, which hear the related tasks that the view allows."""

    def predictor_for(asked: SearchedTask) -> FewShotPredictor:
        return WithRelated(Sloping(version), asked.table.task, asked.problem.space, asked.related)

    shared, known = SharedPredictor(predictor_for), own_fingerprint(version)
    return [
        Searcher(
            f"{OURS}, {name}",
            "ours",
            digest(_REVISION, name, str(settings), known),
            strategy_info(strategy).unsupported,
            Forecasting(strategy, settings, shared),
        )
        for name, (strategy, settings) in forecasting_settings().items()
    ]


class SharedPredictor:
    """Makes the predictor of a task once for all that use it, and keeps the last."""

    def __init__(self, make: Callable[[SearchedTask], FewShotPredictor]) -> None:
        self._make = make
        self._kept: tuple[str, FewShotPredictor] | None = None

    def __call__(self, asked: SearchedTask) -> FewShotPredictor:
        if self._kept is None or self._kept[0] != asked.case.name:
            self._kept = (asked.case.name, self._make(asked))
        return self._kept[1]


class Peers:
    """What others would use: they know nothing but what they measured."""

    @cached_property
    def _features(self) -> Features:
        return Features()

    def all(self) -> list[Searcher]:
        """A random forest and an ensemble of networks on paths, searched like ours, and Optuna's TPE."""
        forest, ensemble = Forest(self._features), Bananas(self._features)
        return [
            self._with(f"{FOREST}, bayesian", {}, forest),
            self._with(f"{ENSEMBLE}, bayesian", {"acquisition": "thompson"}, ensemble),
            Searcher(TPE, "peer", digest(_REVISION, TPE), _no_decisions, _tree_parzen),
        ]

    def _with(self, name: str, settings: Settings, baseline: Baseline) -> Searcher:
        search = Forecasting("bayesian", settings, lambda _asked: baseline)
        fingerprint = digest(_REVISION, name, str(settings))
        return Searcher(name, "peer", fingerprint, strategy_info("bayesian").unsupported, search)


def _no_decisions(problem: SearchProblem) -> str | None:
    is_known = decisions_of(problem.space) is not None
    return None if is_known else f"{TPE}: expected a space of decisions, got {problem.space.name}"


def _tree_parzen(asked: SearchedTask, budget: int, seed: int, is_enough: IsEnough) -> Sequence[Outcome]:
    return tree_parzen_search(asked.problem, asked.evaluate, budget, seed, is_enough)
