"""A Ray Tune searcher that asks Archcast (extra `ray`).

    tune.Tuner(
        objective,
        param_space={"lr": tune.loguniform(1e-4, 1e-1), "layers": tune.randint(1, 9)},
        tune_config=tune.TuneConfig(search_alg=ArchcastSearcher(metric="accuracy", mode="max"), num_samples=100),
    ).fit()

Each trial of Ray is a suggestion under a lease of its own, kept while it runs. What is completed is told, failures return to
the pool, and trials that a scheduler stops early are told as far as they came if `max_fidelity` says how many iterations a
whole one has.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import uuid
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.sample import Categorical, Domain, Float, Integer, Quantized
from ray.tune.search.variant_generator import parse_spec_vars
from ray.tune.utils.util import flatten_dict, unflatten_dict

from app.client import DEFAULT_URL, Client, ClientError
from app.integrations.measuring import Asking, Direction, Held, Pool
from app.integrations.parameters import Choice, Parameter, ParameterSpace, Real, Whole

_DIRECTIONS: Mapping[str, Direction] = {"max": "maximize", "min": "minimize"}
_ITERATION = "training_iteration"
_logger = logging.getLogger(__name__)


class ArchcastSearcher(Searcher):  # type: ignore[misc,unused-ignore]
    """Asks an Archcast service what Ray Tune is to try next. It lives in Ray's driver alone.

    Args:
        metric: What the trials report.
        mode: max or min.
        space: The parameters; without it, the tuner's `param_space`.
        url: Where the service is.
        study: Experiments of one name share what they measure; without it, this one is by itself.
        max_fidelity: How many iterations (`training_iteration`) a whole trial reports.
        acquisition: ucb, ei, thompson or mean.
        lease_seconds: How long a suggestion waits for a driver that died.
        api_key: The service's key; without it, that of ARCHCAST_API_KEY.
    """

    def __init__(
        self,
        metric: str | None = None,
        mode: str | None = None,
        *,
        space: Mapping[str, Any] | None = None,
        url: str = DEFAULT_URL,
        study: str | None = None,
        max_fidelity: float | None = None,
        acquisition: str = "ucb",
        lease_seconds: float = 120.0,
        api_key: str | None = None,
    ) -> None:
        if mode is not None and mode not in _DIRECTIONS:
            raise ValueError(f"expected the mode max or min, got {mode!r}")
        super().__init__(metric=metric, mode=mode)
        self._metric: str | None = metric
        self._mode: str | None = mode
        self._url, self._api_key = url, api_key
        self._study = study or f"ray-{uuid.uuid4().hex[:12]}"
        self._asking = Asking(lease_seconds, acquisition, max_fidelity)
        self._space = None if space is None else dict(space)
        self._open()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """What the tuner says; False if a space was given and the tuner has another one, too."""
        if self._space is not None and config:
            return False
        self._space = dict(config) if self._space is None else self._space
        self._metric, self._mode = metric or self._metric, mode or self._mode
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A configuration; None while the rest of the space is out, FINISHED when all of it was tried."""
        with self._lock:
            held = self._pool_now().ask()
            if held is None:
                return None if self._held else str(Searcher.FINISHED)
            self._held[trial_id], self._reported[trial_id] = held, {}
        _, constants = _split(self._space or {})
        return dict(unflatten_dict({**constants, **held.values}))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keeps an intermediate result until the trial ends."""
        value, iteration = result.get(self._metric or ""), result.get(_ITERATION)
        if trial_id in self._reported and isinstance(value, int | float) and iteration is not None:
            self._reported[trial_id][float(iteration)] = float(value)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells Archcast. What cannot be told is logged: the experiment goes on, and the suggestion returns to the pool."""
        with self._lock:
            held, reported = self._held.pop(trial_id, None), self._reported.pop(trial_id, {})
        if held is None:
            return
        try:
            self._tell(held, trial_id, reported, result or {}, error)
        except ClientError as refused:
            _logger.warning("trial %s could not be told to Archcast: %s", trial_id, refused)

    def save(self, checkpoint_path: str) -> None:
        """Writes what is out as JSON."""
        with self._lock:
            held = {trial_id: {"trial": one.trial, "values": one.values} for trial_id, one in self._held.items()}
            state = {
                "study": self._study,
                "held": held,
                "reported": {k: list(v.items()) for k, v in self._reported.items()},
            }
        Path(checkpoint_path).write_text(json.dumps(state, default=repr), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Goes on with the same study, and with what was out if its lease still holds."""
        state = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
        with self._lock:
            self._study = state["study"]
            self._forget_pool()
            if not state["held"]:
                return
            pool = self._pool_now()
            for trial_id, one in state["held"].items():
                values = pool.space.decode(one["trial"]["genotype"])
                self._held[trial_id] = Held(pool, one["trial"], values)
                self._reported[trial_id] = dict(state["reported"].get(trial_id, []))

    def __getstate__(self) -> dict[str, Any]:
        """Ray stores the searcher with the tuner; connections and leases stay in this process."""
        return {name: value for name, value in vars(self).items() if name not in ("_client", "_pool", "_held", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        self._client = Client(self._url, api_key=self._api_key)
        weakref.finalize(self, self._client.close)  # Ray does not tell when a searcher is done with
        self._lock = threading.RLock()
        self._forget_pool()
        self._held: dict[str, Held] = {}
        self._reported: dict[str, dict[float, float]] = {}

    def _forget_pool(self) -> None:
        self._pool: Pool | None = None

    def _tell(
        self, held: Held, trial_id: str, reported: Mapping[float, float], result: Mapping[str, Any], error: bool
    ) -> None:
        value, last = result.get(self._metric or ""), self._asking.max_fidelity
        came_to = float(result.get(_ITERATION) or math.inf)
        if error:
            held.fail(f"the Ray trial {trial_id} ended with an error", is_retryable=True)
        elif not isinstance(value, int | float):
            held.abandon(f"the Ray trial {trial_id} reported no {self._metric}")
        elif last is not None and came_to < last:
            held.stop_early({**reported, came_to: float(value)}, "stopped early")
        else:
            held.complete(float(value), reported, f"ray:{self._study}:{trial_id}"[:128])

    def _pool_now(self) -> Pool:
        if self._pool is None:
            if not self._space:
                raise ValueError("expected a search space, in `space` or as the tuner's param_space, got none")
            if not self._metric or not self._mode or self._mode not in _DIRECTIONS:
                raise ValueError(f"expected a metric and the mode max or min, got {self._metric!r} and {self._mode!r}")
            domains, _ = _split(self._space)
            space = ParameterSpace({name: parameter_of(name, one) for name, one in domains.items()})
            about = (self._study, self._metric, _DIRECTIONS[self._mode])
            self._pool = Pool.declared(self._client, "ray", *about, space, self._asking)
        return self._pool


def _split(config: Mapping[str, Any]) -> tuple[dict[str, Domain], dict[str, Any]]:
    """What is searched and what is constant, by flat names; raises ValueError for a grid search."""
    _, domains, grids = parse_spec_vars(dict(config))
    if grids:
        raise ValueError(
            f"expected domains such as tune.choice, got a grid search at {'/'.join(map(str, grids[0][0]))}"
        )
    searched = {"/".join(map(str, path)): domain for path, domain in domains}
    flat = flatten_dict(dict(config), prevent_delimiter=True)
    return searched, {name: value for name, value in flat.items() if name not in searched}


def parameter_of(name: str, domain: Domain) -> Parameter:
    """A domain of Ray Tune as a parameter; raises ValueError for one that Archcast cannot search."""
    sampler = domain.get_sampler()
    step = sampler.q if isinstance(sampler, Quantized) else None
    inner = sampler.get_sampler() if isinstance(sampler, Quantized) else sampler
    log = type(inner).__name__ == "_LogUniform"
    is_plain = log or type(inner).__name__ == "_Uniform"
    if isinstance(domain, Categorical):
        return Choice(tuple(domain.categories))
    if isinstance(domain, Integer) and is_plain:
        return _whole(domain, None if step in (None, 1) else int(step or 1), log)
    if isinstance(domain, Float) and is_plain and math.isfinite(domain.lower) and math.isfinite(domain.upper):
        return _real(name, domain, step, log)
    raise ValueError(f"expected a choice, or a uniform domain with both ends, of {name!r}, got {domain.domain_str}")


def _whole(domain: Integer, step: int | None, log: bool) -> Parameter:
    """Ray's upper end is excluded, but for quantized domains. Both log and step: a list of what there is."""
    high = domain.upper - 1 if step is None else domain.upper // step * step
    low = domain.lower if step is None else -(-domain.lower // step) * step
    if step is not None and log:
        return Choice(tuple(range(low, high + 1, step)))
    return Whole(low, high, step or 1, log)


def _real(name: str, domain: Float, step: float | None, log: bool) -> Parameter:
    if step is None:
        return Real(domain.lower, domain.upper, None, log)
    if log:
        raise ValueError(f"expected a log domain without steps of {name!r}, got one with steps of {step}")
    return Real(math.ceil(domain.lower / step - 1e-9) * step, domain.upper, step)
