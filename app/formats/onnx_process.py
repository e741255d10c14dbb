"""ONNX files read in processes of their own: what a hostile file does to one ends with it, and another one takes its place."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import orjson

import app
from app.errors import AppError, InvalidContentError, RetryableError
from app.formats.onnx_child import LENGTH_BYTES
from app.settings import MEBIBYTE, Settings

_MAX_REPLY_BYTES = 64 * MEBIBYTE
_START_SECONDS = 30.0
_PATIENCE_SECONDS = 30.0
_logger = logging.getLogger(__name__)


class _ChildEndedError(Exception):
    """The process ended instead of answering."""


class _Child:
    """One process. Belongs to one thread at a time."""

    def __init__(self, memory_bytes: int, seconds: float) -> None:
        self._seconds = seconds
        self._is_new = True
        root = str(Path(app.__path__[0]).parent)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "app.formats.onnx_child", str(memory_bytes), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
            env={"PYTHONPATH": root},  # nothing of this process's environment, where secrets are
            start_new_session=True,  # Ctrl+C is for the service, which ends it
        )

    def ask(self, content: bytes) -> dict[str, Any]:
        """The answer; raises _ChildEndedError if there is none, in time or at all."""
        limit = self._seconds + 2.0 + (_START_SECONDS if self._is_new else 0.0)
        self._is_new = False
        watch = threading.Timer(limit, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            return self._exchanged(content)
        except (OSError, ValueError) as error:
            raise _ChildEndedError from error
        finally:
            watch.cancel()

    def _exchanged(self, content: bytes) -> dict[str, Any]:
        incoming, outgoing = self._process.stdin, self._process.stdout
        if incoming is None or outgoing is None:
            raise _ChildEndedError
        incoming.write(len(content).to_bytes(LENGTH_BYTES, "little"))
        incoming.write(content)
        incoming.flush()
        length = int.from_bytes(outgoing.read(LENGTH_BYTES), "little")
        if not 0 < length <= _MAX_REPLY_BYTES:
            raise _ChildEndedError
        reply = orjson.loads(outgoing.read(length))
        if not isinstance(reply, dict):
            raise _ChildEndedError
        return reply

    def end(self) -> None:
        """Ends it the hard way: it holds nothing that anybody would miss."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was not written yet is of no use any more
                    _logger.debug("a process that reads ONNX files ended while it was written to")
        self._process.wait()


class OnnxReader:
    """Reads ONNX files in at most so many processes, each started when it is first needed. May be used from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._memory_bytes, self._seconds = settings.onnx_memory_bytes, settings.onnx_seconds
        self._places: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._count = settings.onnx_processes
        for _ in range(self._count):
            self._places.put(None)

    def document(self, content: bytes) -> dict[str, Any]:
        """The DAG document of the network in the file.

        Raises:
            InvalidContentError: if it cannot be read, or takes too much memory or time.
            RetryableError: if all processes are busy for too long.
        """
        try:
            child = self._places.get(timeout=_PATIENCE_SECONDS)
        except queue.Empty:
            raise RetryableError("all processes that read ONNX files are busy; try again") from None
        try:
            child = child or _Child(self._memory_bytes, self._seconds)
            reply = child.ask(content)
        except _ChildEndedError:
            if child is not None:
                child.end()
            child = None
            raise InvalidContentError(
                f"expected an ONNX file that can be read within {self._seconds:g} s and "
                f"{self._memory_bytes // MEBIBYTE} MiB of memory, got one that takes more"
            ) from None
        finally:
            self._places.put(child)
        if "error" in reply:
            raise InvalidContentError(str(reply["error"]))
        document: dict[str, Any] = reply["document"]
        return document

    def outcome(self, content: bytes) -> dict[str, Any] | AppError:
        """`document` that returns what is wrong with the file."""
        try:
            return self.document(content)
        except InvalidContentError as error:
            return error

    def stop(self) -> None:
        """Ends all processes, waiting for those that are busy."""
        for _ in range(self._count):
            child = self._places.get()
            if child is not None:
                child.end()
        for _ in range(self._count):
            self._places.put(None)
