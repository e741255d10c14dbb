"""The clients of `fault_test.py`: they ask, measure, report and correct like users do, insist until they are answered, and write
down what was acknowledged.

What a client sends is told apart by its value: no two observations have the same one.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

Document = dict[str, Any]

LEASE_SECONDS = 8.0
_GIVE_UP_SECONDS = 180.0
_LOST = (403, 404, 409)  # what is answered to who is too late


class RefusedError(Exception):
    """The service said no, and will say so again."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status


class GaveUpError(Exception):
    """Nobody answered for minutes: whether it was done is not known."""


@dataclass
class Ledger:
    """What was sent and what was acknowledged. Any number of threads write into it."""

    sent: dict[float, str] = field(default_factory=dict)  # value -> how
    acknowledged: dict[float, int] = field(default_factory=dict)  # value -> how many observations the answer spoke of
    replaced: dict[float, float] = field(default_factory=dict)  # corrected value -> the new one, acknowledged
    maybe_replaced: set[float] = field(default_factory=set)
    completed: dict[int, list[float]] = field(
        default_factory=dict
    )  # trial -> the values that were acknowledged with it
    given: list[tuple[int, str]] = field(default_factory=list)  # trial and token, as handed out
    statuses: Counter[int] = field(default_factory=Counter)
    num_repeats: int = 0
    num_lost: int = 0
    longest_wait: float = 0.0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Insisting:
    """Calls that are made again, to whichever replica, until one answers."""

    def __init__(self, urls: Sequence[str], ledger: Ledger, rng: random.Random) -> None:
        self._clients = [httpx.Client(base_url=url, timeout=10.0) for url in urls]
        self._ledger, self._rng = ledger, rng

    def get(self, path: str) -> Document:
        """A document."""
        return self._insist("GET", path, None, {})

    def post(self, path: str, body: Mapping[str, Any]) -> Document:
        """Done once, however often it is sent: under one idempotency key."""
        return self._insist("POST", path, body, {"Idempotency-Key": str(uuid.uuid4())})

    def _insist(self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Document:
        began = time.monotonic()
        for number in itertools.count():
            answer = self._once(method, path, body, headers)
            if answer is not None and not self._may_change(answer):
                break
            if time.monotonic() - began > _GIVE_UP_SECONDS:
                raise GaveUpError(f"{method} {path}")
            with self._ledger.lock:
                self._ledger.num_repeats += 1
            time.sleep(min(0.05 * 2.0**number, 1.0) * self._rng.uniform(0.5, 1.0))
        with self._ledger.lock:
            self._ledger.longest_wait = max(self._ledger.longest_wait, time.monotonic() - began)
        if answer.is_error:
            raise RefusedError(answer.status_code, str(answer.json().get("detail")))
        document: Document = answer.json()
        return document

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        client = self._rng.choice(self._clients)
        try:
            answer = client.request(method, path, json=body, headers=headers)
        except httpx.TransportError:
            answer = None
        with self._ledger.lock:
            self._ledger.statuses[0 if answer is None else answer.status_code] += 1
            if answer is not None and answer.status_code >= 500 and answer.status_code != 503:
                self._ledger.errors.append(f"{answer.status_code} to {method} {path}: {answer.text[:300]}")
        return answer

    @staticmethod
    def _may_change(answer: httpx.Response) -> bool:
        if answer.status_code == 409:
            return str(answer.json().get("type")) == "/problems/idempotency-key-in-flight"
        return answer.status_code >= 500 or answer.status_code == 429


class Worker:
    """One client: a loop of things that users do, drawn at random."""

    def __init__(
        self, number: int, urls: Sequence[str], task: str, genotypes: Sequence[str], ledger: Ledger,
        stopped: threading.Event,
    ) -> None:  # fmt: skip
        self._name, self._task, self._genotypes = f"worker-{number}", task, genotypes
        self._rng = random.Random(number)
        self._values = (number + 1 + step / 2**20 for step in itertools.count())
        self._ledger, self._stopped = ledger, stopped
        self._calls = Insisting(urls, ledger, self._rng)
        self._own: list[tuple[int, float]] = []  # observations that may be corrected

    def run(self) -> None:
        """Until it is stopped; what goes wrong is written down."""
        deeds = [self._measure, self._observe, self._request, self._forecast, self._correct]
        while not self._stopped.is_set():
            (deed,) = self._rng.choices(deeds, weights=[40, 30, 8, 15, 7])
            try:
                deed()
            except (RefusedError, GaveUpError) as error:
                with self._ledger.lock:
                    self._ledger.errors.append(f"{deed.__name__}: {type(error).__name__} {error}")

    def _new_value(self, how: str) -> float:
        value = next(self._values)
        with self._ledger.lock:
            self._ledger.sent[value] = how
        return value

    def _acknowledge(self, values: Sequence[float]) -> None:
        with self._ledger.lock:
            for value in values:
                self._ledger.acknowledged[value] = self._ledger.acknowledged.get(value, 0) + 1

    def _observe(self) -> None:
        values = [self._new_value("observation") for _ in range(self._rng.randint(1, 3))]
        drafts = [{"architecture": self._rng.choice(self._genotypes), "value": value} for value in values]
        posted = self._calls.post(f"/v1/tasks/{self._task}/observations", {"observations": drafts})["observations"]
        self._acknowledge(values)
        self._own += [(one["id"], value) for one, value in zip(posted, values, strict=True)]

    def _correct(self) -> None:
        if not self._own:
            return
        observation, old = self._own.pop(self._rng.randrange(len(self._own)))
        value = self._new_value("correction")
        with self._ledger.lock:
            self._ledger.maybe_replaced.add(old)
        path = f"/v1/tasks/{self._task}/observations/{observation}/correction"
        self._calls.post(path, {"value": value, "reason": "a typing error"})
        self._acknowledge([value])
        with self._ledger.lock:
            self._ledger.replaced[old] = value

    def _request(self) -> None:
        wanted = self._rng.sample(self._genotypes, 2)
        self._calls.post(f"/v1/tasks/{self._task}/trials", {"architectures": wanted})

    def _forecast(self) -> None:
        asked = self._rng.sample(self._genotypes, 5)
        answer = self._calls.post(f"/v1/tasks/{self._task}/predictions", {"architectures": asked})
        means = [one["mean"] for one in answer["predictions"]]
        if len(means) != len(asked):
            raise RefusedError(200, f"expected {len(asked)} forecasts, got {len(means)}")

    def _measure(self) -> None:
        body = {"worker_id": self._name, "count": 1, "lease_seconds": LEASE_SECONDS}
        trials = self._calls.post(f"/v1/tasks/{self._task}/trials:suggest", body)["trials"]
        for trial in trials:
            with self._ledger.lock:
                self._ledger.given.append((trial["id"], trial["lease_token"]))
            try:
                self._train(trial)
            except RefusedError as refused:
                if refused.status not in _LOST:
                    raise
                with self._ledger.lock:
                    self._ledger.num_lost += 1

    def _train(self, trial: Document) -> None:
        path = f"/v1/tasks/{self._task}/trials/{trial['id']}"
        held = {"lease_token": trial["lease_token"]}
        if self._rng.random() < 0.3:
            self._calls.post(f"{path}:heartbeat", held)
        fate = self._rng.random()
        if fate < 0.05:
            return  # it dies: the lease runs out
        if fate < 0.10:
            self._calls.post(f"{path}:fail", {**held, "reason": "out of memory", "is_retryable": True})
        elif fate < 0.15:
            self._calls.post(f"{path}:abandon", {**held, "reason": "no time left"})
        else:
            value = self._new_value(f"trial {trial['id']}")
            self._calls.post(f"{path}:complete", {**held, "observations": [{"value": value}]})
            self._acknowledge([value])
            with self._ledger.lock:
                self._ledger.completed.setdefault(trial["id"], []).append(value)
