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
import asyncio
import itertools
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from tqdm import tqdm

from app.client import Client, ClientError
from predictor.search_spaces.nasbench201 import NASBench201

HOST = "127.0.0.1"
CELLS, COMPUTED, CHAINS = "nasbench201", "nasbench101", "fbnet"
CONCURRENCY = 16
EMPTY = b"GET /empty HTTP/1.1\r\nHost: bench\r\n\r\n"
_MAX_LOAD_SECONDS = 120.0


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


class Connection(asyncio.Protocol):
    """Sends one prepared request after the other and takes the time until each answer is complete."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], deadline: float) -> None:
        self._requests, self._latencies, self._deadline = requests, latencies, deadline
        self._received, self._missing = bytearray(), -1
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # what create_connection promises
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._received[:end]).lower()
            if not head.startswith((b"http/1.1 200", b"http/1.1 201")):
                self._end(RuntimeError(f"expected an answer of 200, got {bytes(self._received[:300])!r}"))
                return
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            self._missing = length - (len(self._received) - end - 4)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            self._latencies.append(time.perf_counter() - self._began)
            self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or RuntimeError("expected the connection to be kept, got its end"))

    def _send(self) -> None:
        request = next(self._requests, None) if time.monotonic() < self._deadline else None
        if request is None:
            self._end(None)
            return
        self._received.clear()
        self._missing = -1
        self._began = time.perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if not self.finished.done():
            if error is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(error)
        self._transport.close()


@dataclass(frozen=True)
class Load:
    """What one round of load saw."""

    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds

    @property
    def median_ms(self) -> float:
        """Of one request."""
        return statistics.median(self.latencies) * 1e3


def load(port: int, requests: Sequence[bytes], connections: int = 1) -> Load:
    """Sends all requests over so many connections, each waiting for its answer."""

    async def run() -> Load:
        latencies: list[float] = []
        waiting, deadline = iter(requests), time.monotonic() + _MAX_LOAD_SECONDS
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        opened = [
            loop.create_connection(lambda: Connection(waiting, latencies, deadline), HOST, port)
            for _ in range(connections)
        ]
        await asyncio.gather(*(connection.finished for _, connection in await asyncio.gather(*opened)))
        return Load(time.perf_counter() - began, latencies)

    return asyncio.run(run())


def post(path: str, document: object) -> bytes:
    """A prepared request."""
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def forecast(task: str, architectures: Sequence[str]) -> bytes:
    """A prepared request for forecasts."""
    return post(f"/v1/tasks/{task}/predictions", {"architectures": list(architectures)})


def cells(rng: np.random.Generator) -> list[str]:
    """All NAS-Bench-201 cells in random order."""
    space = NASBench201()
    names = space.decisions[0].choices
    found = [f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|" for a, b, c, d, e, f in itertools.product(names, repeat=6)]
    return [found[place] for place in rng.permutation(len(found))]


def computed_cells(rng: np.random.Generator) -> Iterator[str]:
    """Different NAS-Bench-101 cells of seven nodes: a chain with up to three more edges."""
    spare = [(a, b) for a, b in itertools.combinations(range(7), 2) if b > a + 1]
    seen: set[str] = set()
    while True:
        matrix = [[int(target == source + 1) for target in range(7)] for source in range(7)]
        for place in rng.choice(len(spare), size=int(rng.integers(0, 4)), replace=False):
            matrix[spare[place][0]][spare[place][1]] = 1
        kinds = rng.choice(["conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3"], size=5)
        text = json.dumps({"matrix": matrix, "ops": ["input", *map(str, kinds), "output"]})
        if text not in seen:
            seen.add(text)
            yield text


def chains(rng: np.random.Generator) -> Iterator[str]:
    """FBNet architectures: 22 layers, one of nine blocks each (never the same twice but by a miracle)."""
    while True:
        yield str(rng.integers(0, 9, size=22).tolist())


class Service:
    """`archcast serve` on a folder; may be started again on the same one."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.port = free_port()
        settings = {"DATA_DIR": folder, "PORT": self.port, "FINE_TUNE_AFTER": 0, "LOAD_SHIPPED": size.load_shipped}
        self._environment = clean_environment() | {f"ARCHCAST_{name}": str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Seconds until it was ready."""
        began = time.perf_counter()
        command = [sys.executable, "-m", "app.cli", "serve", "--host", HOST]
        self._process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)
        wait_until_ready(f"http://{HOST}:{self.port}/readyz", self._process)
        return time.perf_counter() - began

    def stop(self) -> None:
        """Ends it in order."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60.0)
            self._process = None

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory of the service and of the worker beside it; NaN where the system does not tell."""
        parent = self._process.pid if self._process is not None else 0
        children = [pid for pid in _processes() if _status(pid).get("PPid") == str(parent)]
        return _resident_mb(parent), sum(map(_resident_mb, children)) if children else float("nan")


def _processes() -> list[int]:
    return [int(one.name) for one in Path("/proc").glob("[0-9]*")]


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _resident_mb(pid: int) -> float:
    value = _status(pid).get("VmRSS", "")
    return float(value.split()[0]) / 1024 if value else float("nan")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """Without byte code, as `make run` also sees to it, every start would compile PyTorch again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 300.0) -> None:
    """Until the address answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"expected a server at {url}, it ended with exit code {process.returncode}")
        try:
            if httpx.get(url, timeout=5.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"expected {url} to answer within {seconds:.0f} s")


@contextmanager
def empty_endpoint() -> Iterator[int]:
    """The port of a FastAPI application with one endpoint that does nothing, in a process of its own."""
    port = free_port()
    command = [sys.executable, __file__, "--serve-empty", str(port)]
    with subprocess.Popen(command, env=clean_environment()) as process:
        try:
            wait_until_ready(f"http://{HOST}:{port}/empty", process)
            yield port
        finally:
            process.terminate()


def serve_empty(port: int) -> None:
    """Under the same options as `archcast serve`."""
    app = FastAPI()

    @app.get("/empty")
    async def empty() -> dict[str, str]:
        return {}

    uvicorn.Server(uvicorn.Config(app, HOST, port, log_level="warning", access_log=False)).run()


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
        service = Service(Path(folder), size)
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
    parser.add_argument("--serve-empty", type=int, metavar="PORT", help=argparse.SUPPRESS)
    return parser.parse_args(given)


def size_of(args: argparse.Namespace) -> Size:
    """How much is measured, by the arguments."""
    size = asdict(QUICK if args.quick else Size())
    changed = {"repeats": args.repeats, "ingested": args.ingest, "load_shipped": False if args.no_shipped else None}
    return Size(**size | {name: value for name, value in changed.items() if value is not None})


def main(given: Sequence[str] | None = None) -> None:
    args = arguments(given)
    if args.serve_empty is not None:
        serve_empty(args.serve_empty)
        return
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
