"""Who searches: every strategy by itself, with forecasts of a model version, with those of other predictors, and Optuna."""

from __future__ import annotations

import fnmatch
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, get_args

from predictor.baselines.bananas import Bananas
from predictor.baselines.base import Baseline, FewShotPredictor
from predictor.baselines.features import Features
from predictor.baselines.forest import Forest
from predictor.contest.fingerprints import digest
from predictor.contest.ours import own_fingerprint
from predictor.contest.search_cases import SearchedTask
from predictor.contest.search_results import SearchResult
from predictor.contest.tree_parzen import decisions_of, tree_parzen_search
from predictor.errors import SearchError
from predictor.meta_predictor import MetaPredictor
from predictor.search.base import Outcome, SearchStrategy
from predictor.search.driving import Budget, SearchRun, run_search
from predictor.search.forecasting import AdaptationPace, ForecastTask, LocalForecaster, WithRelated
from predictor.search.multi_fidelity import HalvingSettings, MultiFidelitySettings
from predictor.search.plain import PLAIN_STRATEGIES
from predictor.search.registry import make_strategy, strategy_info, strategy_names
from predictor.searching import Sloping

IsEnough = Callable[[Outcome], bool]
Settings = Mapping[str, object]
Kind = Literal["ours", "measured", "peer"]
"""`ours` search with a model version's forecasts, `measured` are strategies by themselves, `peer` what others would use."""

OURS = "Archcast"
EVOLUTION = "evolution"
REINFORCE = "controller, REINFORCE"
_REINFORCED: Settings = {"algorithm": "reinforce"}
MEASURED: Mapping[str, tuple[str, Settings]] = {
    **{one.name: (one.name, {}) for one in PLAIN_STRATEGIES},
    REINFORCE: ("controller", _REINFORCED),
    "has": ("has", {}),
    **{name: (name, {}) for name in ("successive_halving", "hyperband", "asha")},
}
"""Strategies that can do without forecasts, by the name of their row, with their settings."""

TPE = "Optuna TPE"
FOREST, ENSEMBLE = "random forest", "ensemble on paths"
_AT_A_TIME = 5  # proposals between two adaptations
_PACE = AdaptationPace(after=_AT_A_TIME, after_share=0.1)
_REVISION = "1"
"""Raise it when searchers do something else than before: results of earlier ones are computed anew then."""


@dataclass(frozen=True)
class Searcher:
    """One that spends a number of evaluations on a task."""

    name: str
    kind: Kind
    fingerprint: str
    refusal: Callable[[SearchedTask], str | None]
    search: Callable[[SearchedTask, int, int, IsEnough], Sequence[Outcome]]

    def result(self, view: str, asked: SearchedTask, budget: int, seed: int) -> SearchResult:
        """Runs it; it ends when it has found the table's best."""
        metric, start = asked.table.task.metric, time.perf_counter()

        def is_best(outcome: Outcome) -> bool:
            is_final = outcome.values is not None and outcome.fidelity == 1.0
            return is_final and metric.sign * ((outcome.values or ())[0] - asked.optimum) >= 0.0

        outcomes = self.search(asked, budget, seed, is_best)
        values, costs = _full_trainings(asked, outcomes, budget)
        return SearchResult(
            view, asked.case.name, self.name, self.kind, seed, self.fingerprint, budget, asked.optimum, metric.sign,
            values, time.perf_counter() - start, costs,
        )  # fmt: skip


def _full_trainings(asked: SearchedTask, outcomes: Sequence[Outcome], budget: int) -> tuple[list[float], list[float]]:
    """Values of those that the budget covers, and what had been spent by each where smaller budgets were used, too."""
    spent = itertools.accumulate(asked.fidelities.cost(one.fidelity) for one in outcomes)
    pairs = [
        (one.values[0], cost)
        for one, cost in zip(outcomes, spent, strict=True)
        if one.fidelity == 1.0 and one.values is not None and cost <= budget + 1e-6
    ]
    has_smaller = any(one.fidelity < 1.0 for one in outcomes)
    return [value for value, _ in pairs], [cost for _, cost in pairs] if has_smaller else []


def is_climbing(strategy: str) -> bool:
    """Whether a strategy evaluates on smaller budgets first."""
    return issubclass(strategy_info(strategy).settings_type, MultiFidelitySettings)


def settings_for(strategy: str, settings: Settings, asked: SearchedTask) -> Settings:
    """Its settings on a task: of one that climbs also the rungs, which are the table's."""
    if not is_climbing(strategy):
        return settings
    has_first = issubclass(strategy_info(strategy).settings_type, HalvingSettings)
    return {**asked.fidelities.rungs(has_first), **settings}


def refusal_of(strategy: str, settings: Settings, asked: SearchedTask) -> str | None:
    """Why a strategy cannot search a task; of one that lets another one search inside, also why that one cannot."""
    if is_climbing(strategy):
        return asked.fidelities.refusal(strategy)
    inner = settings.get("inner")
    reasons = [strategy_info(one).unsupported(asked.problem) for one in (strategy, inner) if isinstance(one, str)]
    return next((reason for reason in reasons if reason is not None), None)


