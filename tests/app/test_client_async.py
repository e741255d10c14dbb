"""The client for asyncio: the same requests as the other one, retried and kept once alike; trials whose heart beats beside them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from app.client import AsyncClient, Client, ClientError, LeaseLostError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Cells = list[dict[str, str]]
Use = Callable[[AsyncClient], Coroutine[Any, Any, Any]]
KEPT = ("content-type", "idempotency-key", "if-match", "authorization")


class Line(httpx.AsyncBaseTransport):
    """The way to the service. `disturbed` may raise, or answer, in the place of the service's answer."""

    def __init__(self, service: TestClient) -> None:
        self.service = service
        self.seen: list[httpx.Request] = []
        self.disturbed: Callable[[int, httpx.Request], httpx.Response | None] = lambda number, request: None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        headers = {name: request.headers[name] for name in KEPT if name in request.headers}
        path, content = request.url.raw_path.decode(), await request.aread()
        answer = await asyncio.to_thread(self.service.request, request.method, path, content=content, headers=headers)
        other = self.disturbed(len(self.seen), request)
        return other or httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))


@pytest.fixture
def line(champion: Any, client: TestClient, post_task: Any, monkeypatch: pytest.MonkeyPatch) -> Line:
    post_task(max_fidelity=20)
    monkeypatch.setattr("app.client_calls._FIRST_PAUSE_SECONDS", 0.0)
    return Line(client)


@pytest.fixture
def using(line: Line) -> Callable[[Use], Any]:
    """Runs a coroutine function with a client that the service has answered before."""

    def run(use: Use) -> Any:
        async def whole() -> Any:
            async with AsyncClient("http://service", line) as caller:
                await caller.task("digits")
                line.seen.clear()
                return await use(caller)

        return asyncio.run(whole())

    return run


def test_an_answer_that_is_lost_is_asked_for_again_and_recorded_once(line: Line, using: Any, cells: Cells) -> None:
    def lose(number: int, request: httpx.Request) -> None:
        if number in (1, 2):
            raise httpx.ReadError("the answer was lost")

    async def use(caller: AsyncClient) -> Any:
        line.disturbed = lose
        posted = await caller.post_observations("digits", [{"architecture": cells[0]["genotype"], "value": 0.5}])
        return posted, [one["value"] async for one in caller.observations("digits")]

    posted, values = using(use)

    assert posted["num_created"] == 1
    assert values == [0.5]
    assert len({request.headers["idempotency-key"] for request in line.seen[:3]}) == 1


def test_it_waits_as_long_as_the_service_says(line: Line, using: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def put_off(number: int, request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(429, headers={"Retry-After": "7"}) if number == 1 else None

    async def use(caller: AsyncClient) -> Any:
        line.disturbed = put_off
        monkeypatch.setattr("app.client_calls.asyncio.sleep", sleep)
        return await caller.task("digits")

    assert using(use)["name"] == "digits"
    assert pauses == [7.0]


def test_lists_are_followed_page_by_page(line: Line, using: Any, cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.client_calls._PAGE", 2)
    rows = [{"architecture": cell["genotype"], "value": float(number)} for number, cell in enumerate(cells[:5])]

    async def use(caller: AsyncClient) -> Any:
        await caller.task("digits").post_observations(rows)
        return [one["value"] async for one in caller.task("digits").observations()]

    assert using(use) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(line.seen) == 4


def test_only_what_was_seen_is_edited(using: Any) -> None:
    async def use(caller: AsyncClient) -> None:
        seen = await caller.task("digits")
        await caller.edit_task("digits", {"n": 1}, seen)
        with pytest.raises(ClientError, match="expected"):
            await caller.edit_task("digits", {"n": 2}, seen)

    using(use)


def test_a_reported_value_completes_the_trial(using: Any) -> None:
    async def use(caller: AsyncClient) -> Any:
        async with caller.task("digits").suggest() as trial:
            await trial.report(0.4, fidelity=5, seed=1)
            await trial.should_stop()
            await trial.report(0.9, fidelity=20, seed=1)
        values = [(one["value"], one["fidelity"]) async for one in caller.observations("digits")]
        return values, (await caller.show_trial("digits", trial.id))["state"]

    assert using(use) == ([(0.4, 5.0), (0.9, 20.0)], "completed")


def test_the_heart_beats_while_the_block_runs(line: Line, using: Any) -> None:
    async def use(caller: AsyncClient) -> None:
        async with caller.task("digits").suggest(lease_seconds=1.0) as trial:
            while sum(request.url.path.endswith(":heartbeat") for request in line.seen) < 2:
                await asyncio.sleep(0.01)
            await trial.report(0.5)

    using(use)


def test_a_lease_that_is_gone_is_noticed(line: Line, using: Any) -> None:
    gone = {"type": "/problems/lease-lost", "status": 409, "detail": "it is somebody else's"}

    def refuse(number: int, request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(409, json=gone) if request.url.path.endswith(":heartbeat") else None

    async def use(caller: AsyncClient) -> None:
        line.disturbed = refuse
        async with caller.trial("digits", lease_seconds=1.0) as trial:
            while not trial.is_lost:
                await asyncio.sleep(0.01)

    with pytest.raises(LeaseLostError):
        using(use)


@pytest.mark.parametrize(
    ("error", "state"),
    [(MemoryError("no more"), "requested"), (asyncio.CancelledError(), "abandoned")],
    ids=["an exception fails it", "cancelling gives it back"],
)
def test_a_block_that_is_left_ends_the_trial(using: Any, error: BaseException, state: str) -> None:
    async def use(caller: AsyncClient) -> Any:
        with pytest.raises(type(error)):
            async with caller.trial("digits") as trial:
                raise error
        return (await caller.show_trial("digits", trial.id))["state"]

    assert using(use) == state


def test_two_trials_of_one_process_are_two(using: Any) -> None:
    async def use(caller: AsyncClient) -> Any:
        async with caller.trial("digits") as one, caller.trial("digits") as other:
            await one.report(0.1)
            await other.report(0.2)
        return one.id, other.id

    first, second = using(use)
    assert first != second


def test_both_clients_can_ask_the_same() -> None:
    def offered(kind: type) -> dict[str, list[str]]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters) for name, one in members if not name.startswith("_")}

    assert offered(Client) == offered(AsyncClient)


def test_a_task_of_the_blocking_client_is_its_document_and_suggests(
    champion: Any, client: TestClient, post_task: Any
) -> None:
    post_task()
    caller = Client("http://service")
    caller.close()
    caller._http = client

    task = caller.task("digits")
    with task.suggest() as trial:
        trial.report(0.5)

    assert task["name"] == "digits"
    assert [one["value"] for one in task.observations()] == [0.5]
    assert caller.edit_task("digits", {"n": 1}, caller.task("digits"))["metadata"] == {"n": 1}
