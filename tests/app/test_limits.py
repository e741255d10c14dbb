"""What a request may hold, and how long it may take: one thing too much is refused, and says what was allowed and what came."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app import deadlines
from app.errors import TimedOutError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from app.database import Database

JSON = {"content-type": "application/json"}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}


def chain(num_nodes: int, **changes: Any) -> dict[str, Any]:
    kinds = ["input", *["conv"] * (num_nodes - 2), "output"]
    nodes = [{"kind": kind} for kind in kinds]
    return {"nodes": nodes, "edges": [[i, i + 1] for i in range(num_nodes - 1)], **changes}


def every_edge(count: int) -> dict[str, Any]:
    pairs = [[source, target] for target in range(200) for source in range(target)]
    return chain(200, edges=pairs[:count])


def middle(**members: Any) -> dict[str, Any]:
    return chain(3, nodes=[{"kind": "input"}, {"kind": "conv", **members}, {"kind": "output"}])


@pytest.mark.parametrize(
    ("graph", "allowed", "came"),
    [
        pytest.param(chain(2_001), "at most 2000 nodes", "got 2001", id="nodes"),
        pytest.param(every_edge(10_001), "at most 10000 edges", "got 10001", id="edges"),
        pytest.param(
            middle(attributes={f"a{i}": i for i in range(65)}), "at most 64 attributes", "got 65", id="attributes"
        ),
        pytest.param(middle(attributes={"a": "x" * 257}), "at most 256 characters", "got", id="an attribute's text"),
        pytest.param(middle(attributes={"x" * 257: 1}), "at most 256 characters", "got", id="an attribute's name"),
        pytest.param(middle(kind="x" * 257), "at most 256 characters", "got", id="a kind"),
    ],
)
def test_a_graph_that_is_too_large_is_refused(
    client: TestClient, graph: dict[str, Any], allowed: str, came: str
) -> None:
    answer = client.post("/v1/search-spaces/graph/validate", json={"architectures": [graph]})

    (result,) = answer.json()["results"]
    assert result["valid"] is False
    assert allowed in result["error"]["message"]
    assert came in result["error"]["message"]


@pytest.mark.parametrize(
    ("path", "member", "item", "most"),
    [
        ("/v1/tasks/digits/predictions", "architectures", CELL, 10_000),
        ("/v1/tasks/digits/observations", "observations", {"architecture": CELL, "value": 0.5}, 1_000),
        ("/v1/tasks/digits/trials", "architectures", CELL, 1_000),
        ("/v1/search-spaces/nasbench201/validate", "architectures", 0, 10_000),
    ],
)
def test_a_batch_that_is_too_large_is_refused(
    client: TestClient, post_task: Any, path: str, member: str, item: Any, most: int
) -> None:
    post_task()

    answer = client.post(path, json={member: [item] * (most + 1)})

    assert answer.status_code == 422
    assert str(most) in answer.json()["detail"]
    assert str(most + 1) in answer.json()["detail"]


def test_metadata_that_is_too_large_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/tasks", json={**TASK, "metadata": {"a": "x" * 65_536}})

    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, ["body", "metadata"])
    assert "at most 65536 bytes of JSON, got 65544" in answer.json()["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/tasks/digits/observations", "/v1/tasks/digits/predictions"])
def test_numbers_that_are_none_are_refused_wherever_they_stand(
    client: TestClient, post_task: Any, path: str, number: str
) -> None:
    post_task()
    body = f'{{"metadata": {{"a": [{number}]}}, "value": {number}}}'

    answer = client.post(path, content=body, headers=JSON)

    assert (answer.status_code, "no NaN, no Infinity" in answer.json()["detail"]) == (400, True)


def test_json_may_be_nested_64_deep_and_no_deeper(client: TestClient) -> None:
    def nested(depth: int) -> Any:  # the body and its metadata are two levels of their own
        document: Any = 1
        for _ in range(depth - 2):
            document = [document]
        return {**TASK, "metadata": {"a": document}}

    assert client.post("/v1/tasks", json=nested(65)).status_code == 400
    assert "at most 64 deep" in client.post("/v1/tasks", json=nested(65)).json()["detail"]
    assert client.post("/v1/tasks", json=nested(64)).status_code == 201


@pytest.fixture
def impatient(app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A client of a service whose requests may take next to no time."""
    monkeypatch.setattr(app.state.guard.time_limit, "seconds", 0.3)
    return client


