"""Fine-tuning as a job: what triggers it, what it is given, what becomes of its candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from app import queue
from app.database import Database
from app.fine_tunes import schedule, service
from app.inference import Candidate
from app.inference.training import training_data
from app.tables import JobRecord, ObservationRecord, PromotionRecord, utc_now

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from app.settings import Settings
    from app.worker import Worker

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]
PATH = "/v1/fine-tunes"


def candidate_of(make_champion: Any, parent: str, is_better: bool) -> Candidate:
    made = make_champion(2)
    return Candidate(
        made.version, parent, made.to_bytes(), dict(made.manifest), {"tau": [0.6, 0.7]}, is_better, "the figures say so"
    )


def started(database: Database, settings: Settings, **changes: Any) -> int | None:
    with database.write() as session:
        return schedule.start_if_due(session, settings.model_copy(update=changes))


def test_a_fine_tune_is_queued_and_says_where_to_follow_it(client: TestClient) -> None:
    answer = client.post(PATH, json={"reason": "new device", "settings": {"num_steps": 3}})

    assert answer.status_code == 202
    document = client.get(answer.headers["location"]).json()
    assert (document["state"], document["reason"], document["settings"]) == ("queued", "new device", {"num_steps": 3})
    assert client.get(PATH).json()["items"] == [document]


@pytest.mark.parametrize(
    "wrong", [{"steps_please": 3}, {"num_steps": "many"}, {"num_steps": 1.5}, {"replay": 1}, {"learning_rate": True}]
)
def test_unknown_and_wrong_settings_are_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    answer = client.post(PATH, json={"settings": wrong})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == ["body", "settings", next(iter(wrong))]


def test_an_adaptation_is_no_fine_tune(client: TestClient, database: Database) -> None:
    with database.write() as session:
        job_id = queue.enqueue_adaptation(session, 1)

    assert client.get(f"{PATH}/{job_id}").status_code == 404
    assert client.get(PATH).json()["items"] == []


@pytest.mark.parametrize("is_better", [True, False])
def test_the_candidate_is_promoted_only_if_it_is_better_and_decided_about_once(
    client: TestClient, database: Database, worker: Worker, make_champion: Any, is_better: bool
) -> None:
    champion = client.get("/v1/model-versions").json()["items"][0]["id"]
    candidate = candidate_of(make_champion, champion, is_better)
    fine_tune_id = client.post(PATH, json={}).json()["id"]

    work = {queue.FINE_TUNE: lambda _payload, _progress: lambda session: service.conclude(session, candidate)}
    dataclasses.replace(worker, work=work).run_one([queue.FINE_TUNE])

    document = client.get(f"{PATH}/{fine_tune_id}").json()
    versions = {one["id"]: one["aliases"] for one in client.get("/v1/model-versions").json()["items"]}
    with database.read() as session:
        decisions = session.scalars(
            select(PromotionRecord).where(PromotionRecord.model_version_id == candidate.id)
        ).all()
    assert (document["state"], document["model_version"]) == ("done", candidate.id)
    assert (document["is_promoted"], document["decision"]) == (is_better, "the figures say so")
    assert versions[candidate.id] == (["candidate", "champion"] if is_better else ["candidate"])
    assert [decision.promoted for decision in decisions] == [is_better]


def test_enough_new_observations_start_one_fine_tune(
    database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:9], [0.5] * 9)

    assert started(database, settings, fine_tune_after=10) is None
    observe("digits", cells[9:10], [0.5])
    assert started(database, settings, fine_tune_after=10) is not None
    assert started(database, settings, fine_tune_after=10) is None


def test_only_what_was_observed_since_the_last_one_counts(
    database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:10], [0.5] * 10)
    started(database, settings, fine_tune_after=10)
    with database.write() as session:
        session.execute(
            update(JobRecord).where(JobRecord.kind == queue.FINE_TUNE).values(state="done", dedupe_key=None)
        )

    observe("digits", cells[10:19], [0.5] * 9)
    assert started(database, settings, fine_tune_after=10) is None
    observe("digits", cells[19:20], [0.5])
    assert started(database, settings, fine_tune_after=10) is not None


def test_a_fine_tune_that_was_cancelled_is_not_started_again_by_the_same_observations(
    client: TestClient, database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:10], [0.5] * 10)
    job_id = started(database, settings, fine_tune_after=10)
    client.post(f"/v1/jobs/{job_id}:cancel")

    assert started(database, settings, fine_tune_after=10) is None
    observe("digits", cells[10:20], [0.5] * 10)
    assert started(database, settings, fine_tune_after=10) is not None


def test_shipped_observations_start_no_fine_tune(
    database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    for number, cell in enumerate(cells[:10]):
        observe("digits", [cell], [0.5], client_key=f"shipped:{number}")

    assert started(database, settings, fine_tune_after=5) is None


def test_the_schedule_starts_one_when_its_time_has_come(
    database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:1], [0.5])

    assert started(database, settings, fine_tune_after=0, fine_tune_every_hours=2.0) is None
    with database.write() as session:
        session.execute(update(ObservationRecord).values(created_at=utc_now() - timedelta(hours=3)))
    assert started(database, settings, fine_tune_after=0, fine_tune_every_hours=2.0) is not None


def test_training_data_has_every_task_and_what_was_forecast_before_it_was_observed(
    app: FastAPI,
    client: TestClient,
    database: Database,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    post_task()
    observe("digits", cells[:6], [0.1 * number for number in range(6)])
    run_adaptations()
    asked = [cell["genotype"] for cell in cells[6:9]]
    client.post("/v1/tasks/digits/predictions", json={"architectures": asked})
    app.state.predictions.stop()
    observe("digits", cells[6:8], [0.8, 0.9])  # the third one is never measured
    observe("digits", cells[:1], [0.7])  # measured before: no forecast of it was logged

    tasks, logged = training_data(database)

    (task,) = tasks
    assert len(task.measured) == 8
    assert sorted((case.architecture.hash, case.value) for case in logged) == sorted(
        [(cells[6]["id"], 0.8), (cells[7]["id"], 0.9)]
    )
    assert all(len(case.support) == 6 and case.task_index == 0 for case in logged)


def test_what_was_known_then_has_no_later_corrections(
    app: FastAPI,
    client: TestClient,
    database: Database,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    post_task()
    posted = observe("digits", cells[:4], [0.1, 0.2, 0.3, 0.4])["observations"]
    run_adaptations()
    client.post("/v1/tasks/digits/predictions", json={"architectures": [cells[5]["genotype"]]})
    app.state.predictions.stop()
    body = {"value": 0.9, "reason": "typing error"}
    client.post(f"/v1/tasks/digits/observations/{posted[0]['id']}/correction", json=body)
    observe("digits", cells[5:6], [0.5])

    tasks, (case,) = training_data(database)

    assert sorted(case.support.values) == [0.1, 0.2, 0.3, 0.4]
    assert sorted(tasks[0].measured.values) == [0.2, 0.3, 0.4, 0.5, 0.9]
