"""A measuring worker against a running service: what it tells, and how it ends what cannot be measured."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.client import Client, ClientError
from app.errors import InvalidContentError
from app.inference import evaluating
from app.inference.evaluating import Evaluator
from app.measuring.choices import Choices
from app.measuring.slots import Slot
from app.measuring.webhook import Webhook
from app.measuring.worker import Budget, MeasureConfig, MeasuringWorker

Document = dict[str, Any]
Measure = Callable[..., list[str]]
SPACE: Document = {"name": "nasbench201", "definition": None}


@pytest.fixture
def service(url: str) -> Iterator[Client]:
    """A client of the running service, in which there is a task `digits` of nine epochs."""
    with Client(url) as client:
        metric = {"name": "accuracy", "unit": "fraction", "direction": "maximize"}
        client.create_task("digits", "nasbench201", "digits", metric, max_fidelity=9)
        yield client


@pytest.fixture
def measure(service: Client, tmp_path: Path) -> Measure:
    """Lets a worker measure one trial (or as many as are asked for); what it said."""

    def run(
        evaluator: Evaluator, task: str = "digits", stopping: threading.Event | None = None, **config: Any
    ) -> list[str]:
        said: list[str] = []
        told = MeasureConfig(task, **{"max_trials": 1, "pause_seconds": 0.01, **config})
        with Slot(tmp_path / "folder") as slot:
            worker = MeasuringWorker(service, evaluator, told, slot, stopping or threading.Event(), said.append)
            worker.run(Budget(told.max_trials))
        return said

    return run


def command(line: str, **limits: Any) -> Evaluator:
    """An evaluator that runs a line of Python, in which `asked` is what it was asked."""
    program = f"import json, pathlib, sys, time\nasked = json.load(sys.stdin)\n{line}"
    document = {"kind": "command", "command": [sys.executable, "-S", "-c", program], **limits}
    return evaluating.evaluator(document, "nasbench201", None)


def values(service: Client, task: str = "digits") -> list[tuple[Any, ...]]:
    return [(one["status"], one["fidelity"], one["seed"], one["value"]) for one in service.observations(task)]


ANSWER = (
    "print(json.dumps({'metrics': {'accuracy_percent': 90 + asked['seed'], 'latency_ms': 2.5}, 'cost_seconds': 3}))"
)


def test_a_trial_is_measured_with_every_seed_in_the_unit_of_the_task(service: Client, measure: Measure) -> None:
    said = measure(command(ANSWER), seeds=(0, 1))

    (trial,) = service.trials("digits")
    assert trial["state"] == "completed"
    assert values(service) == [("ok", 9.0, 0, pytest.approx(0.9)), ("ok", 9.0, 1, pytest.approx(0.91))]
    assert [one["cost"] for one in service.observations("digits")] == [3.0, 3.0]
    assert said == [f"trial {trial['id']} completed: accuracy 0.9, 0.91 fraction, latency_ms 2.5, 6.0 s"]


def test_other_tasks_get_their_metric_of_the_same_measurement(service: Client, measure: Measure) -> None:
    latency = {"name": "latency_ms", "unit": "ms", "direction": "minimize"}
    service.create_task("speed", "nasbench201", "digits", latency, device="cpu")
    energy = {"name": "energy", "unit": "mJ", "direction": "minimize"}
    service.create_task("energy", "nasbench201", "digits", energy)

    said = measure(command(ANSWER), also=("speed", "energy"))

    (own,), (other,) = service.observations("digits"), service.observations("speed")
    assert (other["value"], other["architecture_id"]) == (2.5, own["architecture_id"])
    assert "task energy could not be told: expected 'energy' among what was measured" in said[-1]


def test_intermediate_results_are_told_at_once_on_the_scale_of_the_task(service: Client, measure: Measure) -> None:
    line = "for n in (1, 2, 3): print(json.dumps({'metrics': {'accuracy_percent': 30 * n}, 'fidelity': n / 3}), flush=True)"

    measure(command(line))

    assert [one[1:] for one in values(service)] == [(3.0, 0, 0.3), (6.0, 0, 0.6), (9.0, 0, 0.9)]


def test_a_worker_stops_where_the_service_advises_it(service: Client, measure: Measure, tmp_path: Path) -> None:
    cells = service._call("GET", "/v1/search-spaces/nasbench201/sample", query={"count": 12, "seed": 3})[
        "architectures"
    ]
    for number, cell in enumerate(cells):
        rows = [
            {"architecture": cell["genotype"], "value": 0.5 + 0.02 * number, "fidelity": 3},
            {"architecture": cell["genotype"], "value": 0.7 + 0.02 * number, "fidelity": 9},
        ]
        service.post_observations("digits", rows)
    before, reached = len(values(service)), tmp_path / "reached"
    line = (
        "print(json.dumps({'metrics': {'accuracy_percent': 20}, 'fidelity': 1 / 3}), flush=True)\n"
        "print(json.dumps({'metrics': {'accuracy_percent': 21}, 'fidelity': 2 / 3}), flush=True)\n"
        f"time.sleep(60); pathlib.Path({str(reached)!r}).touch()"
    )

    said = measure(command(line))

    (trial,) = service.trials("digits")
    assert trial["state"] == "completed"
    assert values(service)[before:] == [("ok", 3.0, 0, pytest.approx(0.2))]
    assert f"trial {trial['id']} stopped early at 33% of the budget" in said
    assert not reached.exists()


@pytest.mark.parametrize(
    ("line", "state", "status", "reason"),
    [
        ("print(json.dumps({'infeasible': 'too wide'}))", "infeasible", "infeasible", "the command says: too wide"),
        ("print('rubbish')", "failed", "failed", "expected lines of JSON from the command, got b'rubbish'"),
        ("sys.exit(1)", "requested", None, "failed in try 1 of 3: .*end with 0, got 1"),
        ("time.sleep(60)", "requested", None, "failed in try 1 of 3: .*within 0.5 s"),
    ],
)
def test_what_cannot_be_measured_ends_with_its_reason(
    line: str, state: str, status: str | None, reason: str, service: Client, measure: Measure
) -> None:
    said = measure(command(line, timeout_seconds=0.5 if "sleep" in line else 60.0))

    (trial,) = service.trials("digits")
    assert trial["state"] == state
    assert re.search(reason, trial["reason"])
    assert [one[0] for one in values(service)] == ([status] if status else [])
    assert said[0].startswith(f"trial {trial['id']} {'infeasible' if state == 'infeasible' else 'failed'}: ")


def test_a_worker_that_is_told_to_end_gives_its_trial_back(service: Client, measure: Measure, tmp_path: Path) -> None:
    begun, stopping = tmp_path / "begun", threading.Event()
    line = f"pathlib.Path({str(begun)!r}).touch(); time.sleep(60)"
    watch = threading.Thread(target=lambda: _when(begun.exists, stopping.set))
    watch.start()

    measure(command(line), stopping=stopping)

    watch.join()
    (trial,) = service.trials("digits")
    assert (trial["state"], trial["reason"]) == ("abandoned", "given back: the worker was told to end")


def _when(holds: Callable[[], bool], act: Callable[[], None]) -> None:
    waiting = threading.Event()
    for _ in range(6_000):
        if holds():
            break
        waiting.wait(0.01)
    act()


def test_a_trial_of_which_the_lease_is_lost_is_let_go(service: Client, measure: Measure, tmp_path: Path) -> None:
    """Somebody else ends it while it is measured: the next beat says so."""
    begun = tmp_path / "begun"

    def end_elsewhere() -> None:
        (trial,) = service.trials("digits")
        again = service.suggest_trials("digits", trial["worker_id"], 1)["trials"][0]
        service.complete("digits", again["id"], again["lease_token"], [{"value": 0.5}])

    watch = threading.Thread(target=lambda: _when(begun.exists, end_elsewhere))
    watch.start()
    line = f"p = pathlib.Path({str(begun)!r})\nif not p.exists(): p.touch(); time.sleep(60)\n{ANSWER}"

    said = measure(command(line), lease_seconds=1.0)

    watch.join()
    assert "got a lease that is lost; going on with another" in said[0]
    assert sorted(one["state"] for one in service.trials("digits")) == ["completed", "completed"]


def test_a_metric_that_is_not_measured_ends_the_worker_and_gives_the_trial_back(
    service: Client, measure: Measure
) -> None:
    with pytest.raises(ClientError, match="expected 'accuracy' among what was measured, got loss"):
        measure(command("print(json.dumps({'metrics': {'loss': 1}}))"))

    (trial,) = service.trials("digits")
    assert trial["state"] == "abandoned"


def test_a_command_that_is_not_there_ends_the_worker_and_gives_the_trial_back(
    service: Client, measure: Measure
) -> None:
    missing = evaluating.evaluator({"kind": "command", "command": ["/no/such/thing"]}, "nasbench201", None)

    with pytest.raises(ClientError, match="a command that can be run, got '/no/such/thing'"):
        measure(missing)

    (trial,) = service.trials("digits")
    assert trial["state"] == "abandoned"


def test_a_worker_ends_or_waits_where_there_is_nothing_to_measure(service: Client, measure: Measure) -> None:
    decisions = [{"name": "op", "type": "categorical", "values": ["conv3x3", "conv1x1"]}]
    service.declare_search_space("two", {"version": 1, "decisions": decisions})
    service.create_task("both", "two", "digits", {"name": "accuracy", "unit": "%", "direction": "maximize"})
    program = [
        sys.executable,
        "-S",
        "-c",
        ANSWER.replace("asked['seed']", "0").replace("print", "import json; print", 1),
    ]
    definition = service.search_space("two")["definition"]
    evaluator = evaluating.evaluator({"kind": "command", "command": program}, "two", definition)

    measure(evaluator, task="both", max_trials=None, once=True)

    assert [one["state"] for one in service.trials("both")] == ["completed", "completed"]
    assert [one["fidelity"] for one in service.observations("both")] == [None, None]


def test_a_network_is_really_trained(service: Client, measure: Measure) -> None:
    document = {
        "kind": "train", "dataset": "digits", "device": "cpu", "recipe": {"epochs": 3, "batch_size": 50},
        "sizes": {"stem_channels": 8, "cells_per_stage": 1}, "latency": {"batch_sizes": [1], "warm_up": 1, "repeats": 3},
    }  # fmt: skip
    best = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    service.request_trials("digits", [best])

    measure(evaluating.evaluator(document, "nasbench201", None))

    told = values(service)
    assert [one[1] for one in told] == pytest.approx([3.0, 6.0, 9.0])
    assert told[-1][3] > 0.5  # chance: 0.1


class Handler(BaseHTTPRequestHandler):
    """Answers what the test wants, and keeps what it was asked."""

    asked: list[Document]
    status, answer = 200, b"{}"

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append(json.loads(content))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def other_side() -> Iterator[tuple[type[Handler], str]]:
    """A user's own service."""
    handler = type("OwnHandler", (Handler,), {"asked": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/evaluate"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_is_asked_and_answers(other_side: Any, service: Client, measure: Measure) -> None:
    handler, address = other_side
    handler.answer = json.dumps({"metrics": {"accuracy_percent": 77}}).encode()

    measure(Choices("webhook", webhook=address).evaluator(SPACE))

    (trial,) = service.trials("digits")
    assert values(service) == [("ok", 9.0, 0, pytest.approx(0.77))]
    assert (handler.asked[0]["genotype"], handler.asked[0]["fidelity"]) == (trial["genotype"], 1.0)


@pytest.mark.parametrize(
    ("status", "answer", "state", "reason"),
    [
        (503, b"busy", "requested", "got 503: busy"),
        (404, b"who?", "failed", "got 404: who?"),
        (302, b"", "failed", "got 302"),
        (200, b"<html>", "failed", "expected JSON from"),
        (200, b"[1]", "failed", "expected {"),
        (200, b"x" * 3_000, "failed", "at most 2000 bytes"),
        (200, b'{"infeasible": "no"}', "infeasible", "the answer says: no"),
    ],
)
def test_webhooks_that_give_no_value_end_the_trial_with_the_reason(
    status: int, answer: bytes, state: str, reason: str, other_side: Any, service: Client, measure: Measure
) -> None:
    handler, address = other_side
    handler.status, handler.answer = status, answer

    measure(evaluating.asking(Webhook(address, max_answer_bytes=2_000), "nasbench201", None))

    (trial,) = service.trials("digits")
    assert trial["state"] == state
    assert reason in trial["reason"]


def test_a_webhook_that_is_not_there_may_be_there_later(service: Client, measure: Measure) -> None:
    measure(evaluating.asking(Webhook("http://127.0.0.1:9/none", 5.0), "nasbench201", None))

    (trial,) = service.trials("digits")
    assert trial["state"] == "requested"
    assert "got ConnectError" in trial["reason"]


def test_processes_of_one_folder_have_names_of_their_own_that_outlive_them(tmp_path: Path) -> None:
    with Slot(tmp_path) as first, Slot(tmp_path) as second:
        names = first.worker_id, second.worker_id
        assert len(set(names)) == 2
        assert first.trial_folder("a/b", 3) == second.trial_folder("a/b", 3)

    with Slot(tmp_path) as again, Slot(tmp_path, "given") as given:
        assert again.worker_id == names[0]
        assert given.worker_id == "given"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (Choices("train"), "expected --dataset with --evaluator train, got none"),
        (Choices("train", dataset="digits", recipe=("epochs",)), "expected --recipe name=value, got 'epochs'"),
        (Choices("train", dataset="digits", sizes=("depth=3",)), "got 'depth'"),
        (Choices("train", dataset="digits", device="tpu"), "got 'tpu'"),
        (Choices("table", table="{"), "expected --table as JSON"),
        (Choices("table", table="[]"), "expected --table as a JSON object"),
        (Choices("command"), "expected --command with"),
        (Choices("webhook", webhook="ftp://x"), "an address of http or https"),
    ],
)
def test_options_that_make_no_sense_are_refused(choices: Choices, message: str) -> None:
    with pytest.raises(InvalidContentError) as refused:
        choices.evaluator(SPACE)

    assert message in str(refused.value)
