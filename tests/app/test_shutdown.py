"""Processes that are told to end finish what they have begun; told twice, they end at once. With real processes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import queue
from app.database import Database
from app.settings import Settings
from app.shutdown import OrderlyEnd
from app.tables import JobRecord

DEADLINE_SECONDS = 60.0

SERVICE = """
    import logging, sys, threading, time, uvicorn
    from fastapi import FastAPI
    from app import main
    from app.banner import AnnouncingServer
    from app.model_versions import service as model_versions
    from app.settings import Settings

    model_versions.register_shipped = lambda database: None
    settings = Settings()
    app = main.create_app(settings)

    @app.get("/slow")
    def slow() -> str:
        print("began", flush=True)
        sys.stdin.readline()
        return "finished"

    config = uvicorn.Config(app, "127.0.0.1", 0, log_config=None, timeout_graceful_shutdown=int(settings.shutdown_seconds))
    server = AnnouncingServer(config, lambda url: print(url, flush=True), app.state.ending.set, settings.shutdown_delay_seconds)
    server.end.install()
    server.run()
    print("ended in order", flush=True)
"""

WORKER = """
    import sys, threading, time
    from dataclasses import replace
    from app import queue, worker
    from app.database import Database
    from app.settings import Settings
    from app.shutdown import OrderlyEnd

    settings, stopping = Settings(), threading.Event()
    OrderlyEnd(stopping.set).install()
    database = Database(settings.database_url)

    def work(payload, progress):
        print("began", flush=True)
        while payload.get("is_deaf") or not progress.should_stop():
            time.sleep(0.05)
        raise RuntimeError("stopped in the middle")

    worker.services = lambda *_arguments: {queue.FINE_TUNE: work}
    worker.run(settings, database, [queue.FINE_TUNE], True, stopping)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts a process of its own that has the settings of the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(program: str, **changes: object) -> subprocess.Popen[str]:
        environment = {**os.environ, **settings.model_copy(update=changes).as_environment()}
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def port_of(process: subprocess.Popen[str]) -> int:
    return int(line(process).rpartition(":")[2])


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def eventually(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def asking_slowly(port: int, process: subprocess.Popen[str], into: list[tuple[int, str]]) -> threading.Thread:
    thread = threading.Thread(target=lambda: into.append(get(port, "/slow")))
    thread.start()
    assert line(process) == "began"
    return thread


def test_a_request_in_flight_is_finished_while_no_new_connection_is_accepted(start: Start) -> None:
    process, answers = start(SERVICE), []
    port = port_of(process)
    asking = asking_slowly(port, process, answers)

    process.send_signal(signal.SIGTERM)
    eventually(lambda: not accepts(port))
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    asking.join(DEADLINE_SECONDS)

    assert answers == [(200, '"finished"')]
    assert line(process) == "ended in order"
    assert process.wait(DEADLINE_SECONDS) == 0


def test_a_service_that_was_told_to_end_is_not_ready_and_still_answers_for_the_delay(start: Start) -> None:
    process = start(SERVICE, shutdown_delay_seconds=30.0)
    port = port_of(process)

    process.send_signal(signal.SIGTERM)
    eventually(lambda: "told to end" in get(port, "/readyz")[1])

    assert get(port, "/readyz")[0] == 503
    assert get(port, "/healthz")[0] == 200


def test_a_second_signal_ends_the_service_at_once(start: Start) -> None:
    process, answers = start(SERVICE), []
    port = port_of(process)

    def ask_in_vain() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            answers.append(get(port, "/slow"))

    thread = threading.Thread(target=ask_in_vain)
    thread.start()
    assert line(process) == "began"
    process.send_signal(signal.SIGTERM)
    eventually(lambda: not accepts(port))

    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE_SECONDS) == 128 + signal.SIGTERM
    thread.join(DEADLINE_SECONDS)
    assert answers == []


@pytest.mark.parametrize("is_deaf", [False, True])
def test_a_worker_that_is_told_to_end_gives_its_job_back_at_once(
    start: Start, migrated_url: str, is_deaf: bool
) -> None:
    database = Database(migrated_url)
    with database.write() as session:
        job_id = queue.enqueue(session, queue.FINE_TUNE, {"is_deaf": is_deaf, "reason": "", "settings": {}})
    process = start(WORKER, shutdown_seconds=1.0, lease_seconds=3_600.0)
    assert line(process) == "began"

    process.send_signal(signal.SIGTERM)

    assert process.wait(DEADLINE_SECONDS) == int(is_deaf)
    with database.write() as session:
        given_back = session.get_one(JobRecord, job_id)
        assert (given_back.state, given_back.attempts) == ("queued", 0)
        assert queue.claim(session, "another", [queue.FINE_TUNE], 60.0) is not None
    database.close()


def test_only_the_first_signal_is_told_and_the_second_ends_at_once() -> None:
    told: list[str] = []
    end = OrderlyEnd(lambda: told.append("begin"), lambda code: told.append(f"exit {code}"))

    end.handle(signal.SIGINT)
    end.handle(signal.SIGTERM)

    assert told == ["begin", "exit 143"]
    assert end.has_begun