def measuring(name: str, settings: Settings | None = None) -> Searcher:
    """A strategy by itself, one architecture at a time: by the name of its row, or of the registry with other settings."""
    strategy, known = MEASURED.get(name, (name, {}))
    given = settings if settings is not None else known

    def search(asked: SearchedTask, budget: int, seed: int, is_enough: IsEnough) -> Sequence[Outcome]:
        made = make_strategy(strategy, asked.problem, settings_for(strategy, given, asked), seed)
        return _run(asked, made, Budget(budget), is_enough).outcomes

    fingerprint = digest(_REVISION, name, str(given or None))
    return Searcher(name, "measured", fingerprint, partial(refusal_of, strategy, given), search)


def _run(
    asked: SearchedTask,
    strategy: SearchStrategy,
    budget: Budget,
    is_enough: IsEnough,
    forecaster: LocalForecaster | None = None,
    seed: int = 0,
) -> SearchRun:
    """Until an outcome is enough, or the budget is spent: of smaller ones by the table's epochs, not by the rung's."""
    if not is_climbing(strategy.name):
        return run_search(asked.problem, strategy, asked.evaluate, budget, forecaster, is_enough=is_enough, seed=seed)
    spent = 0.0

    def is_over(outcome: Outcome) -> bool:
        nonlocal spent
        spent += asked.fidelities.cost(outcome.fidelity)
        return is_enough(outcome) or spent >= budget.evaluations

    ample = Budget(2.0 * budget.evaluations / asked.fidelities.levels[0].share, budget.at_a_time)
    return run_search(asked.problem, strategy, asked.fidelities, ample, forecaster, is_enough=is_over, seed=seed)


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
        settings = settings_for(self.strategy, self.settings, asked)
        strategy = make_strategy(self.strategy, asked.problem, settings, seed)
        return _run(asked, strategy, Budget(budget, _AT_A_TIME), is_enough, forecaster, seed).outcomes


WITH_FORECASTS: Mapping[str, tuple[str, Settings]] = {
    "bayesian": ("bayesian", {}),
    "bayesian, Thompson": ("bayesian", {"acquisition": "thompson"}),
    "bayesian, UCB": ("bayesian", {"acquisition": "ucb"}),
    "gradient": ("gradient", {}),
    "hierarchical": ("has", {}),
    "best forecast": ("bayesian", {"acquisition": "mean", "diversity": 0.0}),
    "successive_halving": ("successive_halving", {}),
    "hyperband": ("hyperband", {}),
    "asha": ("asha", {}),
    "asha, promoted by forecast": ("asha", {"promotes_by": "forecast"}),
}
"""Strategies that ask the forecaster themselves, with their settings; every plain strategy is guided besides. Of those that climb,
newcomers are the best forecast of many."""


def forecasting_settings() -> dict[str, tuple[str, Settings]]:
    """All ways to search with forecasts."""
    guided: dict[str, tuple[str, Settings]] = {
        f"guided {one.name}": ("guided", {"inner": one.name, "num_forecasts": 500}) for one in PLAIN_STRATEGIES
    }
    inside = {"inner": "controller", "inner_settings": json.dumps(_REINFORCED), "num_forecasts": 500}
    return {**WITH_FORECASTS, **guided, f"guided {REINFORCE}": ("guided", inside)}


def searcher_names() -> list[str]:
    """Names of all rows there can be."""
    with_forecasts = [f"{OURS}, {name}" for name in forecasting_settings()]
    return [*with_forecasts, *MEASURED, f"{FOREST}, bayesian", f"{ENSEMBLE}, bayesian", TPE]


def check_patterns(patterns: Sequence[str]) -> None:
    """Every pattern is to fit the name or the kind of some row.

    Raises:
        SearchError: if one fits none.
    """
    names = [*searcher_names(), *get_args(Kind)]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            needs = pattern in strategy_names() and strategy_info(pattern).needs_forecaster
            near = [name for name in names if needs and pattern in name]
            why = f", which needs forecasts: {' or '.join(map(repr, near))}" if near else ""
            raise SearchError(f"expected patterns of {'; '.join(names)}; got {pattern!r:.80}{why}")


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
            partial(refusal_of, strategy, settings),
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
        return Searcher(name, "peer", fingerprint, partial(refusal_of, "bayesian", settings), search)


def _no_decisions(asked: SearchedTask) -> str | None:
    space = asked.problem.space
    return None if decisions_of(space) is not None else f"{TPE}: expected a space of decisions, got {space.name}"


def _tree_parzen(asked: SearchedTask, budget: int, seed: int, is_enough: IsEnough) -> Sequence[Outcome]:
    return tree_parzen_search(asked.problem, asked.evaluate, budget, seed, is_enough)
