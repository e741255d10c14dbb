"""Evaluates by a command of the user's own: the architecture as JSON on its input, results as JSON on its output.

The command gets one object: architecture (the DAG document), genotype, id, search_space, fidelity, seed. It prints one object on
a line for each result, `{"metrics": {"accuracy_percent": 93.1}}`, intermediate ones with their `fidelity`; the last line
is the final one. `{"infeasible": "why"}` says that there is no such network. Whatever is for people belongs on stderr.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, FailedEvaluationError, UnbuildableError
from predictor.evaluate.base import EvaluationResult, Evaluator, Measured, Reporter, Silent, measured_from_json
from predictor.search_spaces.base import SearchSpace

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
_CHUNK = 65_536
_LAST_WORDS = 500  # characters of stderr


def request_document(architecture: Architecture, space: SearchSpace, fidelity: float, seed: int) -> dict[str, Any]:
    """What commands and webhooks are asked."""
    return {
        "architecture": architecture.canonical().to_json(),
        "genotype": architecture.genotype or space.format(architecture),
        "id": architecture.hash,
        "search_space": space.name,
        "fidelity": fidelity,
        "seed": seed,
    }


@dataclass(frozen=True)
class CommandEvaluator(Evaluator):
    """Runs the command once for every evaluation, without a shell, in a session of its own that ends with it.

    Raises:
        EvaluationError: if there is no command, or a limit is not positive.
    """

    space: SearchSpace
    command: tuple[str, ...]
    timeout_seconds: float = 3_600.0
    max_output_bytes: int = 2**20

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise EvaluationError("expected a command to run, got none")
        if not self.timeout_seconds > 0.0 or self.max_output_bytes < 1:
            raise EvaluationError(
                f"expected limits above 0, got {self.timeout_seconds} s and {self.max_output_bytes} bytes"
            )

    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        question = json.dumps(request_document(architecture, self.space, fidelity, seed)).encode()
        with tempfile.TemporaryFile() as asked:  # not a pipe: a command that never reads would keep us waiting
            asked.write(question)
            asked.seek(0)
            running = _Running(self._started(asked), self.timeout_seconds, self.max_output_bytes)
            try:
                return self._result(running, fidelity, reporter or Silent())
            finally:
                running.end()

    def _started(self, asked: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                self.command,
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # so that its children end with it
            )
        except OSError as error:
            raise EvaluationError(
                f"expected a command that can be run, got {self.command[0]!r:.200}: {error}"
            ) from error

    def _result(self, running: _Running, fidelity: float, reporter: Reporter) -> EvaluationResult:
        results: list[Measured] = []
        for line in running.lines(reporter):
            if results and not reporter.measured(results[-1]):
                return EvaluationResult(results[-1], tuple(results[:-1]), stopped_early=True)
            results.append(_read(line, fidelity))
        running.check_exit()
        if not results:
            raise FailedEvaluationError(
                "expected a line with metrics from the command, got none", may_succeed_later=True
            )
        return EvaluationResult(results[-1], tuple(results[:-1]))


def _read(line: bytes, fidelity: float) -> Measured:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FailedEvaluationError(f"expected lines of JSON from the command, got {line[:200]!r}") from error
    if isinstance(document, dict) and isinstance(document.get("infeasible"), str):
        raise UnbuildableError(f"the command says: {document['infeasible'][:1_000]}")
    return measured_from_json(document, fidelity)


@dataclass
class _Running:
    """A command while it runs."""

    process: subprocess.Popen[bytes]
    timeout_seconds: float
    max_output_bytes: int
    _last_words: bytes = field(default=b"", init=False)

    def lines(self, reporter: Reporter) -> Iterator[bytes]:
        """Its output, line by line, until it ends; raises FailedEvaluationError for too much or too late."""
        deadline, left, rest = time.monotonic() + self.timeout_seconds, self.max_output_bytes, b""
        for chunk in self._chunks(deadline, reporter):
            left -= len(chunk)
            if left < 0:
                raise FailedEvaluationError(
                    f"expected at most {self.max_output_bytes} bytes from the command, got more"
                )
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
        if rest.strip():
            yield rest

    def _chunks(self, deadline: float, reporter: Reporter) -> Iterator[bytes]:
        with selectors.DefaultSelector() as selector:
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                reporter.keep_alive()
                if time.monotonic() > deadline:
                    raise FailedEvaluationError(
                        f"expected the command to end within {self.timeout_seconds:g} s, got no end",
                        may_succeed_later=True,
                    )
                for key, _ in selector.select(_POLL_SECONDS):
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self.process.stdout:
                        yield chunk
                    else:
                        self._last_words = (self._last_words + chunk)[-4 * _LAST_WORDS :]

    def check_exit(self) -> None:
        """Waits for its end; raises FailedEvaluationError if it says that it failed."""
        try:
            status = self.process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            raise FailedEvaluationError(
                "expected the command to end after its output did, got no end", may_succeed_later=True
            ) from None
        if status:
            said = self._last_words.decode(errors="replace").strip()[-_LAST_WORDS:]
            raise FailedEvaluationError(
                f"expected the command to end with 0, got {status}{f': {said}' if said else ''}", may_succeed_later=True
            )

    def end(self) -> None:
        """Ends it with all that it started, politely first."""
        if self.process.poll() is None:
            for number, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
                with suppress(ProcessLookupError):  # nobody of its session is left
                    os.killpg(self.process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
