"""Measuring through the client, against the service in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.client import Client, ClientError, LeaseLostError
from app.client_trials import FailedForGoodError, GiveBackError, InfeasibleError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.usefixtures("champion")

Document = dict[str, Any]
Do = Callable[..., Any]


class FlakyTransport(httpx.BaseTransport):
    """Hands requests to the service; loses the answers to those that `loses` picks, once for each path."""

    def __init__(self, service: TestClient) -> None:
        self.service = service
        self.loses: Callable[[str], bool] = lambda path: False
        self.lost: list[str] = []
        self.seen: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        self.seen.append(path)
        kept = ("content-type", "idempotency-key", "if-match")
        headers = {name: request.headers[name] for name in kept if name in request.headers}
        answer = self.service.request(request.method, path, content=request.read(), headers=headers)
        if self.loses(path) and path not in self.lost:
            self.lost.append(path)
            raise httpx.ReadError("the answer was lost")
        return httpx.Response(
            answer.status_code, content=answer.content, headers={"etag": answer.headers.get("etag", "")}
        )


@pytest.fixture
def transport(client: TestClient, post_task: Do, monkeypatch: pytest.MonkeyPatch) -> FlakyTransport:
    """The way to the service, on which there is a task `digits` with 20 final epochs."""
    post_task(max_fidelity=20)
    monkeypatch.setattr("app.client_calls._FIRST_PAUSE_SECONDS", 0.0)
    return FlakyTransport(client)


@pytest.fixture
def worker(transport: FlakyTransport) -> Client:
    """A client of the service."""
    return Client("http://service", transport)


def test_a_reported_value_completes_the_trial(worker: Client) -> None:
    with worker.trial("digits", "anna") as trial:
        trial.report(0.4, fidelity=5, seed=1)
        kept_early = [one["value"] for one in worker.observations("digits")]
        trial.report(0.9, fidelity=20, seed=1, cost=3.5)

    shown = worker.show_trial("digits", trial.id)
    assert kept_early == [0.4]
    assert (shown["state"], shown["worker_id"], shown["genotype"]) == ("completed", "anna", trial.genotype)
    values = [(one["value"], one["fidelity"], one["seed"], one["cost"]) for one in worker.observations("digits")]
    assert values == [(0.4, 5.0, 1, None), (0.9, 20.0, 1, 3.5)]


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (InfeasibleError("too wide"), "infeasible", "infeasible: too wide"),
        (FailedForGoodError("it diverged"), "failed", "failed: it diverged"),
        (GiveBackError("no time"), "abandoned", "given back: no time"),
    ],
)
def test_the_block_says_how_the_trial_ends(error: ClientError, state: str, reason: str, worker: Client) -> None:
    with pytest.raises(type(error)), worker.trial("digits", "anna") as trial:
        raise error

    shown = worker.show_trial("digits", trial.id)
    assert (shown["state"], shown["reason"]) == (state, reason)


def test_an_exception_fails_the_trial_and_comes_through(worker: Client) -> None:
    with pytest.raises(MemoryError, match="no more"), worker.trial("digits", "anna") as trial:
        raise MemoryError("no more")

    shown = worker.show_trial("digits", trial.id)
    assert (shown["state"], shown["num_failures"]) == ("requested", 1)
    assert shown["history"][-1]["cause"] == "failed in try 1 of 3: MemoryError: no more"


def test_an_interrupt_gives_the_trial_back(worker: Client) -> None:
    with pytest.raises(KeyboardInterrupt), worker.trial("digits", "anna") as trial:
        raise KeyboardInterrupt

    assert worker.show_trial("digits", trial.id)["state"] == "abandoned"


def test_a_diverged_training_fails_the_trial(worker: Client) -> None:
    with pytest.raises(ClientError, match="expected a finite value, got nan"), worker.trial("digits", "anna") as trial:
        trial.report(float("nan"))

    assert worker.show_trial("digits", trial.id)["num_failures"] == 1


def test_a_block_that_reports_nothing_gives_the_trial_back(worker: Client) -> None:
    with pytest.raises(ClientError, match=r"expected trial\.report"), worker.trial("digits", "anna") as trial:
        pass

    assert worker.show_trial("digits", trial.id)["state"] == "abandoned"


def test_a_training_that_is_stopped_early_completes_with_what_there_is(worker: Client) -> None:
    with worker.trial("digits", "anna") as trial:
        trial.report(0.4, fidelity=5)
        assert not trial.should_stop()  # nothing to compare with

    assert worker.show_trial("digits", trial.id)["state"] == "completed"


def test_the_lease_is_kept_while_the_block_runs(worker: Client, transport: FlakyTransport) -> None:
    beaten = threading.Event()
    transport.loses = lambda path: bool(path.endswith(":heartbeat") and beaten.set())

    with worker.trial("digits", "anna", lease_seconds=1.0) as trial:
        first = worker.show_trial("digits", trial.id)["lease_expires_at"]
        assert beaten.wait(timeout=30.0)
        while worker.show_trial("digits", trial.id)["lease_expires_at"] == first:
            beaten.wait(0.01)
        trial.report(0.9)

    assert worker.show_trial("digits", trial.id)["num_expiries"] == 0


def test_answers_that_were_lost_are_asked_for_again_and_nothing_counts_twice(
    worker: Client, transport: FlakyTransport
) -> None:
    transport.loses = lambda path: "/trials" in path

    with worker.trial("digits", "anna") as trial:
        trial.report(0.4, fidelity=5)
        trial.report(0.9, fidelity=20)

    assert [path.rpartition(":")[2] for path in transport.lost] == ["suggest", "heartbeat", "complete"]
    transport.loses = lambda path: False
    assert [one["value"] for one in worker.observations("digits")] == [0.4, 0.9]
    assert len(list(worker.trials("digits"))) == 1


def test_a_trial_that_somebody_else_has_takes_no_more_reports(worker: Client) -> None:
    def report_too_late() -> None:
        worker.suggest_trials("digits", "anna")  # the same name in another process: it has the trial now
        trial.report(0.4, fidelity=5)

    with pytest.raises(LeaseLostError, match="got a lease that is lost"), worker.trial("digits", "anna") as trial:
        report_too_late()

    assert trial.is_lost
    assert worker.show_trial("digits", trial.id)["state"] == "leased"
    assert list(worker.observations("digits")) == []


def test_where_nothing_is_left_the_client_says_so(worker: Client) -> None:
    space = {"version": 1, "decisions": [{"name": "width", "type": "ordinal", "values": [1]}]}
    worker.declare_search_space("single", space)
    worker.create_task("one", "single", "digits", {"name": "accuracy", "unit": "%", "direction": "maximize"})
    worker.suggest_trials("one", "bert")

    with pytest.raises(ClientError, match="expected something to measure in task 'one'"), worker.trial("one", "anna"):
        pytest.fail("expected no trial")


def test_every_call_of_the_client_reaches_its_operation(worker: Client, cells: list[Document]) -> None:
    requested = worker.request_trials("digits", [cells[0]["genotype"]])["trials"][0]["trial_id"]
    trials = worker.suggest_trials("digits", "anna", 4)["trials"]
    tokens = [(one["id"], one["lease_token"]) for one in trials]

    ended = [
        worker.complete("digits", *tokens[0], [{"value": 0.5}])["state"],
        worker.fail("digits", *tokens[1], "broken", is_retryable=False)["state"],
        worker.infeasible("digits", *tokens[2], "no such operation")["state"],
        worker.abandon("digits", *tokens[3])["state"],
    ]

    assert trials[0]["id"] == requested
    assert ended == ["completed", "failed", "infeasible", "abandoned"]
    assert {one["id"]: one["state"] for one in worker.trials("digits")} == dict(
        zip([one["id"] for one in trials], ended, strict=True)
    )
    assert [one["id"] for one in worker.trials("digits", state="failed")] == [tokens[1][0]]


def test_a_document_that_json_cannot_hold_is_not_sent(worker: Client, transport: FlakyTransport) -> None:
    count = len(transport.seen)

    with pytest.raises(ClientError, match="JSON can hold"):
        worker.complete("digits", 1, "1.x", [{"value": float("inf")}])

    assert len(transport.seen) == count
