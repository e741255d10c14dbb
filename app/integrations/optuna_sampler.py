"""An Optuna sampler that asks Archcast (extra `optuna`).

    study = optuna.create_study(direction="maximize", sampler=ArchcastSampler("http://127.0.0.1:8000"))
    study.optimize(objective, n_trials=100)

Any number of Optuna workers may share a study: each suggestion is out under a lease of its own, kept while the objective
runs, and a worker that dies loses it to the others. What is completed is told, failures return to the pool, and pruned
trials are told as far as they came if `max_fidelity` says what their steps count towards.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from app.client import DEFAULT_URL, Client, ClientError
from app.integrations.measuring import Asking, Held, Pool, is_tellable
from app.integrations.parameters import Choice, Parameter, ParameterSpace, Real, Whole

TOLD = "archcast:told"
_logger = logging.getLogger(__name__)


class ArchcastSampler(BaseSampler):  # type: ignore[misc,unused-ignore]
    """Asks an Archcast service what to try next. May be used from several threads (`n_jobs`) and, each with a sampler of its
    own, from several processes.

    Args:
        url: Where the service is.
        search_space: What is suggested together, from the first trial on. Without it, the parameters that all completed
            trials share, so that the first trial is sampled by `independent_sampler`.
        max_fidelity: How many steps a whole trial reports, counted from 0: `trial.report(value, step)` with a smaller step
            is told as an intermediate result. Without it such reports are not told, and pruned trials have failed.
        acquisition: ucb, ei, thompson or mean.
        lease_seconds: How long a suggestion waits for a worker that died.
        independent_sampler: For what is not suggested together.
        api_key: The service's key; without it, that of ARCHCAST_API_KEY.
        client: Instead of `url` and `api_key`.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        max_fidelity: int | None = None,
        acquisition: str = "ucb",
        lease_seconds: float = 120.0,
        independent_sampler: BaseSampler | None = None,
        api_key: str | None = None,
        client: Client | None = None,
    ) -> None:
        self._client = client or Client(url, api_key=api_key)
        if client is None:
            weakref.finalize(self, self._client.close)  # Optuna does not tell when a sampler is done with
        self._given = None if search_space is None else dict(search_space)
        self._asking = Asking(lease_seconds, acquisition, max_fidelity)
        self._independent = independent_sampler or RandomSampler()
        self._seen = IntersectionSearchSpace()
        self._lock = threading.RLock()
        self._pools: dict[tuple[int, str], Pool] = {}
        self._told: dict[str, set[int]] = {}
        self._held: dict[int, Held] = {}

    def reseed_rng(self) -> None:
        """For forked workers: Archcast draws its own seeds."""
        self._independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What is suggested together; raises ValueError for a study of several objectives."""
        if len(study.directions) != 1:
            raise ValueError(f"expected a study of one objective, got one of {len(study.directions)}")
        with self._lock:
            known = self._given if self._given is not None else self._seen.calculate(study)
        return {name: one for name, one in known.items() if not one.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Asks Archcast; nothing where all of the space is tried or out, so that it is sampled independently."""
        if not search_space:
            return {}
        with self._lock:
            pool = self._pool(study, search_space)
            self._tell_earlier(study, pool)
        held = pool.ask()
        if held is None:
            return {}
        self._held[trial._trial_id] = held
        return dict(held.values)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A parameter that is not suggested together with others."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Tells Archcast. Where it does not answer, the trial is told with the next question: no measurement is lost."""
        self._independent.after_trial(study, trial, state, values)
        held = self._held.pop(trial._trial_id, None)
        if held is None:
            return
        try:
            self._tell(study, held, trial, state, values)
        except ClientError as error:
            _logger.warning("trial %d could not be told to Archcast: %s", trial.number, error)

    def _tell(
        self, study: Study, held: Held, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        if any(name not in trial.params or trial.params[name] != value for name, value in held.values.items()):
            held.abandon("the Optuna trial took other parameters")  # such as enqueued ones: told with the next question
        elif state == TrialState.COMPLETE and values is not None:
            held.complete(values[0], self._steps(trial), _key(trial))
            study._storage.set_trial_system_attr(trial._trial_id, TOLD, held.trial["task"])
        elif state == TrialState.PRUNED:
            held.stop_early(self._steps(trial), "pruned")
        elif state == TrialState.FAIL:
            held.fail(f"Optuna trial {trial.number} failed", is_retryable=True)
        else:
            held.abandon(f"Optuna trial {trial.number} is {state.name.lower()}")

    def _steps(self, trial: FrozenTrial) -> dict[float, float]:
        return {step + 1.0: value for step, value in trial.intermediate_values.items()}

    def _pool(self, study: Study, search_space: Mapping[str, BaseDistribution]) -> Pool:
        space = ParameterSpace({name: parameter_of(name, one) for name, one in search_space.items()})
        place = study._study_id, space.digest
        if place not in self._pools:
            direction = "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"
            self._pools[place] = Pool.declared(
                self._client, "optuna", study.study_name, "value", direction, space, self._asking  # type: ignore[arg-type]
            )  # fmt: skip
        return self._pools[place]

    def _tell_earlier(self, study: Study, pool: Pool) -> None:
        """Completed trials that were not suggested, or could not be told, or were told to a task of other parameters."""
        told = self._told.setdefault(pool.task, set())
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        new = [one for one in finished if one.number not in told]
        pool.record(
            [
                (_key(one), one.params, one.value)
                for one in new
                if one.system_attrs.get(TOLD) != pool.task and one.value is not None and is_tellable(one.value)
            ]
        )
        told.update(one.number for one in new)


def parameter_of(name: str, distribution: BaseDistribution) -> Parameter:
    """An Optuna distribution as a parameter; raises ValueError for one of another kind."""
    if isinstance(distribution, CategoricalDistribution):
        return Choice(tuple(distribution.choices))
    if isinstance(distribution, IntDistribution):
        return Whole(distribution.low, distribution.high, distribution.step, distribution.log)
    if isinstance(distribution, FloatDistribution):
        return Real(distribution.low, distribution.high, distribution.step, distribution.log)
    raise ValueError(
        f"expected a categorical, int or float distribution of {name!r}, got {type(distribution).__name__}"
    )


def _key(trial: FrozenTrial) -> str:
    """Known again by every worker; that of another study of the same name differs."""
    began = trial.datetime_start
    return f"optuna:{trial.number}:{'' if began is None else began.isoformat()}"
