"""The section `replicas` of `bench_service.py`: how many forecasts two replicas answer in the time of one.

Both stand on one PostgreSQL. Each has one thread for the surrogate, as the service has beside a worker. One and two are asked in turn,
the same number of requests over the same number of connections, of two kinds: for architectures that are forecast already, and for some that nobody
named before. This process makes the load, and it and PostgreSQL need a share of the cores too: on two cores they have to take it from the replicas,
so beside the gain stands what the cores allow: all cores, less what the load took, in units of what one replica took.
"""

from __future__ import annotations

import itertools
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import numpy as np
from serving_load import cells, computed_cells, forecast, load
from serving_processes import HOST, Service

if TYPE_CHECKING:
    from bench_service import Place
    from bench_serving import Report

_AIM = "at least 1.6, where the cores allow it"
_METRIC = {"name": "accuracy", "unit": "%", "direction": "maximize"}
_CONNECTIONS = 16
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Round:
    """What one round of load showed."""

    rate: float  # forecasts a second
    load_cores: float  # what this process took
    service_cores: float  # what the replicas took


def measure(place: Place, is_quick: bool, report: Report) -> None:
    """Starts two replicas and asks one of them, then both, again and again."""
    if place.database != "postgresql":
        return  # one machine has one service on SQLite
    requests, repeats = (16, 1) if is_quick else (600, 5)
    shared = {"DATABASE_URL": place.url, "EMBEDDED_WORKER": False, "TORCH_THREADS": 1, "PREDICTION_LOG_RATE": 0}
    services = [Service(place.folder / f"replica-{number}", False, **shared) for number in (1, 2)]
    try:
        for service in services:
            service.start()
        _prepare(services)
        rng = np.random.default_rng(0)
        known, new = cells(rng), computed_cells(rng)
        kinds: dict[str, Callable[[], list[bytes]]] = {
            "forecast before, 100 a request": lambda: _asked("bench-nasbench201", [known[:100]] * requests),
            "never named before, 10 a request": lambda: _asked(
                "bench-nasbench101", [list(itertools.islice(new, 10)) for _ in range(requests)]
            ),
        }
        for kind, prepared in kinds.items():
            size = 100 if "100" in kind else 10
            rounds = [[_round(services[:number], prepared(), size) for number in (1, 2)] for _ in range(repeats)]
            _report(report, kind, rounds)
    finally:
        for service in services:
            service.stop()


def _prepare(services: Sequence[Service]) -> None:
    for number, service in enumerate(services):
        with httpx.Client(base_url=f"http://{HOST}:{service.port}", timeout=_PATIENCE_SECONDS) as client:
            for space in ("nasbench201", "nasbench101"):
                task = {"name": f"bench-{space}", "search_space": space, "dataset": "bench", "metric": _METRIC}
                if number == 0:
                    client.post("/v1/tasks", json=task).raise_for_status()
                drawn = client.get(f"/v1/search-spaces/{space}/sample?count=50&seed=0").json()["architectures"]
                body = {"architectures": [one["genotype"] for one in drawn]}
                client.post(f"/v1/tasks/bench-{space}/predictions", json=body).raise_for_status()


def _asked(task: str, batches: Sequence[Sequence[str]]) -> list[bytes]:
    return [forecast(task, batch) for batch in batches]


def _round(services: Sequence[Service], requests: Sequence[bytes], size: int) -> Round:
    before, own, began = sum(one.cpu_seconds() for one in services), _own_cpu(), time.perf_counter()
    found = load([service.port for service in services], requests, _CONNECTIONS)
    took = time.perf_counter() - began
    spent = sum(one.cpu_seconds() for one in services) - before
    return Round(found.rate * size, (_own_cpu() - own) / took, spent / took)


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _report(report: Report, kind: str, rounds: Sequence[Sequence[Round]]) -> None:
    for number, name in enumerate(("one replica", "two replicas")):
        for one in rounds:
            report.add(f"{kind}: forecasts of {name}", one[number].rate, "/s")
            report.add(f"{kind}: cores that {name} took", one[number].service_cores, "")
            report.add(f"{kind}: cores that the load for {name} took", one[number].load_cores, "")
    for one in rounds:
        report.add(f"{kind}: two against one", one[1].rate / one[0].rate, "×", _AIM)
    alone = statistics.median(one[0].service_cores for one in rounds)
    allowed = ((os.cpu_count() or 1) - statistics.median(one[1].load_cores for one in rounds)) / alone
    report.add(f"{kind}: what the cores would allow", min(2.0, allowed), "×")
