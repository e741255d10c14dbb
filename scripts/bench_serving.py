"""How fast the service answers and how much memory it takes; beside it, in the same run, an empty FastAPI endpoint.

    python scripts/bench_serving.py             everything, some minutes
    python scripts/bench_serving.py --quick     a tiny run that only shows that everything works

Starts a service of its own on an empty data folder. This process makes the load, over keep-alive connections with requests
that were written beforehand, since a client library would be the bottleneck. Prints a Markdown table with the targets beside
the figures (median, lowest to highest of the repeats) and writes the same as JSON.

NAS-Bench-201 is small enough to be forecast as a whole in the background after every adaptation, so that no request about it
waits for the surrogate. NAS-Bench-101 and FBNet are not: nothing about their architectures is known before they are asked for.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from serving_load import EMPTY, cells, chains, computed_cells, forecast, load, post
from serving_processes import HOST, Service, empty_endpoint
from tqdm import tqdm

from app.client import Client, ClientError

CELLS, COMPUTED, CHAINS = "nasbench201", "nasbench101", "fbnet"
CONCURRENCY = 16


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    repeats: int = 5
    sequential: int = 200  # requests one after the other
    concurrent: int = 2_000  # requests of one round with 16 connections
    large: int = 10_000  # architectures in one request
    adapted_on: int = 100
    ingested: int = 100_000
    load_shipped: bool = True


QUICK = Size(repeats=1, sequential=5, concurrent=32, large=50, adapted_on=8, ingested=200, load_shipped=False)


@dataclass
class Figure:
    """One line of the report."""

    what: str
    target: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """Median, and the range where there is one."""
        if not self.values:
            return "not measured"
        middle = f"{_digits(statistics.median(self.values))} {self.unit}".rstrip()
        low, high = min(self.values), max(self.values)
        return middle if low == high else f"{middle} ({_digits(low)}–{_digits(high)})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


class Report:
    """The figures in the order in which they were first asked for."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}

    def add(self, what: str, value: float, unit: str, target: str = "") -> None:
        """Adds one repeat."""
        self.figures.setdefault(what, Figure(what, target, unit)).values.append(value)

    def markdown(self) -> str:
        """A table for docs/quality.md."""
        lines = ["| what | aim | measured: median (lowest–highest) |", "|---|---|---|"]
        lines += [f"| {one.what} | {one.target} | {one.shown} |" for one in self.figures.values()]
        return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else (float("nan"),)
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "load_before": load[0],  # much more than 0: others were at work, and the figures are worse than they need be
    }