@pytest.mark.both_engines
def test_what_was_answered_as_taking_too_long_is_not_done_afterwards(
    app: FastAPI, impatient: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.tasks import service

    answered, ended = threading.Event(), threading.Event()
    create: Callable[..., Any] = service.create

    def slow(*arguments: Any) -> Any:
        answered.wait(60.0)
        threading.Timer(0.05, ended.set).start()
        return create(*arguments)

    monkeypatch.setattr(service, "create", slow)
    answer = impatient.post("/v1/tasks", json=TASK)
    answered.set()
    ended.wait(60.0)

    document = answer.json()
    assert (answer.status_code, document["type"], document["status"]) == (504, "/problems/timed-out", 504)
    assert "0.3 s" in document["detail"]
    monkeypatch.setattr(app.state.guard.time_limit, "seconds", 60.0)  # a busy machine takes its time for that, too
    assert impatient.get("/v1/tasks").json()["items"] == []


def test_a_body_that_does_not_come_is_not_waited_for(app: FastAPI, impatient: TestClient) -> None:
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def keep(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"h")]
    scope = {
        "type": "http", "method": "POST", "path": "/v1/tasks", "raw_path": b"/v1/tasks", "query_string": b"",
        "headers": headers, "scheme": "http", "server": None, "client": None, "root_path": "", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(app(scope, never, keep))

    assert sent[0]["status"] == 504


def test_work_in_steps_ends_between_them_and_transactions_do_not_begin(database: Database, client: TestClient) -> None:
    import contextvars

    def late() -> None:
        deadlines.begin(-1.0)
        with pytest.raises(TimedOutError):
            deadlines.check()
        for transaction in (database.read, database.write):
            with pytest.raises(TimedOutError), transaction():
                raise AssertionError("it began")

    contextvars.copy_context().run(late)
    deadlines.check()  # nobody else's deadline


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
def test_a_statement_that_takes_too_long_is_stopped(engine: str, migrated_url: str) -> None:
    import contextvars

    from app.database import Database

    database = Database(migrated_url, statement_seconds=0.3)
    endless = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "postgresql": "SELECT pg_sleep(600)",
    }

    def ask() -> None:
        deadlines.begin(0.3)
        with pytest.raises(OperationalError), database.read() as session:
            session.execute(text(endless[engine]))

    contextvars.copy_context().run(ask)
    database.close()


@pytest.mark.usefixtures("champion")
def test_forecasts_that_share_a_pass_do_not_share_a_deadline(app: FastAPI, client: TestClient, post_task: Any) -> None:
    """The pass is made by whoever came first, and goes on for others after that one's time."""
    post_task()
    service = app.state.predictions
    seen: list[Any] = []
    compute = service._batcher._compute

    def looking(batch: Any) -> Any:
        seen.append(deadlines.current())
        return compute(batch)

    service._batcher._compute = looking
    answer = client.post("/v1/tasks/digits/predictions", json={"architectures": [CELL]})

    assert (answer.status_code, seen) == (200, [None])


def test_a_request_that_was_cancelled_otherwise_stays_cancelled() -> None:
    from app.access.time_limits import TimeLimit

    async def cancelled_by_another() -> bool:
        limit = TimeLimit(3_600.0)

        async def work() -> None:
            request = limit.begin()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                assert not limit.is_overdue(request)
                raise
            finally:
                limit.end(request)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled_by_another())
