"""A service that listens on a port, since tools bring threads and processes of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI


@pytest.fixture
def url(champion: Path, app: FastAPI) -> Iterator[str]:
    """The address of the running service."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="warning", access_log=False, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()
