"""Evaluations on Ray: this machine, and a simulated cluster of three nodes that loses one. Ray is large, so it is no part of the
development environment."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    pytest.skip("RAY IS NOT INSTALLED, SO EVALUATIONS ON A CLUSTER ARE NOT TESTED", allow_module_level=True)

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, FailedEvaluationError, UnbuildableError
from predictor.evaluate.base import Interrupted, Measured, Reporter
from predictor.evaluate.ray_evaluator import RayConfig, RayEvaluator
from predictor.search_spaces.nasbench201 import NASBench201

pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::FutureWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True, scope="module")
def alone() -> Iterator[None]:
    """No tokens between the processes of this machine, and nothing told to anybody."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_health_check_timeout_ms", "60000")  # a busy machine is no lost node
        patch.setenv("RAY_worker_niceness", "0")
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for evaluations, and two nodes with room for two each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [made.add_node(num_cpus=2) for _ in range(2)]
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False)
    yield made, nodes
    ray.shutdown()
    made.shutdown()


def command(line: str) -> dict[str, Any]:
    program = f"import json, pathlib, os, sys, time\nasked = json.load(sys.stdin)\n{line}"
    return {"kind": "command", "command": [sys.executable, "-S", "-c", program], "timeout_seconds": 120}


class Watching(Reporter):
    def __init__(self, stops_after: int | None = None, interrupts: threading.Event | None = None) -> None:
        self.seen: list[Measured] = []
        self._stops_after, self._interrupts = stops_after, interrupts

    def measured(self, measured: Measured) -> bool:
        self.seen.append(measured)
        return len(self.seen) != self._stops_after

    def keep_alive(self) -> None:
        if self._interrupts is not None and self._interrupts.is_set():
            raise Interrupted


def test_results_errors_and_advice_come_from_the_cluster(
    cluster: Any, space: NASBench201, cells: list[Architecture], striped_file: Any
) -> None:
    recipe = {"epochs": 2, "batch_size": 32}
    sizes = {"stem_channels": 4, "cells_per_stage": 1, "num_stages": 1}
    trained = {
        "kind": "train",
        "dataset": str(striped_file()),
        "device": "cpu",
        "recipe": recipe,
        "sizes": sizes,
        "latency": None,
    }
    watching = Watching()

    result = RayEvaluator(trained, space, None, RayConfig()).evaluate(cells[0], seed=3, reporter=watching)

    assert result.final.metrics["accuracy_percent"] > 40.0  # chance: 33
    assert [one.fidelity for one in watching.seen] == [0.5]
    for line, error, message in (
        ("print('rubbish')", FailedEvaluationError, "lines of JSON"),
        ("print(json.dumps({'infeasible': 'no'}))", UnbuildableError, "the command says: no"),
    ):
        with pytest.raises(error, match=message):
            RayEvaluator(command(line), space, None, RayConfig()).evaluate(cells[0])


def test_an_evaluation_that_is_not_worth_it_or_not_wanted_is_ended(
    cluster: Any, space: NASBench201, cells: list[Architecture], tmp_path: Path
) -> None:
    line = "for n in range(1, 100): print(json.dumps({'metrics': {'loss': n}, 'fidelity': n / 100}), flush=True); time.sleep(0.3)"
    evaluator = RayEvaluator(command(line), space, None, RayConfig())
    begun, interrupts = tmp_path / "begun", threading.Event()
    waiting = RayEvaluator(command(f"pathlib.Path({str(begun)!r}).touch(); time.sleep(100)"), space, None, RayConfig())

    stopped = evaluator.evaluate(cells[0], reporter=Watching(stops_after=1))
    threading.Thread(target=lambda: (_until(begun.exists), interrupts.set())).start()
    with pytest.raises(Interrupted):
        waiting.evaluate(cells[0], reporter=Watching(interrupts=interrupts))

    assert stopped.stopped_early
    assert stopped.final.fidelity < 1.0


def test_a_cluster_that_loses_a_node_finishes_all_evaluations(
    cluster: Any, space: NASBench201, cells: list[Architecture], tmp_path: Path
) -> None:
    made, nodes = cluster
    begun = tmp_path / "begun"
    begun.mkdir()
    line = (
        f"place = pathlib.Path({str(begun)!r}) / asked['id']; place.write_text(str(int(place.exists() and place.read_text() or 0) + 1))\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.05)\n"
        "print(json.dumps({'metrics': {'nodes': len(asked['architecture']['nodes'])}}))"
    )
    evaluator = RayEvaluator(command(line), space, None, RayConfig())
    wanted = cells[:6]

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(evaluator.evaluate, cell) for cell in wanted]
        _until(lambda: len(list(begun.iterdir())) == 4)  # both nodes are full
        made.remove_node(nodes.pop())
        (tmp_path / "go").touch()
        results = [one.result(timeout=300) for one in running]

    assert [one.final.metrics["nodes"] for one in results] == [cell.num_nodes for cell in wanted]
    tries = sorted(int(one.read_text()) for one in begun.iterdir())
    assert tries == [1, 1, 1, 1, 2, 2]  # those of the lost node began again on the other


def test_a_cluster_that_is_not_there_is_told(space: NASBench201, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("no cluster")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)

    with pytest.raises(EvaluationError, match=r"a Ray cluster at 10.0.0.9:6379, got: no cluster"):
        RayEvaluator(command("pass"), space, None, RayConfig("10.0.0.9:6379"))


def _until(holds: Any) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
