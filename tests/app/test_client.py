"""Calling through the client: again when an answer is lost, done once all the same; lists and edits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.client import Client, ClientError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Cells = list[dict[str, str]]
KEPT = ("content-type", "idempotency-key", "if-match")


class Line(httpx.BaseTransport):
    """The way to the service. `disturbed` may raise, or answer, in the place of the service's answer."""

    def __init__(self, service: TestClient) -> None:
        self.service = service
        self.seen: list[httpx.Request] = []
        self.disturbed: Callable[[int], httpx.Response | None] = lambda number: None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        headers = {name: request.headers[name] for name in KEPT if name in request.headers}
        path = request.url.raw_path.decode()
        answer = self.service.request(request.method, path, content=request.read(), headers=headers)
        other = self.disturbed(len(self.seen))
        return other or httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request in self.seen]


@pytest.fixture
def line(client: TestClient, post_task: Any, monkeypatch: pytest.MonkeyPatch) -> Line:
    post_task()
    monkeypatch.setattr("app.client_calls._FIRST_PAUSE_SECONDS", 0.0)
    return Line(client)


@pytest.fixture
def caller(line: Line) -> Client:
    """A client that the service has answered before."""
    caller = Client("http://service", line)
    caller.task("digits")
    line.seen.clear()
    return caller


def lost(numbers: set[int]) -> Callable[[int], None]:
    def disturb(number: int) -> None:
        if number in numbers:
            raise httpx.ReadError("the answer was lost")

    return disturb


def test_an_answer_that_is_lost_is_asked_for_again_and_recorded_once(line: Line, caller: Client, cells: Cells) -> None:
    line.disturbed = lost({1, 2, 3})

    posted = caller.post_observations("digits", [{"architecture": cells[0]["genotype"], "value": 0.5}])

    assert posted["num_created"] == 1
    assert len(line.seen) == 4
    assert len(set(line.keys)) == 1
    line.disturbed = lambda number: None
    assert [one["value"] for one in caller.observations("digits")] == [0.5]


def test_two_calls_have_two_keys_and_a_key_of_ones_own_is_kept(line: Line, caller: Client) -> None:
    started = [caller.start_fine_tune("same") for _ in range(2)]
    own = [caller.start_fine_tune("same", idempotency_key="nightly-17") for _ in range(2)]

    assert len(set(line.keys[:2])) == 2
    assert started[0]["id"] != started[1]["id"]
    assert line.keys[2:] == ["nightly-17"] * 2
    assert own[0]["id"] == own[1]["id"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status_code": 503, "headers": {"Retry-After": "0"}}, id="put off"),
        pytest.param({"status_code": 429, "headers": {"Retry-After": "0"}}, id="too many requests"),
        pytest.param({"status_code": 409, "json": {"type": "/problems/idempotency-key-in-flight"}}, id="in flight"),
        pytest.param({"status_code": 502, "text": "<html>"}, id="a proxy that cannot reach it"),
    ],
)
def test_what_may_succeed_later_is_asked_again(line: Line, caller: Client, answer: dict[str, Any]) -> None:
    line.disturbed = lambda number: httpx.Response(**answer) if number == 1 else None

    assert caller.start_fine_tune("x")["state"] == "queued"
    assert len(line.seen) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 422])
def test_what_is_refused_is_not_asked_again(line: Line, caller: Client, status: int) -> None:
    line.disturbed = lambda number: httpx.Response(status, json={"detail": "no", "status": status})

    with pytest.raises(ClientError, match="no"):
        caller.start_fine_tune("x")

    assert len(line.seen) == 1


def test_a_service_that_stays_away_is_given_up(line: Line, caller: Client) -> None:
    line.disturbed = lost(set(range(99)))

    with pytest.raises(ClientError, match="the answer was lost"):
        caller.task("digits")

    assert len(line.seen) == 6


def test_a_service_that_never_answered_is_not_waited_for(line: Line) -> None:
    line.disturbed = lost(set(range(99)))

    with pytest.raises(ClientError, match="expected a service at"):
        Client("http://service", line).task("digits")

    assert len(line.seen) == 1


def test_forecasts_need_no_key(line: Line, caller: Client) -> None:
    with pytest.raises(ClientError):  # there is no champion
        caller.predict("digits", ["x"])

    assert set(line.keys) == {None}


def test_a_list_is_followed_through_its_cursors(
    line: Line, caller: Client, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [0.1, 0.4, 0.2, 0.5, 0.3]
    rows = [{"architecture": cell["genotype"], "value": value} for cell, value in zip(cells, values, strict=False)]
    caller.post_observations("digits", rows)
    monkeypatch.setattr("app.client_calls._PAGE", 2)
    line.seen.clear()
    line.disturbed = lost({2})

    listed = list(caller.observations("digits", sort="-value", min_value=0.2, fields="value"))

    assert listed == [{"value": value} for value in (0.5, 0.4, 0.3, 0.2)]
    assert len(line.seen) == 3
    assert [one["name"] for one in caller.search_spaces(kind="graph")] == ["graph"]
    assert list(caller.jobs(state="failed")) == list(caller.model_versions()) == []


def test_what_was_seen_is_corrected_and_retracted_unless_it_has_changed(caller: Client, cells: Cells) -> None:
    rows = [{"architecture": cell["genotype"], "value": 0.5} for cell in cells[:2]]
    first, second = (one["id"] for one in caller.post_observations("digits", rows)["observations"])
    seen = caller.observation("digits", first)

    corrected = caller.correct_observation("digits", first, "typo", seen, value=0.4)
    with pytest.raises(ClientError) as refused:
        caller.retract_observation("digits", first, "wrong", seen)
    caller.retract_observation("digits", second, "wrong")

    assert refused.value.status == 412
    assert list(caller.observations("digits")) == [corrected]


def test_a_task_is_edited_by_whoever_saw_it_last(line: Line, caller: Client) -> None:
    seen = caller.task("digits")

    edited = caller.edit_task("digits", {"owner": "anna"}, seen)
    again = caller.edit_task("digits", {"owner": "bert"}, edited)
    with pytest.raises(ClientError) as refused:
        caller.edit_task("digits", {"owner": "carl"}, seen)

    assert (refused.value.status, again["metadata"]) == (412, {"owner": "bert"})
    assert caller.edit_task("digits", {})["metadata"] == {}
    with pytest.raises(ClientError, match="that this client has shown"):
        caller.edit_task("digits", {}, {"id": 1})