class Bench:
    """Measures one running service into a report."""

    def __init__(self, service: Service, client: Client, size: Size, report: Report) -> None:
        self.service, self.client, self.size, self.report = service, client, size, report
        self._rng = np.random.default_rng(0)
        self._cells = cells(self._rng)
        self._sources = {
            CELLS: itertools.cycle(self._cells), COMPUTED: computed_cells(self._rng), CHAINS: chains(self._rng)
        }  # fmt: skip

    def fresh(self, space: str, count: int) -> list[str]:
        """Architectures that no request named before."""
        return list(itertools.islice(self._sources[space], count))

    def prepare(self) -> None:
        """Waits for what a first start does in the background, and adapts one task on each space."""
        for task in list(self.client.tasks()):
            self.client.wait_until_fresh(task["name"], timeout_seconds=600.0)
        for space in (CELLS, COMPUTED, CHAINS):
            self.adapted(f"bench-{space}", space)
        self.client.candidates(f"bench-{CELLS}")  # answers once the whole space is forecast

    def adapted(self, task: str, space: str) -> float:
        """Creates a task, posts observations, and answers the seconds until forecasts rest on them."""
        metric = {"name": "accuracy", "unit": "%", "direction": "maximize"}
        self.client.create_task(task, space, task, metric)
        values = self._rng.normal(70.0, 5.0, self.size.adapted_on).tolist()
        named = self.fresh(space, self.size.adapted_on)
        began = time.perf_counter()
        self.client.post_observations(
            task, [{"architecture": one, "value": value} for one, value in zip(named, values, strict=True)]
        )
        self.client.wait_until_fresh(task, timeout_seconds=300.0, poll_seconds=0.02)
        return time.perf_counter() - began

    def one_at_a_time(self) -> None:
        """One architecture in each request, one request after the other."""
        aim = "under 10 ms"
        for space, name in ((CELLS, "NAS-Bench-201"), (COMPUTED, "NAS-Bench-101")):
            requests = [forecast(f"bench-{space}", [one]) for one in self.fresh(space, self.size.sequential)]
            new, again = load(self.service.port, requests), load(self.service.port, requests)
            self.report.add(f"one architecture over HTTP, {name}, never asked for before", new.median_ms, "ms", aim)
            self.report.add(f"one architecture over HTTP, {name}, remembered", again.median_ms, "ms", aim)

    def many_at_once(self, empty_port: int) -> None:
        """Requests per second beside the empty endpoint's in the same round."""
        empty = load(empty_port, [EMPTY] * self.size.concurrent, CONCURRENCY).rate
        self.report.add("requests per second, empty FastAPI endpoint, 16 connections", empty, "/s")
        for space, name in ((CELLS, "NAS-Bench-201"), (COMPUTED, "NAS-Bench-101")):
            requests = [forecast(f"bench-{space}", [one]) for one in self.fresh(space, self.size.concurrent)]
            for what in ("never asked for before", "remembered"):
                rate = load(self.service.port, requests, CONCURRENCY).rate
                self.report.add(f"requests per second, {name}, {what}, 16 connections", rate, "/s")
                self.report.add(f"share of the empty endpoint, {name}, {what}", rate / empty, "", "at least 0.5")

    def large_request(self) -> None:
        """Many architectures in one request, for the first time and again."""
        count = self.size.large
        for space, name in ((CELLS, "NAS-Bench-201"), (COMPUTED, "NAS-Bench-101"), (CHAINS, "FBNet, 22 layers")):
            request = [forecast(f"bench-{space}", self.fresh(space, count))]
            for what, aim in (("first time", "under 2 s"), ("again", "under 0.5 s")):
                seconds = load(self.service.port, request).seconds
                self.report.add(f"{count:,} architectures in one request, {name}, {what}", seconds, "s", aim)

    def adaptation(self, repeat: int) -> None:
        """From posted observations to fresh forecasts."""
        seconds = self.adapted(f"bench-adapted-{repeat}", CELLS)
        job = self._job_of(f"bench-adapted-{repeat}")
        count = self.size.adapted_on
        self.report.add(f"adaptation to {count} observations, itself", job["seconds"], "s", "under 2 s")
        self.report.add(f"adaptation to {count} observations, from posting to fresh", seconds, "s")

    def _job_of(self, task: str) -> dict[str, Any]:
        answer = httpx.get(f"http://{HOST}:{self.service.port}/v1/jobs", params={"kind": "adapt", "state": "done"})
        return next(job["result"] for job in answer.json()["items"] if job["result"]["task"] == task)

    def candidates(self, repeat: int) -> None:
        """What to measure next among all cells."""
        for acquisition in ("ucb", "ei"):
            began = time.perf_counter()
            self.client.candidates(f"bench-{CELLS}", k=10, acquisition=acquisition, seed=repeat)
            milliseconds = (time.perf_counter() - began) * 1e3
            self.report.add(
                f"candidates over 15,625 cells after adaptation, {acquisition}", milliseconds, "ms", "under 200 ms"
            )

    def ingestion(self) -> None:
        """Observations of all cells with ever other seeds, 1,000 in each request."""
        metric = {"name": "accuracy", "unit": "%", "direction": "maximize"}
        self.client.create_task("bench-ingested", CELLS, "ingested", metric)
        values = self._rng.normal(70.0, 5.0, self.size.ingested)
        rows = [
            {"architecture": self._cells[place % len(self._cells)], "value": value, "seed": place // len(self._cells)}
            for place, value in enumerate(values.tolist())
        ]
        batches = [rows[start : start + 1_000] for start in range(0, len(rows), 1_000)]
        path = "/v1/tasks/bench-ingested/observations"
        requests = [post(path, {"observations": batch}) for batch in batches]
        found = load(self.service.port, requests)
        rate = sum(len(batch) for batch in batches[: len(found.latencies)]) / found.seconds
        what = f"observations ingested per second, {self.size.ingested:,} in batches of 1,000"
        self.report.add(what, rate, "/s", "at least 2,000")

    def memory(self) -> None:
        """After everything else."""
        own, worker = self.service.memory_mb()
        self.report.add("memory of the service after all that", own, "MB", "under 1,000 MB")
        self.report.add("memory of the worker beside it", worker, "MB")


def measured(size: Size, step: Callable[[str], None]) -> Report:
    """Runs everything; `step` is told what was done."""
    report = Report()
    with tempfile.TemporaryDirectory() as folder, empty_endpoint() as empty_port:
        service = Service(Path(folder), size.load_shipped)
        try:
            shipped = "with the shipped observations" if size.load_shipped else "empty"
            report.add(f"ready, new database ({shipped})", service.start(), "s")
            step("first start")
            with Client(f"http://{HOST}:{service.port}") as client:
                _measure(Bench(service, client, size, report), empty_port, step)
            service.stop()
            report.add("ready, second start", service.start(), "s", "under 8 s")
            step("second start")
        finally:
            service.stop()
    return report


def _measure(bench: Bench, empty_port: int, step: Callable[[str], None]) -> None:
    bench.prepare()
    step("background work of the first start")
    for repeat in range(bench.size.repeats):
        for part in (
            bench.one_at_a_time,
            lambda: bench.many_at_once(empty_port),
            bench.large_request,
            lambda: bench.candidates(repeat),  # noqa: B023 - called at once
        ):
            part()
        step(f"requests, repeat {repeat + 1}")
    for repeat in range(bench.size.repeats):
        bench.adaptation(repeat)
        step(f"adaptation, repeat {repeat + 1}")
    bench.ingestion()
    step("ingestion")
    bench.memory()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny run")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--ingest", type=int, help="how many observations are ingested")
    parser.add_argument("--no-shipped", action="store_true", help="do not load the shipped observations first")
    parser.add_argument("--output", type=Path, default=Path("var/bench/serving.json"))
    return parser.parse_args(given)


def size_of(args: argparse.Namespace) -> Size:
    """How much is measured, by the arguments."""
    size = asdict(QUICK if args.quick else Size())
    changed = {"repeats": args.repeats, "ingested": args.ingest, "load_shipped": False if args.no_shipped else None}
    return Size(**size | {name: value for name, value in changed.items() if value is not None})


def main(given: Sequence[str] | None = None) -> None:
    args = arguments(given)
    size = size_of(args)
    described = machine()
    with tqdm(total=2 * size.repeats + 4, unit=" parts", disable=None) as bar:

        def step(done: str) -> None:
            bar.set_description(done)
            bar.update(1)

        try:
            report = measured(size, step)
        except ClientError as error:
            raise SystemExit(f"the service refused: {error}") from error
    print(f"{described['cores']} cores ({described['processor']}), Python {described['python']}", end="")
    print(f", load {described['load_before']:.1f} before it began\n")
    print(report.markdown())
    args.output.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": described, "size": asdict(size), "figures": [asdict(one) for one in report.figures.values()]}
    args.output.write_text(json.dumps(document, indent=2) + "\n")
    print(f"\nfigures are in {args.output}")


if __name__ == "__main__":
    main()
