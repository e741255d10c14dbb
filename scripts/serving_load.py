"""The load of `bench_serving.py`: requests that are written beforehand, and connections that send them.

A client library would be the bottleneck, so the connections speak HTTP themselves.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from serving_processes import HOST

from predictor.search_spaces.nasbench201 import NASBench201

EMPTY = b"GET /empty HTTP/1.1\r\nHost: bench\r\n\r\n"
_MAX_LOAD_SECONDS = 120.0


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


def load(port: int | Sequence[int], requests: Sequence[bytes], connections: int = 1) -> Load:
    """Sends all requests over so many connections, spread over the ports, each waiting for its answer."""
    ports = [port] if isinstance(port, int) else port

    async def run() -> Load:
        latencies: list[float] = []
        waiting, deadline = iter(requests), time.monotonic() + _MAX_LOAD_SECONDS
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        opened = [
            loop.create_connection(lambda: Connection(waiting, latencies, deadline), HOST, ports[number % len(ports)])
            for number in range(connections)
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
