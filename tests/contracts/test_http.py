"""One pass through the service: declare, observe, adapt, forecast, choose, correct."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from app.database import Database
from app.tables import PredictionRecord

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

Cells = list[dict[str, str]]


def answered(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/v1{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.both_engines
@pytest.mark.usefixtures("champion")
def test_a_whole_pass(
    app: FastAPI,
    client: TestClient,
    database: Database,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    posted = post_task(max_fidelity=9)
    first = observe("digits", cells[:6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])["observations"]
    observe("digits", cells[:1], [0.8], fidelity=3)
    assert answered(client, "/tasks/digits")["adaptation"]["is_pending"]
    assert run_adaptations() == 1

    body = {"architectures": [cell["genotype"] for cell in cells[6:10]]}
    forecast = client.post("/v1/tasks/digits/predictions", json=body).json()
    candidates = answered(client, "/tasks/digits/candidates", k=5)["candidates"]
    best = answered(client, "/tasks/digits/best", k=2)["items"]
    app.state.predictions.stop()
    with database.read() as session:
        logged = session.scalars(select(PredictionRecord).order_by(PredictionRecord.id)).all()

    assert (forecast["num_observations"], forecast["is_fresh"]) == (6, True)
    assert not {one["architecture_id"] for one in candidates} & {cell["id"] for cell in cells[:6]}
    assert [(one["architecture_id"], one["mean"]) for one in best] == [(cells[5]["id"], 0.6), (cells[4]["id"], 0.5)]
    assert [(one.architecture_id, one.mean) for one in logged] == [
        (one["architecture_id"], one["mean"]) for one in forecast["predictions"]
    ]

    path = f"/v1/tasks/digits/observations/{first[5]['id']}"
    assert client.post(f"{path}/correction", json={"value": 0.05, "reason": "typing error"}).status_code == 201
    assert client.post(f"{path}/retraction", json={"reason": "too late"}).status_code == 409
    assert run_adaptations() == 1

    assert answered(client, "/tasks/digits/best", k=1)["items"][0]["architecture_id"] == cells[4]["id"]
    assert answered(client, f"/architectures/{cells[5]['id']}")["id"] == cells[5]["id"]
    shown = answered(client, "/tasks/digits")
    assert (shown["id"], shown["revision"], shown["num_observations"]) == (posted["id"], 3, 7)
    assert shown["adaptation"]["is_fresh"]
    assert [job["state"] for job in answered(client, "/jobs", kind="adapt")["items"]] == ["done", "done"]


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_connections_that_the_server_closed_are_opened_again(
    client: TestClient, database: Database, reopened: Callable[[Database], Database]
) -> None:
    answered(client, "/tasks")
    with reopened(database).engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        ended = connection.execute(text(f"{others} AND pid <> pg_backend_pid()")).all()

    assert ended
    assert answered(client, "/tasks")["items"] == []
