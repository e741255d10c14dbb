"""Fine-tunes whose workers die, or are thought dead: what was done is gone on from, and decided about once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from app import queue
from app.database import Database
from app.fine_tunes import service as fine_tunes
from app.inference import Candidate, FineTuneRequest, Versions, fine_tune
from app.jobs.progress import Conclusion, Progress
from app.model_versions import service as model_versions
from app.tables import JobCheckpointRecord, JobRecord, ModelVersionRecord, PromotionRecord, utc_now
from app.worker import Worker

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]
Eventually = Callable[..., None]
MakeWorker = Callable[[], Worker]
TRAINING = {"num_steps": 24, "tasks_per_batch": 2, "replay": False, "device": "cpu", "checkpoint_every": 2}


@pytest.fixture
def started(
    client: TestClient, database: Database, make_champion: Any, post_task: Any, cells: Cells, observe: Any
) -> int:
    """A queued fine-tune of a small champion that was made here; its id."""
    made = make_champion(2)
    with database.write() as session:
        model_versions.add(session, made.version, None, "fine_tune", dict(made.manifest), made.to_bytes())
        model_versions.promote(session, made.version, "small")
    post_task()
    observe("digits", cells, [0.01 * number for number in range(len(cells))])
    fine_tune_id: int = client.post("/v1/fine-tunes", json={"settings": TRAINING}).json()["id"]
    return fine_tune_id


def let_lease_run_out(database: Database) -> None:
    with database.write() as session:
        session.execute(update(JobRecord).values(lease_expires_at=utc_now() - timedelta(seconds=1)))


def decisions(database: Database, job_id: int) -> list[PromotionRecord]:
    with database.read() as session:
        return list(session.scalars(select(PromotionRecord).where(PromotionRecord.job_id == job_id)))


def test_another_worker_finishes_what_a_killed_one_began_as_if_nothing_had_happened(
    client: TestClient,
    database: Database,
    settings: Settings,
    make_worker: MakeWorker,
    eventually: Eventually,
    started: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    import numpy as np

    from predictor.checkpoint import from_bytes

    monkeypatch.setattr("predictor.fine_tuning.verdict", lambda comparisons: (True, "promoted: for the test"))
    killed = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "worker", "--kinds", "fine_tune", "--once"],
        env={**os.environ, **settings.as_environment(), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    request.addfinalizer(lambda: (killed.kill(), killed.wait()))

    def step() -> int:
        with database.read() as session:
            saved = session.get(JobCheckpointRecord, started)
        assert killed.poll() is None, "expected the worker to be training, got one that has ended"
        return 0 if saved is None else int(saved.details["step"])

    eventually(lambda: step() > 0, 300.0)
    killed.kill()
    killed.wait()
    left_off = step_of(database, started)
    assert client.get(f"/v1/jobs/{started}").json()["state"] == "running"
    let_lease_run_out(database)
    assert make_worker().run_one([queue.FINE_TUNE])

    document = client.get(f"/v1/fine-tunes/{started}").json()
    (decision,) = decisions(database, started)
    assert (document["state"], document["is_promoted"], decision.promoted) == ("done", True, True)
    assert f"going on from step {left_off}" in document["log_tail"]
    with database.read() as session:
        payload = session.get_one(JobRecord, started).payload
        model_version = session.get_one(ModelVersionRecord, document["model_version"])
        parent, found = model_version.parent_id, from_bytes(model_version.weights)
        assert session.get(JobCheckpointRecord, started) is None
    with database.write() as session:
        model_versions.promote(session, str(parent), "to do the same again")
    asked = FineTuneRequest(payload["settings"], payload["last_observation_id"])
    whole = fine_tune(database, Versions(database), asked, lambda _percent, _stage: None, lambda: False)
    for name, value in from_bytes(whole.weights).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6)


def step_of(database: Database, job_id: int) -> int:
    with database.read() as session:
        return int(session.get_one(JobCheckpointRecord, job_id).details["step"])


def candidate(make_champion: Any, seed: int, parent: str) -> Candidate:
    made = make_champion(seed)
    return Candidate(made.version, parent, made.to_bytes(), dict(made.manifest), {}, True, "better")


def test_a_worker_that_was_thought_dead_but_was_not_promotes_nothing(
    database: Database, make_worker: MakeWorker, make_champion: Any, started: int
) -> None:
    parent = Versions(database).champion().version
    is_running, may_go_on = threading.Event(), threading.Event()
    saves: list[bool] = []

    def slow(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        is_running.set()
        may_go_on.wait(60.0)
        saves.append(progress.store.save({"step": 1}))
        return lambda session: fine_tunes.conclude(session, candidate(make_champion, 3, parent), progress.job_id)

    def quick(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        return lambda session: fine_tunes.conclude(session, candidate(make_champion, 4, parent), progress.job_id)

    thought_dead, other = (dataclasses.replace(make_worker(), work={queue.FINE_TUNE: work}) for work in (slow, quick))
    frozen = dataclasses.replace(  # it does not even beat
        thought_dead, settings=thought_dead.settings.model_copy(update={"lease_seconds": 3_600.0})
    )
    thread = threading.Thread(target=frozen.run_one, args=([queue.FINE_TUNE],))
    thread.start()
    is_running.wait(60.0)
    let_lease_run_out(database)
    while not other.run_one([queue.FINE_TUNE]):  # the other one may have beaten meanwhile
        let_lease_run_out(database)
    may_go_on.set()
    thread.join(60.0)

    (decision,) = decisions(database, started)
    assert decision.model_version_id == make_champion(4).version
    assert saves == [False]
    assert Versions(database).champion().version == make_champion(4).version


def test_the_database_itself_lets_a_job_decide_once(database: Database, make_champion: Any, started: int) -> None:
    parent = Versions(database).champion().version
    with database.write() as session:
        fine_tunes.conclude(session, candidate(make_champion, 3, parent), started)

    with pytest.raises(IntegrityError), database.write() as session:
        fine_tunes.conclude(session, candidate(make_champion, 4, parent), started)

    assert [one.model_version_id for one in decisions(database, started)] == [make_champion(3).version]


def test_a_candidate_is_not_promoted_over_a_champion_that_it_was_never_compared_with(
    database: Database, make_champion: Any, started: int
) -> None:
    parent = Versions(database).champion().version
    with database.write() as session:
        fine_tunes.conclude(session, candidate(make_champion, 3, parent), None)

    with database.write() as session:
        late = fine_tunes.conclude(session, candidate(make_champion, 4, parent), started)

    assert not late["is_promoted"]
    assert f"became champion while it was compared with {parent}" in late["decision"]
    assert Versions(database).champion().version == make_champion(3).version


def test_a_cancelled_fine_tune_leaves_nothing_behind(
    client: TestClient, database: Database, make_worker: MakeWorker, started: int
) -> None:
    worker = make_worker()
    impatient = dataclasses.replace(worker, settings=worker.settings.model_copy(update={"lease_seconds": 0.6}))
    real = impatient.work[queue.FINE_TUNE]

    def cancelled_half_way(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        saved = progress.store.save

        def save(*arguments: Any, **named: Any) -> bool:
            client.post(f"/v1/jobs/{started}:cancel")
            return saved(*arguments, **named)

        progress.store.save = save  # type: ignore[method-assign]
        return real(payload, progress)

    dataclasses.replace(impatient, work={queue.FINE_TUNE: cancelled_half_way}).run_one([queue.FINE_TUNE])

    with database.read() as session:
        assert session.get(JobCheckpointRecord, started) is None
        assert len(session.scalars(select(ModelVersionRecord.id)).all()) == 2
    assert client.get(f"/v1/jobs/{started}").json()["state"] == "cancelled"
    assert decisions(database, started) == []
