"""How forecasts have held against the values that came later, and what follows when they do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import select, update

from app import queue
from app.database import Database
from app.fine_tunes import schedule
from app.tables import DriftRecord, JobRecord, ObservationRecord, PredictionRecord, utc_now
from app.track_records import drift
from app.track_records.repository import Pair

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings

Cells = list[dict[str, str]]
Together = Callable[[Callable[[int], Any], int], list[Any]]


def pair(is_covered: bool) -> Pair:
    return Pair(1, "version", 0.5 if is_covered else 5.0, 0.5, 0.1, 0.0, 1.0)


def misses(*are_missed: bool) -> list[Pair]:
    return [pair(not missed) for missed in are_missed]


def test_forecasts_that_hold_what_they_promise_raise_no_alarm() -> None:
    course = drift.course(0.0, 0, misses(*([False] * 9 + [True]) * 100))

    assert course.num_alarms == 0
    assert course.statistic < drift.THRESHOLD


def test_the_statistic_is_the_log_likelihood_ratio_of_the_two_miss_rates() -> None:
    assert drift.course(0.0, 0, misses(True, True, False)).statistic == pytest.approx(
        2 * math.log(0.3 / 0.1) + math.log(0.7 / 0.9)
    )
    assert drift.course(0.0, 0, misses(False, False)).statistic == 0.0


def test_too_few_pairs_raise_no_alarm_and_then_the_test_begins_again() -> None:
    nineteen = drift.course(0.0, 0, misses(*[True] * 19))
    twentieth = drift.course(nineteen.statistic, 19, misses(True))

    assert (nineteen.num_alarms, twentieth.num_alarms, twentieth.statistic) == (0, 1, 0.0)


def test_going_on_in_pieces_is_the_same_as_in_one_piece() -> None:
    drawn = misses(*(np.random.default_rng(0).random(300) < 0.3))
    statistic, num_alarms = 0.0, 0
    for start in range(0, 300, 7):
        course = drift.course(statistic, start, drawn[start : start + 7])
        statistic, num_alarms = course.statistic, num_alarms + course.num_alarms

    whole = drift.course(0.0, 0, drawn)
    assert (statistic, num_alarms) == (pytest.approx(whole.statistic), whole.num_alarms)
    assert num_alarms > 0


@pytest.mark.parametrize(("rate", "least", "most"), [(0.1, 2_500, 10_000), (0.3, 25, 50), (0.5, 9, 25)])
def test_alarms_come_about_as_seldom_and_as_soon_as_is_said(rate: float, least: float, most: float) -> None:
    """Mean number of pairs between alarms over 200,000 draws; the limits are several standard errors wide."""
    drawn = misses(*(np.random.default_rng(1).random(200_000) < rate))

    between = 200_000 / drift.course(0.0, 1_000, drawn).num_alarms

    assert least < between < most


both_engines = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]


@pytest.fixture
def log(database: Database, client: TestClient, post_task: Any) -> Callable[..., None]:
    """Logs forecasts of cells for a task `digits`, as a service that answered them an hour ago did."""
    post_task()
    version = client.get("/v1/model-versions").json()["items"][0]["id"]

    def write(cells: Cells, mean: float = 0.5, known: int = 0, **changes: Any) -> None:
        row = {
            "task_id": 1, "model_version_id": version, "num_observations": 0, "mean": mean, "std": 0.1,
            "lower": mean - 0.2, "upper": mean + 0.2, "last_observation_id": known,
            "created_at": utc_now() - timedelta(hours=1), **changes,
        }  # fmt: skip
        with database.write() as session:
            session.add_all(PredictionRecord(architecture_id=cell["id"], **row) for cell in cells)

    return write


def let_settle(database: Database) -> None:
    with database.write() as session:
        session.execute(update(ObservationRecord).values(created_at=utc_now() - timedelta(minutes=1)))


def record_of(client: TestClient) -> list[dict[str, Any]]:
    versions: list[dict[str, Any]] = client.get("/v1/tasks/digits/track-record").json()["versions"]
    return versions


class TestRecord:
    pytestmark = both_engines

    def test_it_counts_what_was_forecast_before_it_was_observed(
        self, client: TestClient, cells: Cells, observe: Any, log: Any
    ) -> None:
        for number, cell in enumerate(cells[:4]):
            log([cell], mean=0.1 * number)
        observe("digits", cells[:5], [0.0, 0.15, 0.1, 0.9, 0.5])

        (record,) = record_of(client)

        assert (record["num_pairs"], record["coverage"]) == (4, 0.75)
        assert record["kendall_tau"] == pytest.approx(2 / 3)
        assert record["mean_absolute_error"] == pytest.approx((0.0 + 0.05 + 0.1 + 0.6) / 4)
        errors = np.array([0.0, 0.5, 1.0, 6.0])
        assert record["nll"] == pytest.approx(
            float(np.mean(0.5 * errors**2)) + math.log(0.1) + 0.5 * math.log(2 * math.pi)
        )

    def test_the_last_forecast_that_did_not_know_the_value_counts(
        self, client: TestClient, cells: Cells, observe: Any, log: Any
    ) -> None:
        log(cells[:1], mean=0.9)
        log(cells[:1], mean=0.4)
        observe("digits", cells[:1], [0.4])
        log(cells[:1], mean=0.1, known=1)

        (record,) = record_of(client)

        assert (record["num_pairs"], record["mean_absolute_error"]) == (1, pytest.approx(0.0))

    def test_an_architecture_counts_once_with_its_first_final_value(
        self, client: TestClient, cells: Cells, observe: Any, log: Any
    ) -> None:
        log(cells[:1], mean=0.5)
        observe("digits", cells[:1], [0.1], fidelity=5)
        observe("digits", cells[:1], [0.6], fidelity=20)
        log(cells[:1], mean=0.9)
        observe("digits", cells[:1], [0.7], fidelity=20)

        (record,) = record_of(client)

        assert record["num_pairs"] == 1

    def test_what_was_corrected_or_retracted_does_not_count(
        self, client: TestClient, cells: Cells, observe: Any, log: Any
    ) -> None:
        log(cells[:3])
        ids = [one["id"] for one in observe("digits", cells[:3], [0.5, 0.6, 0.7])["observations"]]
        path = "/v1/tasks/digits/observations"
        client.post(f"{path}/{ids[0]}/correction", json={"value": 0.9, "reason": "typing error"})
        client.post(f"{path}/{ids[1]}/retraction", json={"reason": "wrong"})

        assert [one["num_pairs"] for one in record_of(client)] == [1]

    def test_every_version_has_its_own(
        self, client: TestClient, database: Database, cells: Cells, observe: Any, log: Any, make_champion: Any
    ) -> None:
        from app.model_versions import service

        other = make_champion(2)
        with database.write() as session:
            service.add(session, other.version, None, "uploaded", dict(other.manifest), other.to_bytes())
        log(cells[:2])
        log(cells[1:2], model_version_id=other.version)
        observe("digits", cells[:2], [0.5, 0.5])

        found = {one["model_version"]: one["num_pairs"] for one in record_of(client)}
        assert found.pop(other.version) == 1
        assert list(found.values()) == [2]

    def test_without_pairs_there_is_none(self, client: TestClient, post_task: Any) -> None:
        post_task()

        assert record_of(client) == []
        assert client.get("/v1/tasks/none/track-record").status_code == 404
        assert client.get("/v1/tasks/none/drift").status_code == 404


def fine_tunes(database: Database) -> list[JobRecord]:
    with database.read() as session:
        return list(session.scalars(select(JobRecord).where(JobRecord.kind == queue.FINE_TUNE)))


class TestDrift:
    pytestmark = both_engines

    def test_values_outside_their_intervals_start_one_fine_tune_however_many_workers_look(
        self,
        client: TestClient,
        database: Database,
        settings: Settings,
        reopened: Any,
        cells: Cells,
        observe: Any,
        log: Any,
    ) -> None:
        from concurrent.futures import ThreadPoolExecutor

        log(cells[:22])
        observe("digits", cells[:22], [5.0] * 22)
        let_settle(database)
        workers = [reopened(database) for _ in range(4)]

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda one: schedule.look(settings, one), workers))
        schedule.look(settings, database)

        (job,) = fine_tunes(database)
        (shown,) = client.get("/v1/tasks/digits/drift").json()["versions"]
        assert job.payload["reason"] == "forecasts of task 'digits' no longer hold what they promise"
        assert (shown["num_pairs"], shown["miss_rate"], shown["num_alarms"]) == (22, 1.0, 1)
        assert shown["alarmed_at"] is not None

    def test_values_inside_start_none_and_are_counted_once(
        self, client: TestClient, database: Database, settings: Settings, cells: Cells, observe: Any, log: Any
    ) -> None:
        log(cells)
        for start in (0, 20):
            observe("digits", cells[start : start + 20], [0.5] * 20)
            let_settle(database)
            for _ in range(2):
                schedule.look(settings, database)

        (shown,) = client.get("/v1/tasks/digits/drift").json()["versions"]
        assert (shown["num_pairs"], shown["miss_rate"], shown["statistic"]) == (40, 0.0, 0.0)
        assert fine_tunes(database) == []

    def test_what_was_posted_just_now_waits_for_forecasts_that_are_still_being_written(
        self, client: TestClient, database: Database, settings: Settings, cells: Cells, observe: Any, log: Any
    ) -> None:
        observe("digits", cells[:5], [0.5] * 5)
        schedule.look(settings, database)
        log(cells[:5])
        with database.write() as session:
            session.execute(update(PredictionRecord).values(created_at=utc_now() - timedelta(hours=1)))
        let_settle(database)
        schedule.look(settings, database)

        (shown,) = client.get("/v1/tasks/digits/drift").json()["versions"]
        assert shown["num_pairs"] == 5

    @pytest.mark.parametrize("reason", ["off", "pinned", "under way"])
    def test_an_alarm_is_shown_though_no_fine_tune_follows(
        self,
        client: TestClient,
        database: Database,
        settings: Settings,
        cells: Cells,
        observe: Any,
        log: Any,
        reason: str,
    ) -> None:
        log(cells[:22])
        observe("digits", cells[:22], [5.0] * 22)
        let_settle(database)
        if reason == "off":
            settings = settings.model_copy(update={"fine_tune_on_drift": False})
        elif reason == "pinned":
            version = client.get("/v1/model-versions").json()["items"][0]["id"]
            client.post("/v1/tasks/digits:pin", json={"model_version": version, "reason": "it stays"})
        else:
            client.post("/v1/fine-tunes", json={})

        schedule.look(settings, database)

        with database.read() as session:
            assert [one.num_alarms for one in session.scalars(select(DriftRecord))] == [1]
        assert len(fine_tunes(database)) == (1 if reason == "under way" else 0)


class TestCron:
    pytestmark = both_engines

    def look(self, database: Database, settings: Settings, expression: str = "* * * * *") -> int | None:
        changed = settings.model_copy(update={"fine_tune_after": 0, "fine_tune_cron": expression})
        with database.write() as session:
            return schedule.start_if_due(session, changed)

    def let_time_pass(self, database: Database, **ago: float) -> None:
        from app.tables import ScheduleRecord

        with database.write() as session:
            session.execute(update(ScheduleRecord).values(acted_at=utc_now() - timedelta(**ago)))

    def test_the_first_look_only_begins_to_watch(
        self, client: TestClient, database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
    ) -> None:
        post_task()
        observe("digits", cells[:1], [0.5])

        assert self.look(database, settings) is None

    def test_a_moment_that_has_come_starts_one_fine_tune(
        self, client: TestClient, database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
    ) -> None:
        post_task()
        observe("digits", cells[:2], [0.5, 0.6])
        self.look(database, settings, "0 3 * * *")
        self.let_time_pass(database, days=5)

        started = [self.look(database, settings, "0 3 * * *") for _ in range(3)]

        assert [one is not None for one in started] == [True, False, False]
        (job,) = fine_tunes(database)
        assert job.payload["reason"].endswith("03:00 UTC, and 2 new observations")

    def test_a_moment_at_which_nothing_new_was_observed_passes(
        self, client: TestClient, database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
    ) -> None:
        post_task()
        self.look(database, settings, "0 3 * * *")
        self.let_time_pass(database, days=5)

        assert self.look(database, settings, "0 3 * * *") is None
        observe("digits", cells[:1], [0.5])
        assert self.look(database, settings, "0 3 * * *") is None

    def test_another_expression_is_watched_from_now_on(
        self, client: TestClient, database: Database, settings: Settings, post_task: Any, cells: Cells, observe: Any
    ) -> None:
        post_task()
        observe("digits", cells[:1], [0.5])
        self.look(database, settings, "0 3 * * *")
        self.let_time_pass(database, days=5)

        assert self.look(database, settings, "0 4 * * *") is None
