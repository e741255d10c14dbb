"""What the guard costs a request: the remembered forecast of one architecture, asked of the application in this process.

    python scripts/bench_access.py [--calls 300] [--rounds 30]

Measured is processor time, and of many short rounds, in turns, the lowest: others at work on the machine only ever add. Without HTTP
and a network what is left is the application itself, so that microseconds can be seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop
from fastapi.routing import APIRoute

from app.access import keys
from app.access.callers import SYSTEM
from app.access.schemas import KeyIn
from app.guarded_routes import GuardedRoute
from app.main import create_app
from app.settings import Settings

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
TASK = {
    "name": "bench",
    "search_space": "nasbench201",
    "dataset": "bench",
    "metric": {"name": "accuracy", "unit": "%", "direction": "maximize"},
}
Call = Callable[[], Any]


class InProcess:
    """An application that is asked without HTTP."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def post(self, path: str, document: Any, key: str | None = None) -> int:
        """The status of the answer."""
        headers = [(b"content-type", b"application/json"), (b"host", b"127.0.0.1")]
        if key is not None:
            headers.append((b"authorization", f"Bearer {key}".encode()))
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 50_000),
            "root_path": "", "http_version": "1.1",
        }  # fmt: skip
        body, statuses = json.dumps(document).encode(), []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await self._app(scope, receive, send)
        return int(statuses[0])


async def microseconds(call: Call, count: int) -> float:
    """Of processor time for one call."""
    began = time.process_time()
    for _ in range(count):
        status = await call()
        if status != 200:
            raise SystemExit(f"expected an answer of 200, got {status}")
    return (time.process_time() - began) / count * 1e6


async def measured(app: Any, made: Sequence[str], count: int, rounds: int) -> dict[str, list[float]]:
    """The figures of each kind of caller."""
    asked = InProcess(app)
    await asked.post("/v1/tasks", TASK)
    path, body = "/v1/tasks/bench/predictions", {"architectures": [CELL]}
    unlimited, limited = made
    guarded = GuardedRoute.handle
    kinds: dict[str, tuple[Any, str | None]] = {
        "without the guard": (APIRoute.handle, None),
        "embedded, without a key": (guarded, None),
        "with a key": (guarded, unlimited),
        "with a key and a rate limit": (guarded, limited),
    }
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, (handle, key) in kinds.items():
            GuardedRoute.handle = handle  # type: ignore[method-assign]
            await microseconds(lambda key=key: asked.post(path, body, key), 20)  # type: ignore[misc]
            found[kind].append(await microseconds(lambda key=key: asked.post(path, body, key), count))  # type: ignore[misc]
    GuardedRoute.handle = guarded  # type: ignore[method-assign]
    return found


async def run(count: int, rounds: int) -> dict[str, list[float]]:
    """Starts an application on an empty folder and measures it."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), load_shipped=False, database_url="")
        app = create_app(settings, migrate=True)
        async with app.router.lifespan_context(app):
            made = []
            for limit in (0, 100_000_000):
                body = KeyIn(name="bench", role="reader", requests_per_minute=limit)
                with app.state.database.write() as session:
                    made.append(keys.create(session, settings, SYSTEM, body).key)
            return await measured(app, made, count, rounds)


def main() -> None:
    """Prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each kind")
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the service is served
        found = runner.run(run(args.calls, args.rounds))
    first = min(next(iter(found.values())))
    print(
        "| a remembered forecast, processor time | lowest of all rounds (median) | more than without |\n|---|---|---|"
    )
    for kind, values in found.items():
        print(f"| {kind} | {min(values):.0f} µs ({statistics.median(values):.0f}) | {min(values) - first:+.0f} µs |")


if __name__ == "__main__":
    main()
