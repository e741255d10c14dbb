"""/metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from app import queue, tallies
from app.database import Database
from app.metrics.accuracy import AccuracyWatch, of_pairs
from app.metrics.collector import SharedCollector
from app.metrics.repository import watched_tasks
from app.settings import Settings
from app.tables import JobRecord, ObservationRecord, PredictionRecord, utc_now
from app.track_records.repository import Pair

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Labels = tuple[tuple[str, str], ...]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Every scrape looks anew."""
    return settings.model_copy(update={"metrics_cache_seconds": 0.0, "metrics_max_tasks": 2})


def scraped(client: TestClient) -> dict[tuple[str, Labels], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def value(client: TestClient, name: str, **labels: str) -> float | None:
    return scraped(client).get((name, tuple(sorted(labels.items()))))


def routes(client: TestClient) -> set[str]:
    return {
        dict(labels)["route"] for name, labels in scraped(client) if name.endswith("request_duration_seconds_count")
    }


def pair(value: float, mean: float, half: float) -> Pair:
    return Pair(1, "v1", value, mean, half, mean - half, mean + half)


def forecast_and_observe(database: Database, task_id: int, values: list[float]) -> None:
    """Logged forecasts that rank every architecture rightly; only the first value lies outside of its interval."""
    with database.write() as session:
        from app.tables import AliasRecord, ArchitectureRecord

        version = session.get_one(AliasRecord, "champion").model_version_id
        long_ago = utc_now() - timedelta(hours=1)
        for number, measured in enumerate(values):
            own = f"{task_id}-{number}"
            session.execute(insert(ArchitectureRecord).values(id=own, hash_algorithm="x", graph={}))
            session.execute(
                insert(PredictionRecord).values(
                    task_id=task_id,
                    architecture_id=own,
                    model_version_id=version,
                    num_observations=0,
                    mean=measured + 0.001,
                    std=0.1,
                    lower=measured - (0.1 if number else -0.0005),
                    upper=measured + 0.1,
                    last_observation_id=0,
                    created_at=long_ago,
                )
            )
            session.execute(
                insert(ObservationRecord).values(task_id=task_id, architecture_id=own, status="ok", value=measured)
            )
        from app.tables import TaskRecord

        session.get_one(TaskRecord, task_id).num_observations = len(values)


def test_requests_are_counted_by_template_and_class_of_status(
    client: TestClient, post_task: Callable[..., dict[str, Any]]
) -> None:
    post_task("one")
    for name in ("one", "nobody", "nothing"):
        client.get(f"/v1/tasks/{name}")

    found = [
        value(client, "archcast_request_duration_seconds_count", method="GET", route="/v1/tasks/{task}", status=status)
        for status in ("2xx", "4xx")
    ]

    assert found == [1.0, 2.0]


def test_addresses_that_nobody_has_make_no_series_of_their_own(client: TestClient) -> None:
    before = len(scraped(client))
    for number in range(20):
        client.get(f"/nothing/{number}")
        client.request(f"ODD{number}", f"/nothing/{number}")
    client.delete("/healthz")

    assert routes(client) == {"/metrics", "unmatched", "/healthz"}
    assert len(scraped(client)) - before < 60


def test_a_scrape_is_the_only_request_in_flight(client: TestClient) -> None:
    client.get("/healthz")

    assert value(client, "archcast_requests_in_flight") == 1.0


def test_the_queue_says_its_depth_and_how_long_the_oldest_waits(client: TestClient, database: Database) -> None:
    with database.write() as session:
        old = utc_now() - timedelta(seconds=100)
        session.add(JobRecord(kind="adapt", created_at=old))
        session.add(JobRecord(kind="adapt"))
        session.add(JobRecord(kind="fine_tune", state="running", created_at=old))
        session.add(JobRecord(kind="adapt", state="done", created_at=old))

    assert value(client, "archcast_jobs", scope="shared", kind="adapt", state="queued") == 2.0
    assert value(client, "archcast_jobs", scope="shared", kind="fine_tune", state="running") == 1.0
    assert 100.0 <= (value(client, "archcast_oldest_waiting_job_seconds", scope="shared", kind="adapt") or 0.0) < 200.0
    assert value(client, "archcast_oldest_waiting_job_seconds", scope="shared", kind="fine_tune") is None


def test_durations_of_jobs_come_from_whichever_process_ran_them(
    client: TestClient, database: Database, reopened: Callable[[Database], Database]
) -> None:
    with reopened(database).write() as session:
        for seconds in (0.2, 0.3, 40_000.0):
            now = utc_now()
            began = now - timedelta(seconds=seconds)
            tallies.add_job(session, JobRecord(kind="adapt", state="done", started_at=began, finished_at=now))
    labels = {"scope": "shared", "kind": "adapt", "state": "done"}

    name = "archcast_job_duration_seconds"
    buckets = [value(client, f"{name}_bucket", **labels, le=end) for end in ("0.1", "0.25", "0.5", "14400.0", "+Inf")]
    assert buckets == [0.0, 1.0, 2.0, 2.0, 3.0]
    assert value(client, f"{name}_count", **labels) == 3.0
    assert value(client, f"{name}_sum", **labels) == pytest.approx(40_000.5)


def test_a_job_that_ends_is_counted_once(client: TestClient, database: Database) -> None:
    with database.write() as session:
        queue.enqueue(session, queue.ADAPT, {"task_id": 1})
        job = queue.claim(session, "me", [queue.ADAPT], 60.0)
        assert job is not None
        assert queue.finish(session, job, {})
        assert not queue.finish(session, job, {})

    labels = {"scope": "shared", "kind": "adapt", "state": "done"}
    assert value(client, "archcast_job_duration_seconds_count", **labels) == 1.0


def test_leases_that_ran_out_are_counted(
    client: TestClient,
    app: Any,
    database: Database,
    post_task: Callable[..., dict[str, Any]],
    cells: list[dict[str, str]],
) -> None:
    from sqlalchemy import update

    from app.tables import TrialRecord

    post_task()
    client.post("/v1/tasks/digits/trials", json={"architectures": [cells[0]["genotype"]]})
    client.post("/v1/tasks/digits/trials:suggest", json={"worker_id": "w", "count": 1, "lease_seconds": 60.0})
    with database.write() as session:
        session.execute(update(TrialRecord).values(lease_expires_at=utc_now() - timedelta(hours=1)))

    app.state.sweeper.sweep()

    assert value(client, "archcast_trial_lease_expiries_total", scope="shared") == 1.0
    assert value(client, "archcast_trials_open", scope="shared", state="expired") == 1.0


def test_forecasts_are_judged_by_the_values_that_came_later(
    client: TestClient, database: Database, post_task: Callable[..., dict[str, Any]]
) -> None:
    task = post_task("judged")
    forecast_and_observe(database, task["id"], [0.1, 0.2, 0.3, 0.4])

    names = ("task_kendall_tau", "task_interval_coverage", "task_pairs", "task_observations")
    found = [value(client, f"archcast_{name}", scope="shared", task="judged") for name in names]

    assert found == [1.0, 0.75, 4.0, 4.0]


def test_only_so_many_tasks_have_series_of_their_own(
    client: TestClient, database: Database, post_task: Callable[..., dict[str, Any]]
) -> None:
    for number in range(4):
        forecast_and_observe(database, post_task(f"task-{number}")["id"], [0.5, 0.6])
    post_task("never-forecast")

    told = {dict(labels)["task"] for name, labels in scraped(client) if name == "archcast_task_pairs"}

    assert told == {"task-2", "task-3"}
    assert value(client, "archcast_tasks", scope="shared") == 5.0


def test_the_champion_and_the_build_are_told(client: TestClient) -> None:
    found = {name: dict(labels) for (name, labels), _ in scraped(client).items() if name.endswith("_info")}

    assert found["archcast_model_version_info"]["alias"] == "champion"
    assert set(found["archcast_build_info"]) == {"version", "python", "torch"}


def test_a_scrape_without_a_database_says_so_instead_of_failing(
    client: TestClient, app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_database: Database) -> bool:
        raise OSError("no route to host")

    monkeypatch.setattr("app.migration.is_current", away)

    assert value(client, "archcast_database_up") == 0.0


def test_what_was_read_is_kept_for_a_while(settings: Settings, database: Database) -> None:
    now = [0.0]
    collector = SharedCollector(settings.model_copy(update={"metrics_cache_seconds": 5.0}), database, lambda: now[0])

    def queued() -> int:
        return sum(
            int(sample.value)
            for family in collector.collect()
            if family.name == "archcast_jobs"
            for sample in family.samples
        )

    before = queued()
    with database.write() as session:
        session.add(JobRecord(kind="adapt"))
    meanwhile = queued()
    now[0] = 5.0

    assert (before, meanwhile, queued()) == (0, 0, 1)


def test_a_task_is_looked_at_again_only_after_a_while(
    client: TestClient, database: Database, post_task: Callable[..., dict[str, Any]]
) -> None:
    now = [100.0]
    watch = AccuracyWatch(lambda: now[0])
    task_id = post_task()["id"]
    forecast_and_observe(database, task_id, [0.1, 0.2])

    def num_pairs() -> int:
        with database.read() as session:
            return watch.look(session, watched_tasks(session, 10))[task_id].num_pairs

    before = num_pairs()
    with database.write() as session:
        session.query(PredictionRecord).delete()
        session.execute(
            insert(PredictionRecord).values(
                task_id=task_id,
                architecture_id=f"{task_id}-0",
                model_version_id=client.get("/readyz").json()["model_version"],
                num_observations=0,
                mean=0.1,
                std=0.1,
                lower=0.0,
                upper=1.0,
                last_observation_id=0,
                created_at=utc_now() - timedelta(hours=1),
            )
        )
    meanwhile = num_pairs()
    now[0] += 31.0

    assert (before, meanwhile, num_pairs()) == (2, 2, 1)


def test_pairs_that_are_all_alike_have_no_rank_correlation() -> None:
    found = of_pairs([pair(0.5, 0.5, 0.1), pair(0.5, 0.7, 0.1)])

    assert found is not None
    assert (found.num_pairs, found.coverage, found.kendall_tau) == (2, 0.5, None)
    assert of_pairs([]) is None
