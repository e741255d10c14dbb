"""Runs contestants on the cases of a protocol, and computes nothing twice."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.protocols import Case
from predictor.contest.contestants import Contestant
from predictor.contest.episodes import DIVERSE, OWN, RANDOM, Draw, Episode, Features, draw_episode
from predictor.contest.fingerprints import digest
from predictor.contest.results import Result, ResultKey, ResultStore
from predictor.contest.scores import score
from predictor.errors import PredictorError

MODEL_FAILURES = (PredictorError, ArithmeticError, np.linalg.LinAlgError, RuntimeError, ValueError)
"""What a contestant may raise without ending the whole run; such failures are reported, never scored."""


@dataclass(frozen=True)
class Plan:
    """How a case is run. `features` place architectures so that diverse support sets can be chosen."""

    protocol: str
    seeds: int
    sizes: tuple[int, ...]
    num_query: int
    selection: str = RANDOM
    features: Features | None = None


@dataclass(frozen=True)
class Failure:
    """A contestant that could not answer."""

    case: str
    contestant: str
    seed: int
    num_observations: int
    reason: str


def sizes_of(case: Case, asked: Iterable[int] | None) -> tuple[int, ...]:
    """The case's sizes, or those of them that are asked for."""
    return case.sizes if asked is None else tuple(size for size in case.sizes if size in set(asked))


def run_case(
    case: Case,
    measured: BenchmarkTask,
    contestants: Sequence[Contestant],
    plan: Plan,
    store: ResultStore,
    on_progress: Callable[[str], None] = lambda _name: None,
) -> list[Failure]:
    """Scores every contestant on every seed; `on_progress` is called once for each of both, done before or not."""
    failures: list[Failure] = []
    for seed in range(plan.seeds):
        draws: _Draws | None = None
        for contestant in contestants:
            key = ResultKey(plan.protocol, case.name, contestant.name, plan.selection, seed)
            done = store.sizes_done(key, _fingerprint(contestant, case, plan))
            missing = {size for size in plan.sizes if size >= contestant.min_observations} - done
            if missing:
                draws = draws or _Draws(draw_episode(measured, case.sizes, seed, plan.num_query), plan)
                results = []
                for size in sorted(missing & set(draws.episode.sizes)):
                    outcome = _scored(case, contestant, draws.of(size), seed, plan)
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                    else:
                        results.append(outcome)
                store.save(key, results)
            on_progress(f"{case.name} {contestant.name}")
    return failures


def _fingerprint(contestant: Contestant, case: Case, plan: Plan) -> str:
    """Of the contestant, and of what decides which architectures it sees."""
    return digest(contestant.fingerprint, str(max(case.sizes)), str(plan.num_query))


class _Draws:
    """The draws of one seed, made once for all contestants."""

    def __init__(self, episode: Episode, plan: Plan) -> None:
        self.episode, self._plan = episode, plan
        self._made: dict[int, Draw] = {}

    def of(self, size: int) -> Draw:
        if size not in self._made:
            self._made[size] = self._drawn(size)
        return self._made[size]

    def _drawn(self, size: int) -> Draw:
        if self._plan.selection == OWN:
            return self.episode.own_draw(size)
        features = self._plan.features if self._plan.selection == DIVERSE else None
        return self.episode.diverse_draw(size, features) if features else self.episode.draw(size)


def _scored(case: Case, contestant: Contestant, draw: Draw, seed: int, plan: Plan) -> Result | Failure:
    task, support, asked = draw.measured.task, draw.support, draw.asked
    try:
        predictor = contestant.predictor  # built before the clock starts
        start = time.perf_counter()
        adapted = predictor.adapt(task, draw.measured.space, support)
        between = time.perf_counter()
        predictions = adapted.predict(asked)
        end = time.perf_counter()
        if not np.isfinite(predictions.mean).all():
            raise ValueError("expected finite forecasts, got NaN or infinity")
    except MODEL_FAILURES as error:
        return Failure(case.name, contestant.name, seed, len(support), f"{type(error).__name__}: {error}")
    return Result(
        protocol=plan.protocol,
        case=case.name,
        task=case.task,
        groups="|".join(case.groups),
        contestant=contestant.name,
        kind=contestant.kind,
        selection=plan.selection,
        seed=seed,
        num_observations=len(support),
        num_query=len(asked),
        fingerprint=_fingerprint(contestant, case, plan),
        seconds_to_adapt=between - start if contestant.has_own_adaptation else math.nan,
        seconds_to_forecast=end - between,
        **asdict(score(predictions, draw.truth, task.metric)),
    )
