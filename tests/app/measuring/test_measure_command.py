"""`archcast measure` as processes that are killed, told to end, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app import cli
from app.client import Client

EPOCHS = 80


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The command handles signals; the tests' own process gets its own back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def service(url: str) -> Iterator[Client]:
    with Client(url) as client:
        metric = {"name": "accuracy", "unit": "%", "direction": "maximize"}
        client.create_task("noise", "nasbench201", "noise", metric, max_fidelity=EPOCHS)
        yield client


@pytest.fixture
def started(url: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `archcast measure` on a file of noise, with one folder for all."""
    rng = np.random.default_rng(0)
    parts = {
        f"{kind}_{part}": rng.integers(0, 255, (count, 4, 4), np.uint8) if kind == "x" else np.arange(count) % 2
        for part, count in (("train", 40), ("test", 10))
        for kind in "xy"
    }
    np.savez(tmp_path / "noise.npz", **parts)
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        options = [
            *("--task", "noise", "--dataset", str(tmp_path / "noise.npz"), "--device", "cpu", "--url", url),
            *("--recipe", f"epochs={EPOCHS}", "--size", "stem_channels=2", "--size", "cells_per_stage=1", "--size", "num_stages=1"),
            *("--folder", str(tmp_path / "folder"), "--save-seconds", "0", "--max-trials", "1", "--latency-batch", "0"),
            "--no-early-stop",
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "app.cli", "measure", *options],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
            )
        )  # fmt: skip
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def told(service: Client) -> list[dict[str, Any]]:
    return list(service.observations("noise"))


def by_lease(service: Client) -> dict[int, list[float]]:
    """Fidelities that were told under each lease: that is part of an observation's key."""
    found: dict[int, list[float]] = {}
    for one in told(service):
        found.setdefault(int(one["client_key"].split(":")[2]), []).append(one["fidelity"])
    return found


def until_more_is_told(service: Client, process: subprocess.Popen[str], more: int = 3) -> None:
    before, deadline = len(told(service)), time.monotonic() + 1_800
    while len(told(service)) < before + more:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_training_survives_kills_and_orderly_ends(service: Client, started: Any) -> None:
    killed = started()
    until_more_is_told(service, killed)
    killed.kill()
    killed.wait()
    (after_the_kill,) = service.trials("noise")

    ended = started()
    until_more_is_told(service, ended)
    ended.send_signal(signal.SIGTERM)
    assert ended.wait(600) == 0, ended.communicate()[0]
    (after_the_end,) = service.trials("noise")

    last = started()
    output = last.communicate(timeout=1_800)[0]

    (trial,) = service.trials("noise")
    leases = by_lease(service)
    assert last.returncode == 0, output
    assert (after_the_kill["state"], after_the_end["state"], trial["state"]) == ("leased", "abandoned", "completed")
    assert (trial["lease_number"], trial["worker_id"]) == (3, after_the_kill["worker_id"])
    assert leases[3][-1] == EPOCHS
    assert min(leases[2]) >= max(leases[1])  # gone on, not begun anew
    assert min(leases[3]) >= max(leases[2])
    assert f"trial {trial['id']} completed" in output
    assert output.rstrip().endswith("1 trials measured")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--parallel", "2"], 2, "--ray with --parallel"),
        (["--dataset", "none.npz"], 1, "expected a readable .npz file"),
        (["--dataset", "digits", "--recipe", "epochs=0"], 1, "epochs to be positive"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_trial_is_leased(
    options: list[str], code: int, message: str, service: Client, url: str, tmp_path: Path
) -> None:
    ended = CliRunner().invoke(
        cli.app, ["measure", "--task", "noise", "--url", url, "--folder", str(tmp_path / "f"), *options]
    )

    assert ended.exit_code == code
    assert message in " ".join(ended.output.replace("│", " ").split())
    assert list(service.trials("noise")) == []
