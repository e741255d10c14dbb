"""Leases that run out, by a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.database import Database

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

both_engines = pytest.mark.both_engines

Document = dict[str, Any]
Do = Callable[..., Any]

TRIALS = "/v1/tasks/digits/trials"
FINAL = [{"value": 0.9}]


@pytest.fixture
def trial(clock: object, task: object, request_trials: Do, suggest: Do) -> Document:
    """A trial that worker anna has for a minute."""
    request_trials(1)
    (handed_out,) = suggest("anna", lease_seconds=60)
    return handed_out


@both_engines
def test_a_lease_that_ran_out_returns_the_trial_to_the_pool(clock: Any, sweep: Do, shown: Do, trial: Document) -> None:
    clock.move(60.0)
    assert sweep() == 0  # not before

    clock.move(0.001)
    assert sweep() == 1

    document = shown(trial["id"])
    assert (document["state"], document["num_expiries"], document["lease_expires_at"]) == ("expired", 1, None)
    last = document["history"][-1]
    assert (last["from_state"], last["to_state"], last["worker_id"]) == ("leased", "expired", "anna")
    assert last["cause"] == "lease 1 of worker 'anna' ran out"
    assert sweep() == 0


@both_engines
def test_whoever_asks_next_gets_it_without_any_sweep(clock: Any, suggest: Do, shown: Do, trial: Document) -> None:
    clock.move(61.0)

    (taken,) = suggest("bert")

    assert (taken["id"], taken["source"], taken["num_expiries"]) == (trial["id"], "pool", 1)
    changes = [(event["from_state"], event["to_state"]) for event in shown(trial["id"])["history"]]
    assert changes[-2:] == [("leased", "expired"), ("expired", "leased")]


@both_engines
def test_a_heartbeat_keeps_the_lease(clock: Any, report: Do, sweep: Do, trial: Document) -> None:
    for _ in range(5):
        clock.move(50.0)
        assert report("heartbeat", trial).status_code == 200
        assert sweep() == 0


@both_engines
@pytest.mark.parametrize("is_swept", [True, False])
def test_a_late_worker_may_go_on_until_somebody_else_has_the_trial(
    clock: Any, report: Do, sweep: Do, suggest: Do, shown: Do, trial: Document, is_swept: bool
) -> None:
    clock.move(61.0)
    if is_swept:
        sweep()
    assert report("heartbeat", trial).status_code == 200
    assert shown(trial["id"])["state"] == "leased"

    clock.move(61.0)
    suggest("bert")
    answer = report("complete", trial, observations=FINAL)

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/lease-lost")
    assert "to worker 'bert'" in answer.json()["detail"]


@both_engines
def test_a_late_result_counts_while_nobody_else_has_the_trial(
    clock: Any, report: Do, sweep: Do, observed: Do, trial: Document
) -> None:
    clock.move(61.0)
    sweep()

    answer = report("complete", trial, observations=FINAL)

    assert (answer.status_code, answer.json()["state"]) == (200, "completed")
    assert len(observed()) == 1


@both_engines
def test_after_five_expiries_the_trial_has_failed(
    clock: Any, suggest: Do, report: Do, sweep: Do, shown: Do, observed: Do, trial: Document
) -> None:
    for number in range(2, 6):
        clock.move(61.0)
        (trial,) = suggest(f"worker-{number}", lease_seconds=60)
        assert trial["num_expiries"] == number - 1
    clock.move(61.0)

    assert sweep() == 1

    document = shown(trial["id"])
    assert (document["state"], document["num_expiries"]) == ("failed", 5)
    assert document["reason"] == "lease 5 of worker 'worker-5' ran out, as 5 in all have"
    assert [(one["status"], one["reason"]) for one in observed()] == [("failed", document["reason"])]
    assert report("complete", trial, observations=FINAL).status_code == 409


@both_engines
def test_many_replicas_that_notice_count_it_once(clock: Any, sweep: Do, shown: Do, trial: Document) -> None:
    clock.move(61.0)

    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(lambda _: sweep(), range(8)))

    assert sum(counts) == 1
    assert shown(trial["id"])["num_expiries"] == 1


@both_engines
def test_leases_of_all_tasks_are_looked_at(
    client: TestClient, clock: Any, sweep: Do, post_task: Do, space: Any, trial: Document
) -> None:
    post_task("other", search_space="tiny")
    client.post("/v1/tasks/other/trials", json={"architectures": [space[0]["genotype"]]})
    client.post("/v1/tasks/other/trials:suggest", json={"worker_id": "bert", "lease_seconds": 60})
    clock.move(61.0)

    assert sweep() == 2


@both_engines
def test_the_service_sweeps_by_itself(
    client: TestClient, settings: Any, clock: Any, shown: Do, trial: Document
) -> None:
    from threading import Event

    from app.trials.sweeper import TrialSweeper

    clock.move(61.0)
    often = settings.model_copy(update={"trial_sweep_seconds": 0.01})
    sweeper = TrialSweeper(often, client.app.state.database)  # type: ignore[attr-defined]

    sweeper.start()
    while shown(trial["id"])["state"] != "expired":
        Event().wait(0.01)
    sweeper.stop()

    assert shown(trial["id"])["num_expiries"] == 1


def test_a_sweep_of_a_database_without_tables_does_no_harm(tmp_path: Any, settings: Any) -> None:
    from app.trials.sweeper import TrialSweeper

    empty = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    sweeper = TrialSweeper(settings.model_copy(update={"trial_sweep_seconds": 0.001}), empty)

    sweeper.start()
    sweeper.stop()

    empty.close()


@both_engines
def test_the_clock_is_aware_and_in_utc(database: Database) -> None:
    from app import clock

    with database.read() as session:
        moment = clock.now(session)

    assert moment.tzinfo is UTC
    assert abs(moment - datetime.now(UTC)) < timedelta(hours=1)
