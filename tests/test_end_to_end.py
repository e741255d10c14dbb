"""A stranger's session with a real `archcast serve`: its own process, its own worker, the champion that ships, plain HTTP."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.client import Client, ClientError

CHAMPION = Path(__file__).parents[1] / "predictor" / "champion" / "weights.safetensors"
ACCURACY = {"name": "accuracy", "unit": "%", "direction": "maximize"}
LATENCY = {"name": "latency_ms", "unit": "ms", "direction": "minimize"}
START_SECONDS = 180.0

pytestmark = pytest.mark.skipif(
    not CHAMPION.exists(),
    reason=f"NO CHAMPION SHIPS: expected {CHAMPION.name} in predictor/champion, got nothing there",
)


class Server:
    """`archcast serve` on a folder of its own, which may be stopped and started again."""

    def __init__(self, folder: Path, **settings: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"DATA_DIR": folder, "PORT": self.port, "FINE_TUNE_AFTER": 0, **settings}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARCHCAST_")}
        self._environment = inherited | {f"ARCHCAST_{name}": str(value) for name, value in own.items()}
        self._output = folder / "stdout.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._output.open("wb") as output, (self._output.parent / "stderr.txt").open("wb") as errors:
            command = [sys.executable, "-m", "app.cli", "serve"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=output, stderr=errors)
        deadline = time.monotonic() + START_SECONDS
        while f"API documentation: {self.url}/docs" not in self.printed:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                errors_text = (self._output.parent / "stderr.txt").read_text()
                pytest.fail(f"expected the service to say that it is ready, got {self.printed!r} and {errors_text!r}")
            time.sleep(0.05)

    @property
    def printed(self) -> str:
        return self._output.read_text()

    def stop(self) -> int:
        if self._process is None:
            return 0
        self._process.terminate()
        code = self._process.wait(60.0)
        self._process = None
        return code


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running service with a worker beside it and no data."""
    started = Server(tmp_path_factory.mktemp("service"), LOAD_SHIPPED=False)
    started.start()
    yield started
    started.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as connected:
        yield connected


@pytest.fixture(scope="module")
def digits() -> dict[str, dict[str, float]]:
    """Really measured cells: accuracy and latency by cell, means over seeds at the most epochs."""
    from predictor.benchmarks.measured_cells import shipped_tasks

    found: dict[str, dict[str, float]] = {}
    for one in shipped_tasks():
        values: dict[str, list[float]] = {}
        for cell, value, fidelity in zip(one.cells, one.values, one.fidelities, strict=True):
            if one.task.dataset == "digits" and fidelity == one.max_fidelity:
                values.setdefault(cell, []).append(value)
        if values:
            found[one.task.metric.name] = {cell: float(np.mean(many)) for cell, many in values.items()}
    return found


def rows(values: dict[str, float], cells: list[str]) -> list[dict[str, Any]]:
    return [{"architecture": cell, "value": values[cell]} for cell in cells]


def means(client: Client, task: str, architectures: list[Any]) -> list[float]:
    return [one["mean"] for one in client.predict(task, architectures)["predictions"]]


def drawn(server: Server, space: str, count: int) -> list[str]:
    answer = httpx.get(f"{server.url}/v1/search-spaces/{space}/sample", params={"count": count, "seed": 3})
    return [one["genotype"] for one in answer.raise_for_status().json()["architectures"]]


