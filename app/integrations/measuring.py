"""What a tool's own trials have to do with Archcast's: asking, keeping the lease while something is measured, telling."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.client import Client, ClientError, Document
from app.client_trials import Heart, new_worker_id
from app.integrations.parameters import ParameterSpace, digest

_NOT_IN_A_SLUG = re.compile(r"[^A-Za-z0-9._-]")
_LARGEST_VALUE = 1e30
_MAX_INTERMEDIATE = 1_000
_BATCH_SIZE = 500
_ENDED_STATUSES = (403, 404, 409)

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Asking:
    """How suggestions are asked for; `max_fidelity`: the budget, such as epochs, that counts as final."""

    lease_seconds: float = 120.0
    acquisition: str = "ucb"
    max_fidelity: float | None = None


class Held:
    """A suggestion under a lease, kept until it is told how it ended."""

    def __init__(self, pool: Pool, trial: Document, values: dict[str, Any]) -> None:
        self._pool, self.trial, self.values = pool, trial, values
        self._heart = Heart.of(pool.client, pool.task, trial)
        self._heart.start()

    def complete(self, value: float, intermediate: Mapping[float, float] | None = None, key: str | None = None) -> None:
        """Tells what was measured; `key` records it where the lease was lost meanwhile."""
        if not is_tellable(value):
            self.fail(f"expected a finite value, got {value}", is_retryable=False)
            return
        early = self._pool.intermediate(intermediate or {})
        fidelity = self._pool.asking.max_fidelity if early else None
        rows = [*early, {"value": float(value), "fidelity": fidelity}]
        try:
            self._end(lambda: self._client.complete(*self._named, rows))
        except ClientError as error:
            if error.status not in _ENDED_STATUSES or key is None:
                raise
            self._pool.record([(key, self.values, value)])

    def stop_early(self, intermediate: Mapping[float, float], reason: str) -> None:
        """Tells what was measured of a trial that was not worth its full budget. Where nothing says how far it came, it has
        failed for good, so that it is not suggested again."""
        early = self._pool.intermediate(intermediate)
        if early:
            self._end(lambda: self._client.complete(*self._named, early))
        else:
            self.fail(reason, is_retryable=False)

    def fail(self, reason: str, *, is_retryable: bool) -> None:
        """Tells that there is no value; retryable: somebody else may try."""
        self._end(lambda: self._client.fail(*self._named, reason[:10_000], is_retryable))

    def abandon(self, reason: str) -> None:
        """Gives it back."""
        self._end(lambda: self._client.abandon(*self._named, reason))

    @property
    def _client(self) -> Client:
        return self._pool.client

    @property
    def _named(self) -> tuple[str, int, str]:
        return self._pool.task, int(self.trial["id"]), str(self.trial["lease_token"])

    def _end(self, tell: Any) -> None:
        self._heart.stop()
        tell()


class Pool:
    """The task of one study, in which any number of its workers ask and tell."""

    def __init__(self, client: Client, task: str, space: ParameterSpace, asking: Asking) -> None:
        self.client, self.task, self.space, self.asking = client, task, space, asking

    @classmethod
    def declared(
        cls,
        client: Client,
        tool: str,
        study: str,
        metric: str,
        direction: Direction,
        space: ParameterSpace,
        asking: Asking,
    ) -> Pool:
        """The pool with its search space and its task, created where they are missing. The same study with other parameters,
        or another direction, is another task."""
        search_space = f"{tool}-{space.digest}"
        client.declare_search_space(search_space, space.definition, f"Parameters of {tool} studies.")
        about = [study, metric, direction, search_space, asking.max_fidelity]
        task = f"{tool}-{_NOT_IN_A_SLUG.sub('-', study)[:90]}-{digest(about)}"
        described = {"name": (metric or "value")[:64], "unit": "1", "direction": direction}
        more = {} if asking.max_fidelity is None else {"max_fidelity": asking.max_fidelity}
        client.create_task(task, search_space, (study or "study")[:128], described, **more)
        return cls(client, task, space, asking)

    def ask(self) -> Held | None:
        """Something to measure, as a worker of its own; None: all is tried or out."""
        members = {"lease_seconds": self.asking.lease_seconds, "acquisition": self.asking.acquisition}
        trials = self.client.suggest_trials(self.task, new_worker_id(), 1, **members)["trials"]
        return Held(self, trials[0], self.space.decode(trials[0]["genotype"])) if trials else None

    def record(self, measured: Sequence[tuple[str, Mapping[str, Any], float]]) -> None:
        """Tells what was measured without having been suggested: key, parameters and value of each. What has other
        parameters, or no finite value, is left out; again is harmless."""
        rows = [row for one in measured if (row := self._row(*one)) is not None]
        for start in range(0, len(rows), _BATCH_SIZE):
            self.client.post_observations(self.task, rows[start : start + _BATCH_SIZE])

    def intermediate(self, values: Mapping[float, float]) -> list[Document]:
        """Values below the final fidelity, as observations."""
        last = self.asking.max_fidelity
        if last is None:
            return []
        early = [(at, value) for at, value in sorted(values.items()) if 0 < at < last and is_tellable(value)]
        return [{"value": float(value), "fidelity": float(at)} for at, value in early[-_MAX_INTERMEDIATE + 1 :]]

    def _row(self, key: str, values: Mapping[str, Any], value: float) -> Document | None:
        try:
            architecture = self.space.encode(values)
        except (ValueError, TypeError):
            return None
        return {"architecture": architecture, "value": float(value), "client_key": key} if is_tellable(value) else None


def is_tellable(value: float) -> bool:
    """Whether a service takes the value."""
    return math.isfinite(value) and abs(value) <= _LARGEST_VALUE
