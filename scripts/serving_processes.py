"""The processes that `bench_serving.py` measures: a service of its own, and an empty FastAPI endpoint.

python scripts/serving_processes.py PORT     serves the empty endpoint
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

HOST = "127.0.0.1"


class Service:
    """`archcast serve` on a folder; may be started again on the same one. `other` settings are named as in the environment."""

    def __init__(self, folder: Path, load_shipped: bool, **other: object) -> None:
        self.port = free_port()
        settings = {"DATA_DIR": folder, "PORT": self.port, "FINE_TUNE_AFTER": 0, "LOAD_SHIPPED": load_shipped, **other}
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

    def cpu_seconds(self) -> float:
        """Processor time of the service so far, less that of a worker beside it; NaN where the system does not tell."""
        pid = self._process.pid if self._process is not None else 0
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return float("nan")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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
    command = [sys.executable, __file__, str(port)]
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


if __name__ == "__main__":
    serve_empty(int(sys.argv[1]))
