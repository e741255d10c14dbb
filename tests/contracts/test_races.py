"""What several processes decide at the same time, decided once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from app import queue
from app.database import Database
from app.fine_tunes import schedule
from app.inference import records
from app.model_versions import service as model_versions
from app.tables import AdaptationRecord, ArchitectureRecord, JobRecord, PromotionRecord, TaskRecord, utc_now
from predictor.checkpoint import encoding_fingerprint

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings
    from app.worker import Worker

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]
Reopen = Callable[[Database], Database]
Together = Callable[[Callable[[int], Any], int], list[Any]]
MakeWorker = Callable[[], "Worker"]
OBSERVATIONS = "/v1/tasks/digits/observations"
LEASE = 30.0


def statuses(answers: list[Any]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def claimed(database: Database, owner: str = "me") -> queue.ClaimedJob | None:
    with database.write() as session:
        return queue.claim(session, owner, [queue.ADAPT], LEASE)


def adaptation(task_id: int, version: str, revision: int = 1, seconds: float = 0.5) -> AdaptationRecord:
    return AdaptationRecord(
        task_id=task_id,
        model_version_id=version,
        support_hash="0" * 32,
        num_observations=revision,
        task_revision=revision,
        last_observation_id=0,
        payload=b"parameters",
        seconds=seconds,
        created_at=utc_now(),
    )


@pytest.fixture
def version(database: Database, client: TestClient) -> str:
    """A model version that is there, of this program's encoding, whatever is in it."""
    with database.write() as session:
        model_versions.add(session, "v1", None, "uploaded", {"encoding": encoding_fingerprint()}, b"weights")
    return "v1"


def test_a_job_that_stands_for_a_post_is_not_taken_before_the_post_is_committed(
    client: TestClient, database: Database, reopened: Reopen
) -> None:
    other, attempted = reopened(database), threading.Event()
    with database.write() as session:
        waiting = queue.enqueue_adaptation(session, 7)

    def seen_when_claimed() -> int | None:
        if claimed(other) is None:
            return None
        with other.read() as session:
            return session.scalar(select(func.count(JobRecord.id)).where(JobRecord.kind == queue.FINE_TUNE))

    def what_the_worker_sees() -> int:
        seen = seen_when_claimed()
        attempted.set()
        while seen is None:
            seen = seen_when_claimed()
        return seen

    with ThreadPoolExecutor(1) as thread:
        with database.write() as session:
            assert queue.enqueue_adaptation(session, 7) is None  # the one that waits will do
            queue.enqueue(session, queue.FINE_TUNE, {"stands": "for what was posted"})
            seen = thread.submit(what_the_worker_sees)
            attempted.wait(timeout=0.5)  # on SQLite it waits for this transaction

        assert seen.result(timeout=30.0) == 1
    with database.read() as session:
        assert session.get_one(JobRecord, waiting).state == "running"


def test_a_post_while_a_job_is_being_claimed_queues_another(
    client: TestClient, database: Database, reopened: Reopen
) -> None:
    other = reopened(database)
    with database.write() as session:
        first = queue.enqueue_adaptation(session, 7)

    def post() -> int | None:
        with other.write() as session:
            return queue.enqueue_adaptation(session, 7)

    with ThreadPoolExecutor(1) as thread:
        with database.write() as session:
            queue.claim(session, "me", [queue.ADAPT], LEASE)
            posted = thread.submit(post)
        second = posted.result(timeout=30.0)

    assert second is not None
    assert second != first


@pytest.mark.parametrize("reason", ["cancelled", "used up"])
def test_abandoned_jobs_are_ended_once_by_whoever_looks(
    client: TestClient, database: Database, reopened: Reopen, together: Together, reason: str
) -> None:
    with database.write() as session:
        ids = [queue.enqueue(session, queue.ADAPT, {"task_id": number}) for number in range(5)]
        lost = {"cancel_requested": True} if reason == "cancelled" else {"attempts": queue.MAX_ATTEMPTS}
        expired = utc_now() - timedelta(hours=1)
        session.execute(update(JobRecord).values(state="running", lease_owner="x", lease_expires_at=expired, **lost))
    workers = [reopened(database) for _ in range(4)]

    taken = together(lambda number: claimed(workers[number]), 4)

    assert taken == [None] * 4
    with database.read() as session:
        rows = session.scalars(select(JobRecord).where(JobRecord.id.in_(ids))).all()
    assert {row.state for row in rows} == {"cancelled" if reason == "cancelled" else "failed"}
    assert all(row.lease_owner is None and row.finished_at is not None for row in rows)


def test_two_workers_that_adapted_the_same_task_keep_the_newer_support_set(
    client: TestClient, database: Database, reopened: Reopen, together: Together, post_task: Any, version: str
) -> None:
    task_id = post_task()["id"]
    workers = [reopened(database) for _ in range(4)]

    def save(number: int) -> bool:
        with workers[number].write() as session:
            return records.save_adaptation(session, adaptation(task_id, version, revision=number))

    kept = together(save, 4)

    with database.read() as session:
        assert session.scalars(select(AdaptationRecord.task_revision)).all() == [3]
    assert kept[3]


def test_an_adaptation_is_noticed_though_its_workers_clock_is_slow(
    client: TestClient, database: Database, post_task: Any, version: str
) -> None:
    first, second = post_task("first")["id"], post_task("second")["id"]
    with database.write() as session:
        for task_id in (first, second):
            records.save_adaptation(session, adaptation(task_id, version))
    with database.read() as session:
        before = records.digest(session)

    with database.write() as session:
        slow = adaptation(first, version, seconds=0.6)
        slow.created_at = utc_now() - timedelta(minutes=5)
        records.save_adaptation(session, slow)

    with database.read() as session:
        assert records.digest(session) != before


