"""Several replicas and workers on one database: none of them knows anything that the others do not learn."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app import queue
from app.database import Database
from app.jobs.progress import Conclusion, Progress
from app.model_versions import service as model_versions
from app.tables import AliasRecord, JobRecord, ModelVersionRecord, PromotionRecord
from app.worker import Worker

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]
Eventually = Callable[[Callable[[], bool]], None]
Together = Callable[[Callable[[int], Any], int], list[Any]]
MakeWorker = Callable[[], Worker]


def forecast(client: TestClient, task: str, cells: Cells) -> dict[str, Any]:
    body = {"architectures": [cell["genotype"] for cell in cells]}
    answer = client.post(f"/v1/tasks/{task}/predictions", json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture
def newer_version(client: TestClient, database: Database, make_champion: Any) -> str:
    """A model version that was not promoted yet."""
    made = make_champion(2)
    with database.write() as session:
        model_versions.add(session, made.version, None, "fine_tune", dict(made.manifest), made.to_bytes())
    version: str = made.version
    return version


def test_what_was_posted_to_one_replica_is_read_from_the_other_at_once(
    client: TestClient, other_client: TestClient, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:3], [0.1, 0.3, 0.2])

    best = other_client.get("/v1/tasks/digits/best").json()["items"]
    listed = other_client.get("/v1/tasks/digits/observations").json()["items"]

    assert [place["architecture_id"] for place in best] == [cells[1]["id"], cells[2]["id"], cells[0]["id"]]
    assert listed == client.get("/v1/tasks/digits/observations").json()["items"]
    assert other_client.get("/v1/tasks/digits").json() == client.get("/v1/tasks/digits").json()


def test_an_adaptation_of_a_worker_answers_in_every_replica(
    client: TestClient,
    other_client: TestClient,
    make_worker: MakeWorker,
    post_task: Any,
    cells: Cells,
    observe: Any,
    eventually: Eventually,
) -> None:
    post_task()
    before = [forecast(replica, "digits", cells[20:24]) for replica in (client, other_client)]

    observe("digits", cells[:8], [0.1 * number for number in range(8)])
    assert make_worker().run_one([queue.ADAPT])
    for replica in (client, other_client):
        eventually(lambda replica=replica: forecast(replica, "digits", cells[20:24])["num_observations"] == 8)
    after = [forecast(replica, "digits", cells[20:24]) for replica in (client, other_client)]

    assert [one["num_observations"] for one in before] == [0, 0]
    assert after[0]["is_fresh"]
    assert after[0] == after[1]
    assert after[0]["predictions"] != before[0]["predictions"]


def test_a_promotion_is_noticed_by_every_replica(
    client: TestClient,
    other_client: TestClient,
    newer_version: str,
    post_task: Any,
    cells: Cells,
    eventually: Eventually,
) -> None:
    post_task()
    for replica in (client, other_client):
        forecast(replica, "digits", cells[:2])

    promoted = client.post(f"/v1/model-versions/{newer_version}:promote", json={"reason": "better"})

    assert promoted.status_code == 200
    for replica in (client, other_client):
        eventually(lambda replica=replica: forecast(replica, "digits", cells[:2])["model_version"] == newer_version)
        assert replica.get("/readyz").json()["model_version"] == newer_version


def test_a_rollback_is_noticed_by_every_replica(
    client: TestClient,
    other_client: TestClient,
    newer_version: str,
    post_task: Any,
    cells: Cells,
    eventually: Eventually,
) -> None:
    post_task()
    before = forecast(client, "digits", cells[:2])
    client.post(f"/v1/model-versions/{newer_version}:promote", json={"reason": "better"})
    for replica in (client, other_client):
        eventually(lambda replica=replica: forecast(replica, "digits", cells[:2])["model_version"] == newer_version)

    rolled_back = client.post("/v1/model-versions:rollback", json={"reason": "worse"})

    assert rolled_back.status_code == 200
    for replica in (client, other_client):
        eventually(
            lambda replica=replica: forecast(replica, "digits", cells[:2])["model_version"] == before["model_version"]
        )
        assert forecast(replica, "digits", cells[:2])["predictions"] == before["predictions"]


def test_a_pin_is_noticed_by_every_replica(
    client: TestClient,
    other_client: TestClient,
    newer_version: str,
    post_task: Any,
    cells: Cells,
    eventually: Eventually,
) -> None:
    post_task()
    before = forecast(client, "digits", cells[:2])["model_version"]
    forecast(other_client, "digits", cells[:2])

    client.post("/v1/tasks/digits:pin", json={"model_version": newer_version, "reason": "the paper"})
    for replica in (client, other_client):
        eventually(lambda replica=replica: forecast(replica, "digits", cells[:2])["model_version"] == newer_version)
    other_client.post("/v1/tasks/digits:unpin", json={"reason": "it is out"})

    for replica in (client, other_client):
        eventually(lambda replica=replica: forecast(replica, "digits", cells[:2])["model_version"] == before)


def test_candidates_of_one_replica_leave_out_what_was_measured_through_the_other(
    client: TestClient, other_client: TestClient, post_task: Any, observe: Any
) -> None:
    definition = {"version": 1, "decisions": [{"name": "width", "type": "ordinal", "values": [1, 2, 4, 8]}]}
    client.post("/v1/search-spaces", json={"name": "tiny", "definition": definition})
    post_task(search_space="tiny")
    path = "/v1/tasks/digits/candidates"
    first = other_client.get(path, params={"k": 4}).json()["candidates"]

    observe("digits", [{"genotype": first[0]["genotype"]}], [0.5])
    second = other_client.get(path, params={"k": 4}).json()["candidates"]

    assert {one["architecture_id"] for one in first} - {one["architecture_id"] for one in second} == {
        first[0]["architecture_id"]
    }


def test_replicas_that_start_together_make_one_champion(
    client: TestClient, database: Database, reopened: Callable[[Database], Database], together: Together
) -> None:
    with database.write() as session:  # as it was before any replica started
        for table in (PromotionRecord, AliasRecord, ModelVersionRecord):
            session.query(table).delete()
    replicas = [reopened(database) for _ in range(4)]

    together(lambda number: model_versions.register_shipped(replicas[number]), 4)

    with database.read() as session:
        assert len(session.scalars(select(PromotionRecord)).all()) == 1
        assert [alias.name for alias in session.scalars(select(AliasRecord))] == ["champion"]


def test_every_job_is_done_once_however_many_workers_there_are(
    client: TestClient, database: Database, make_worker: MakeWorker, together: Together
) -> None:
    with database.write() as session:
        ids = [queue.enqueue(session, queue.ADAPT, {"task_id": number}) for number in range(24)]
    done: Counter[int] = Counter()
    lock = threading.Lock()

    def work(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        with lock:
            done[payload["task_id"]] += 1
        return lambda session: {"task": payload["task_id"]}

    workers = [dataclasses.replace(make_worker(), work={queue.ADAPT: work}) for _ in range(4)]

    def run(number: int) -> None:
        while workers[number].run_one([queue.ADAPT]):
            pass

    together(run, 4)
    run(0)  # what was locked when the last of them looked

    assert done == Counter(range(24))
    with database.read() as session:
        rows = session.scalars(select(JobRecord).where(JobRecord.id.in_(ids))).all()
    assert {(row.state, row.attempts) for row in rows} == {("done", 1)}
    assert all(row.result == {"task": row.payload["task_id"]} for row in rows)


def test_a_search_of_one_replica_is_followed_and_stopped_at_the_other(
    client: TestClient, other_client: TestClient, make_worker: MakeWorker, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells, [0.01 * number for number in range(len(cells))])
    body = {"objectives": [{"task": "digits"}], "strategy": "random", "mode": "measured"}
    table = {"evaluator": "table", "start": [cell["genotype"] for cell in cells[:3]]}
    done = client.post("/v1/searches", json={**body, **table, "budget": {"evaluations": 3}}).json()["id"]
    waiting = client.post("/v1/searches", json={**body, "budget": {"evaluations": 3}}).json()["id"]
    worker, other = make_worker(), make_worker()
    assert worker.run_one([queue.SEARCH])
    assert other.run_one([queue.SEARCH])

    told = [replica.get(f"/v1/searches/{done}/events").text for replica in (client, other_client)]
    ids = [line.removeprefix("id: ") for line in told[0].splitlines() if line.startswith("id: ")]
    rest = other_client.get(f"/v1/searches/{done}/events", headers={"Last-Event-ID": ids[1]}).text
    stopped = other_client.post(f"/v1/searches/{waiting}:cancel").json()

    assert told[0] == told[1]
    assert told[0].endswith('event: end\ndata: {"state":"done"}\n\n')
    assert [line.removeprefix("id: ") for line in rest.splitlines() if line.startswith("id: ")] == ids[2:]
    assert stopped["state"] == client.get(f"/v1/searches/{waiting}").json()["state"] == "cancelled"
