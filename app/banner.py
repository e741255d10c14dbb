"""What `archcast serve` prints: where the documentation is and three commands that work as pasted.

Only once connections are accepted, so that whoever pastes them gets an answer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from app.shutdown import OrderlyEnd

EXAMPLE_TASK = "nasbench201.digits.accuracy"
"""A task of the shipped benchmark."""
_CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
_WITH_KEYS = "Every request needs a key: Authorization: Bearer …"
_WITHOUT_KEYS = (
    "No key is needed: only this machine can reach the service, and whoever is on it may do everything "
    "(ARCHCAST_REQUIRE_KEYS=true asks for keys)."
)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class AnnouncingServer(uvicorn.Server):
    """A server that says when it accepts connections, and at which address. Told to end, it calls `on_ending`, goes on as
    before for `delay_seconds`, then accepts nothing more and finishes what it has begun; told again, it ends at once."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_listening: Callable[[str], None],
        on_ending: Callable[[], None] = lambda: None,
        delay_seconds: float = 0.0,
    ) -> None:
        super().__init__(config)
        self._on_listening, self._on_ending, self._delay_seconds = on_listening, on_ending, delay_seconds
        self.end = OrderlyEnd(self._begin_to_end)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Takes a signal; it is not raised again after the end, so that whoever runs the server can clean up."""
        self.end.handle(sig, frame)

    def _begin_to_end(self) -> None:
        self._on_ending()
        if not self._delay_seconds:
            self.should_exit = True
            return
        timer = threading.Timer(self._delay_seconds, setattr, (self, "should_exit", True))
        timer.daemon = True
        timer.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts as before, then calls `on_listening` with the service's URL."""
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._on_listening(url_of(self.config.host, self._bound_port()))

    def _bound_port(self) -> int:
        for server in self.servers:
            for bound in server.sockets:
                port: int = bound.getsockname()[1]  # another than asked for where that was 0
                return port
        return self.config.port


def url_of(host: str, port: int) -> str:
    """The address as a browser on this machine reads it."""
    reachable = _ANYWHERE.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def banner(url: str, has_example: bool, needs_keys: bool) -> str:
    """Where the documentation is, and what to try first where the shipped tasks are there."""
    lines = [
        f"Archcast is ready at {url}",
        f"API documentation: {url}/docs",
        _WITH_KEYS if needs_keys else _WITHOUT_KEYS,
    ]
    key = ' -H "Authorization: Bearer $ARCHCAST_API_KEY"' if needs_keys else ""
    if has_example:
        task = f"{url}/v1/tasks/{EXAMPLE_TASK}"
        lines += [
            "",
            "Forecast an architecture that nobody trained:",
            f"  curl -s{key} {task}/predictions -H 'Content-Type: application/json' "
            f"""-d '{{"architectures": ["{_CELL}"]}}'""",
            "Ask what to measure next, with inference under 4 ms:",
            f"  curl -s{key} -G {task}/candidates -d k=3 --data-urlencode 'constraint=latency_ms<=4'",
            "See the best that were measured:",
            f"  curl -s{key} '{task}/best?k=3'",
            "",
            "Stop with Ctrl+C.",
        ]
    return "\n".join(lines)