def test_a_version_that_many_promote_is_promoted_once(
    client: TestClient, database: Database, together: Together, version: str
) -> None:
    body = {"reason": "better"}

    answers = together(lambda _: client.post(f"/v1/model-versions/{version}:promote", json=body), 6)

    assert statuses(answers) == [200] + [409] * 5
    with database.read() as session:
        assert [one.model_version_id for one in session.scalars(select(PromotionRecord))] == [version]


def test_workers_that_see_a_fine_tune_fall_due_queue_one(
    client: TestClient,
    database: Database,
    settings: Settings,
    reopened: Reopen,
    together: Together,
    post_task: Any,
    cells: Cells,
    observe: Any,
) -> None:
    post_task()
    observe("digits", cells[:5], [0.5] * 5)
    workers = [reopened(database) for _ in range(4)]
    due = settings.model_copy(update={"fine_tune_after": 5})

    def look(number: int) -> int | None:
        with workers[number].write() as session:
            started = schedule.start_if_due(session, due)
        with workers[number].write() as session:
            queue.claim(session, f"worker {number}", [queue.FINE_TUNE], LEASE)  # its dedupe key is free again
        return started

    started = together(look, 4)

    assert len([one for one in started if one is not None]) == 1


def test_a_search_space_that_many_declare_is_new_to_one_of_them(client: TestClient, together: Together) -> None:
    definition = {"version": 1, "decisions": [{"name": "width", "type": "ordinal", "values": [1, 2]}]}

    answers = together(lambda _: client.post("/v1/search-spaces", json={"name": "a", "definition": definition}), 6)

    assert statuses(answers) == [200] * 5 + [201]


def test_a_correction_and_a_retraction_at_once_leave_one_of_them(
    client: TestClient, together: Together, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    ids = [one["id"] for one in observe("digits", cells[:3], [0.1, 0.2, 0.3])["observations"]]

    def supersede(number: int) -> Any:
        path = f"{OBSERVATIONS}/{ids[0]}"
        if number % 2:
            return client.post(f"{path}/correction", json={"value": 0.9, "reason": "typing error"})
        return client.post(f"{path}/retraction", json={"reason": "wrong data set"})

    answers = together(supersede, 6)

    assert statuses(answers) == [201] + [409] * 5
    shown = client.get(f"{OBSERVATIONS}?include_superseded=true").json()["items"]
    task = client.get("/v1/tasks/digits").json()
    assert [one["supersedes_id"] for one in shown] == [None, None, None, ids[0]]
    assert task["revision"] == 2
    assert task["num_observations"] == (2 if shown[-1]["status"] == "retracted" else 3)


def test_the_same_architectures_posted_to_many_tasks_in_any_order_are_stored_once(
    client: TestClient, database: Database, together: Together, post_task: Any, cells: Cells
) -> None:
    names = [post_task(f"task-{number}")["name"] for number in range(6)]

    def post(number: int) -> Any:
        ordered = cells if number % 2 else cells[::-1]
        batch = [{"architecture": cell["genotype"], "value": 0.5} for cell in ordered]
        return client.post(f"/v1/tasks/{names[number]}/observations", json={"observations": batch})

    answers = together(post, 6)

    assert statuses(answers) == [201] * 6
    with database.read() as session:
        assert session.scalar(select(func.count(ArchitectureRecord.id))) == len(cells)
        assert set(session.scalars(select(TaskRecord.num_observations))) == {len(cells)}


def test_a_reader_who_asks_for_what_came_after_misses_nothing_that_writers_append(
    client: TestClient, together: Together, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    num_writers, per_writer = 4, 10
    seen: list[int] = []

    def read_on() -> None:
        query = {"after_id": seen[-1]} if seen else {}
        seen.extend(one["id"] for one in client.get(OBSERVATIONS, params=query).json()["items"])

    def act(number: int) -> list[int]:
        if number == num_writers:
            while len(seen) < num_writers * per_writer // 2:
                read_on()
            return []
        return [observe("digits", [cells[n]], [0.5])["observations"][0]["id"] for n in range(per_writer)]

    written = [one for ids in together(act, num_writers + 1) for one in ids]
    read_on()

    assert seen == sorted(written)


def test_no_end_of_a_trial_is_missed_by_the_search_that_waits_for_it(
    client: TestClient, make_worker: MakeWorker, post_task: Any, together: Together
) -> None:
    post_task()
    body = {"objectives": [{"task": "digits"}], "strategy": "random", "mode": "measured", "parallel": 4}
    search_id = client.post("/v1/searches", json={**body, "budget": {"evaluations": 24}}).json()["id"]
    workers = [make_worker(), make_worker()]
    deadline = time.monotonic() + 300.0

    def state() -> str:
        return str(client.get(f"/v1/searches/{search_id}").json()["state"])

    def take_part(number: int) -> None:
        while state() != "done":  # a search that missed an end would wait for minutes
            assert time.monotonic() < deadline
            if number < 2:
                workers[number].run_one([queue.SEARCH])
            else:
                measure_one(client, f"gpu-{number}")

    together(take_part, 6)

    found = client.get(f"/v1/searches/{search_id}/evaluations").json()["items"]
    assert [one["number"] for one in found] == list(range(1, 25))
    assert len({one["architecture_id"] for one in found}) == 24
    assert {one["state"] for one in found} == {"done"}


def measure_one(client: TestClient, name: str) -> None:
    asked = {"worker_id": name, "only_requested": True}
    for trial in client.post("/v1/tasks/digits/trials:suggest", json=asked).json()["trials"]:
        body = {"lease_token": trial["lease_token"], "observations": [{"value": 0.5}]}
        answer = client.post(f"/v1/tasks/digits/trials/{trial['id']}:complete", json=body)
        assert answer.status_code == 200, answer.text
