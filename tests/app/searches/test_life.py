"""Pauses, ends, and workers that die in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from app.tables import JobRecord, utc_now

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database
    from app.settings import Settings

pytestmark = pytest.mark.both_engines

Document = dict[str, Any]


def proposed(client: TestClient, search_id: int) -> list[str]:
    query = "?limit=1000&fields=number,architecture_id,state"
    items = client.get(f"/v1/searches/{search_id}/evaluations{query}").json()["items"]
    assert [one["number"] for one in items] == list(range(1, len(items) + 1))
    return [one["architecture_id"] for one in items]


def post(client: TestClient, search_id: int, action: str) -> Document:
    answer = client.post(f"/v1/searches/{search_id}:{action}")
    assert answer.status_code == 200, answer.text
    document: Document = answer.json()
    return document


def test_a_paused_search_proposes_nothing_until_it_is_resumed(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    search_id = start(budget={"evaluations": 6}, parallel=2)
    work()
    assert post(client, search_id, "pause")["state"] == "paused"
    assert post(client, search_id, "pause")["state"] == "paused", "again is harmless"
    measure(table.accuracy)
    work()

    assert show(search_id)["state"] == "paused"
    assert len(proposed(client, search_id)) == 2
    assert post(client, search_id, "resume")["state"] == "running"
    work()
    assert show(search_id)["num_evaluated"] == 2
    assert len(proposed(client, search_id)) == 4


def test_pauses_do_not_count_as_time(
    client: TestClient, database: Database, table: Any, tasks: Any, start: Any, show: Any, work: Any
) -> None:
    from app.tables import SearchRecord

    search_id = start(budget={"seconds": 3_600.0})
    work()
    post(client, search_id, "pause")
    with database.read() as session:
        before, since = session.get_one(SearchRecord, search_id).seconds_before, None
        assert session.get_one(SearchRecord, search_id).counted_since is since
    with database.write() as session:  # two hours pass
        session.execute(update(SearchRecord).values(created_at=utc_now() - timedelta(hours=2)))
    post(client, search_id, "resume")
    work()

    document = show(search_id)
    assert document["state"] == "waiting"
    assert before <= document["seconds"] < before + 60.0


def test_a_search_that_is_paused_while_a_worker_has_it_stops_at_the_next_commit(
    client: TestClient, observed: Any, start: Any, show: Any, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.searches.driving import _Step

    search_id = start(evaluator="table", budget={"evaluations": 64}, parallel=1)
    evaluated: list[int] = []
    real = _Step._evaluated

    def evaluate(self: _Step, num_waiting: int) -> Any:
        if not evaluated:
            post(client, search_id, "pause")
        evaluated.append(num_waiting)
        return real(self, num_waiting)

    monkeypatch.setattr(_Step, "_evaluated", evaluate)
    work()

    assert (show(search_id)["state"], len(evaluated), len(proposed(client, search_id))) == ("paused", 1, 1)
    post(client, search_id, "resume")
    work()
    assert show(search_id)["state"] == "done"
    assert len(set(proposed(client, search_id))) == 64


def test_a_cancelled_search_keeps_what_it_found_and_withdraws_what_nobody_has_taken(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    search_id = start(budget={"evaluations": 10}, parallel=4)
    work()
    measure(table.accuracy, count=1)
    work()
    taken = client.post("/v1/tasks/digits/trials:suggest", json={"worker_id": "gpu-2", "only_requested": True}).json()[
        "trials"
    ]

    cancelled = post(client, search_id, "cancel")
    assert post(client, search_id, "cancel") == cancelled, "again is harmless"
    assert not work()

    states = {one["id"]: one["state"] for one in client.get("/v1/tasks/digits/trials").json()["items"]}
    assert (cancelled["state"], cancelled["num_evaluated"]) == ("cancelled", 1)
    assert cancelled["best"]["source"] == "trial"
    assert sorted(states.values()) == ["completed", "leased", "withdrawn", "withdrawn", "withdrawn"]
    assert states[taken[0]["id"]] == "leased"
    for action in ("pause", "resume"):
        assert client.post(f"/v1/searches/{search_id}:{action}").status_code == 409


def test_a_job_that_is_tried_again_goes_on_with_its_search(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    search_id = start(budget={"evaluations": 4}, parallel=2)
    work()
    measure(table.accuracy)
    post(client, search_id, "cancel")
    client.post(f"/v1/jobs/{search_id}:retry")
    work()
    measure(table.accuracy)
    work()

    document = show(search_id)
    assert (document["state"], document["num_evaluated"], len(set(proposed(client, search_id)))) == ("done", 4, 4)


def let_lease_run_out(database: Database) -> None:
    with database.write() as session:
        session.execute(update(JobRecord).values(lease_expires_at=utc_now() - timedelta(seconds=1)))


def test_another_worker_goes_on_where_a_killed_one_was(
    champion: Any,
    client: TestClient,
    database: Database,
    settings: Settings,
    post_task: Any,
    start: Any,
    show: Any,
    work: Any,
    request: pytest.FixtureRequest,
) -> None:
    post_task()
    same: dict[str, Any] = {"mode": "forecast", "budget": {"evaluations": 240}, "parallel": 1}
    search_id = start(**same)
    killed = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "worker", "--kinds", "search", "--once"],
        env={**os.environ, **settings.as_environment(), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    request.addfinalizer(lambda: (killed.kill(), killed.wait()))
    wait_until(lambda: show(search_id)["num_evaluated"] > 0, killed)
    killed.kill()
    killed.wait()
    left_off = show(search_id)
    assert (left_off["state"], left_off["num_evaluated"] < 240) == ("running", True)

    let_lease_run_out(database)
    work()
    whole = start(**same)
    work()

    assert show(search_id)["state"] == show(whole)["state"] == "done"
    assert len(proposed(client, search_id)) == 240
    assert proposed(client, search_id) == proposed(client, whole), "as if nobody had been killed"
    assert [one["number"] for one in show(search_id)["history"]] == [one["number"] for one in show(whole)["history"]]


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    import time

    deadline = time.monotonic() + 300.0
    while not happened():
        assert process.poll() is None, "expected the worker to be searching, got one that has ended"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_was_thought_dead_but_was_not_writes_nothing(
    client: TestClient,
    database: Database,
    observed: Any,
    start: Any,
    show: Any,
    worker: Any,
    work: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app.searches.held import HeldSearch

    search_id = start(evaluator="table", budget={"evaluations": 6}, parallel=2)
    real, is_first = HeldSearch.commit, [True]

    def commit(self: HeldSearch, *arguments: Any, **named: Any) -> None:
        if is_first.pop() if is_first else False:
            let_lease_run_out(database)
            work()  # somebody else takes it over, and ends it
        real(self, *arguments, **named)

    monkeypatch.setattr(HeldSearch, "commit", commit)
    worker.run_one(["search"])

    assert (show(search_id)["state"], len(proposed(client, search_id))) == ("done", 6)


def test_a_search_that_cannot_go_on_says_why(
    client: TestClient, database: Database, table: Any, tasks: Any, start: Any, show: Any, work: Any
) -> None:
    from app.tables import SearchRecord

    search_id = start()
    with database.write() as session:  # what a newer version of the program may have made, and this one does not know
        session.execute(update(SearchRecord).values(strategy="simulated_annealing"))
    work()

    document = show(search_id)
    assert document["state"] == "failed"
    assert "simulated_annealing" in document["error"]