def post(server: Server, path: str, document: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1{path}", json=document)


def test_forecasts_improve_with_twenty_real_observations(
    server: Server, client: Client, digits: dict[str, dict[str, float]]
) -> None:
    accuracy = digits["accuracy"]
    cells = sorted(accuracy)
    np.random.default_rng(5).shuffle(cells)
    measured, held_out = cells[:20], cells[20:220]
    truth = np.array([accuracy[cell] for cell in held_out])
    client.create_task("digits", "nasbench201", "digits", ACCURACY)

    unadapted = np.abs(np.array(means(client, "digits", held_out)) - truth).mean()
    client.post_observations("digits", rows(accuracy, measured))
    client.wait_until_fresh("digits", timeout_seconds=120.0)
    answer = client.predict("digits", held_out)

    assert (answer["num_observations"], answer["is_fresh"]) == (20, True)
    adapted = np.abs(np.array([one["mean"] for one in answer["predictions"]]) - truth).mean()
    assert adapted < unadapted
    assert [one["rank"] for one in client.best("digits", k=3)["items"]] == [1, 2, 3]
    assert client.best("digits", k=1)["items"][0]["mean"] == pytest.approx(max(accuracy[cell] for cell in measured))


def test_candidates_are_unmeasured_and_keep_a_latency(client: Client, digits: dict[str, dict[str, float]]) -> None:
    cells = sorted(digits["accuracy"])[:30]
    client.create_task("shapes", "nasbench201", "shapes", ACCURACY)
    client.create_task("shapes-latency", "nasbench201", "shapes", LATENCY, device="cpu")
    client.post_observations("shapes", rows(digits["accuracy"], cells))
    client.post_observations("shapes-latency", rows(digits["latency_ms"], cells))
    for task in ("shapes", "shapes-latency"):
        client.wait_until_fresh(task, timeout_seconds=120.0)
    bound = float(np.median([digits["latency_ms"][cell] for cell in cells]))

    answer = client.candidates("shapes", k=5, constraint=[f"latency_ms<={bound}"], seed=1)

    assert answer["num_considered"] > 1_000
    assert len(answer["candidates"]) == 5
    assert not {one["genotype"] for one in answer["candidates"]} & set(cells)
    assert all(one["constraints"][0]["mean"] <= bound for one in answer["candidates"])


def test_a_space_of_ones_own_is_declared_forecast_and_learned(server: Server, client: Client) -> None:
    definition = {
        "version": 1,
        "decisions": [
            {"name": "depth", "type": "integer", "low": 1, "high": 4},
            {"name": "width", "type": "ordinal", "values": [16, 32, 64], "repeat": "depth"},
            {"name": "activation", "type": "categorical", "values": ["relu", "gelu"]},
        ],
    }
    client.declare_search_space("my-perceptrons", definition)
    client.create_task("my-task", "my-perceptrons", "my-data", ACCURACY)
    chosen = drawn(server, "my-perceptrons", 12)

    before = client.predict("my-task", chosen)
    client.post_observations("my-task", [{"architecture": one, "value": 60.0 + len(one) / 10.0} for one in chosen[:8]])
    client.wait_until_fresh("my-task", timeout_seconds=120.0)
    after = client.predict("my-task", chosen)

    assert (before["num_observations"], after["num_observations"]) == (0, 8)
    assert all(one["lower"] <= one["mean"] <= one["upper"] for one in after["predictions"])
    assert client.candidates("my-task", k=3, seed=0)["method"] == "enumerated"


def test_any_graph_is_an_architecture(client: Client) -> None:
    def chain(*kinds: str) -> dict[str, Any]:
        nodes = [{"kind": kind} for kind in ("input", *kinds, "output")]
        return {"nodes": nodes, "edges": [[place, place + 1] for place in range(len(nodes) - 1)]}

    client.create_task("graphs", "graph", "my-data", ACCURACY)
    graphs = [chain("conv"), chain("conv", "conv"), chain("wavelet"), chain("conv", "max_pool", "linear"), {"nodes": 3}]

    good, bad = graphs[:4], graphs[4]
    answer = client.predict("graphs", graphs)["predictions"]
    client.post_observations("graphs", [{"architecture": one, "value": 50.0 + place} for place, one in enumerate(good)])
    client.wait_until_fresh("graphs", timeout_seconds=120.0)

    assert [one["rank"] is not None for one in answer] == [True, True, True, True, False]
    assert "expected" in answer[graphs.index(bad)]["error"]["detail"]
    assert client.predict("graphs", good)["num_observations"] == 4
    suggested = client.candidates("graphs", k=2, pool=20, seed=0)["candidates"]
    assert len(suggested) == 2


def test_nothing_of_a_batch_with_bad_observations_is_recorded(
    client: Client, digits: dict[str, dict[str, float]]
) -> None:
    client.create_task("strict", "nasbench201", "digits", ACCURACY)
    good = rows(digits["accuracy"], sorted(digits["accuracy"])[:1])[0]

    with pytest.raises(ClientError) as refused:
        client.post_observations("strict", [good, {"architecture": "no cell", "value": 1.0}, {**good, "value": "high"}])

    assert refused.value.status == 422
    places = {error["location"][2] for error in refused.value.problem["errors"]}
    assert places == {1, 2}
    assert client.task("strict")["num_observations"] == 0


def test_corrections_and_retractions_reach_the_forecasts(
    server: Server, client: Client, digits: dict[str, dict[str, float]]
) -> None:
    cells = sorted(digits["accuracy"])[40:48]
    client.create_task("corrected", "nasbench201", "digits", ACCURACY)
    posted = client.post_observations("corrected", rows(digits["accuracy"], cells))["observations"]
    client.wait_until_fresh("corrected", timeout_seconds=120.0)
    before = client.predict("corrected", cells)
    path = "/tasks/corrected/observations"

    corrected = post(server, f"{path}/{posted[0]['id']}/correction", {"value": 1.0, "reason": "read the wrong line"})
    retracted = post(server, f"{path}/{posted[1]['id']}/retraction", {"reason": "wrong data set"})
    client.wait_until_fresh("corrected", timeout_seconds=120.0)
    after = client.predict("corrected", cells)

    assert (corrected.status_code, retracted.status_code) == (201, 201)
    assert (before["num_observations"], after["num_observations"]) == (8, 7)
    assert after["predictions"][0]["mean"] != before["predictions"][0]["mean"]
    page = httpx.get(f"{server.url}/v1/architectures/{posted[0]['architecture_id']}").json()
    assert cells[0] in [one["genotype"] for one in page["notations"]]
    assert 1.0 in [one["value"] for one in page["observations"] if one["task"] == "corrected"]
    assert "corrected" in [one["task"] for one in page["forecasts"]]


def test_a_restart_keeps_everything_and_answers_the_same(
    server: Server, client: Client, digits: dict[str, dict[str, float]]
) -> None:
    cells = sorted(digits["accuracy"])[60:80]
    client.create_task("kept", "nasbench201", "digits", ACCURACY)
    client.post_observations("kept", rows(digits["accuracy"], cells[:10]))
    client.wait_until_fresh("kept", timeout_seconds=120.0)
    before, tasks = client.predict("kept", cells), [task["name"] for task in client.tasks()]

    server.stop()
    server.start()

    after = client.predict("kept", cells)
    assert {**after, "predictions": None} == {**before, "predictions": None}
    for one, other in zip(after["predictions"], before["predictions"], strict=True):
        assert one["architecture_id"] == other["architecture_id"]
        for name in (
            "mean",
            "std",
            "lower",
            "upper",
        ):  # float32: the last digits depend on what shared the forward pass
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-4)
    assert [task["name"] for task in client.tasks()] == tasks
    assert len(list(client.observations("kept"))) == 10


def test_a_fine_tune_comes_to_a_verdict(client: Client, digits: dict[str, dict[str, float]]) -> None:
    client.create_task("tuned", "nasbench201", "digits", ACCURACY)
    client.post_observations("tuned", rows(digits["accuracy"], sorted(digits["accuracy"])[100:140]))

    started = client.start_fine_tune("a stranger asked", {"num_steps": 2, "tasks_per_batch": 2, "replay": False})
    *_, ended = client.followed_fine_tune(started["id"])

    assert (ended["state"], ended["error"]) == ("done", None)
    assert ended["is_promoted"] in (True, False)
    assert ended["decision"]
    assert ended["model_version"] in [version["id"] for version in client._items("/v1/model-versions")]


def test_the_printed_commands_work_as_pasted(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    shipped = Server(tmp_path, EMBEDDED_WORKER=False)
    shipped.start()
    try:
        printed = shipped.printed
        commands = re.findall(r"^  (curl .*)$", printed, flags=re.MULTILINE)
        answers = [
            httpx.Response(200, content=subprocess.run(one, shell=True, check=True, capture_output=True).stdout).json()
            for one in commands
        ]
    finally:
        shipped.stop()

    assert re.search(r"New database: loading 6 tasks .*\n[\d,]+ observations loaded in \d+\.\d s\.", printed)
    forecasts, candidates, best = answers
    assert forecasts["predictions"][0]["rank"] == 1
    assert len(candidates["candidates"]) == 3
    assert [one["rank"] for one in best["items"]] == [1, 2, 3]


def test_a_service_that_asks_for_keys_prints_the_first_one_once(tmp_path: Path) -> None:
    asking = Server(tmp_path, LOAD_SHIPPED=False, EMBEDDED_WORKER=False, REQUIRE_KEYS=True)
    asking.start()
    try:
        (key,) = re.findall(r"^  (archcast_\w+)$", asking.printed, re.MULTILINE)
        assert httpx.get(f"{asking.url}/v1/tasks").status_code == 401
        with Client(asking.url, api_key=key) as client:
            assert client.caller()["role"] == "admin"
        asking.stop()
        asking.start()

        assert "archcast_" not in asking.printed
        assert "needs a key" in asking.printed
        with Client(asking.url, api_key=key) as client:
            assert [one["name"] for one in client.api_keys()] == ["first admin"]
    finally:
        asking.stop()
