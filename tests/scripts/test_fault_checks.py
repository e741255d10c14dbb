"""The rules of the fault test see what is broken: each is shown a database in which it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from app.tables import AliasRecord, ObservationRecord, TaskRecord, TrialEventRecord, TrialRecord

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database

pytestmark = pytest.mark.usefixtures("champion")

Broken = Callable[[], dict[str, list[str]]]
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts' own modules, which are in no package."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for name in ("fault_checks", "fault_clients"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import fault_checks

    return fault_checks


@pytest.fixture
def ledger(scripts: Any) -> Any:
    from fault_clients import Ledger

    return Ledger()


@pytest.fixture
def broken(client: TestClient, database: Database, post_task: Any, cells: Any, scripts: Any, ledger: Any) -> Broken:
    """A task with one observation and one completed trial, both acknowledged; answers which rules are broken."""
    task_id = post_task()["id"]
    ledger.sent = {0.25: "observation", 0.5: "trial"}
    ledger.acknowledged = {0.25: 1, 0.5: 1}
    path = "/v1/tasks/digits"
    client.post(f"{path}/observations", json={"architecture": cells[0]["genotype"], "value": 0.25})
    (trial,) = client.post(f"{path}/trials:suggest", json={"worker_id": "anna"}).json()["trials"]
    body = {"lease_token": trial["lease_token"], "observations": [{"value": 0.5}]}
    assert client.post(f"{path}/trials/{trial['id']}:complete", json=body).status_code == 200
    ledger.given, ledger.completed = [(trial["id"], "")], {trial["id"]: [0.5]}

    def look() -> dict[str, list[str]]:
        with database.read() as session:
            checks = scripts.checked(session, task_id, ledger)
        return {check.rule: check.broken for check in checks if check.broken and not check.rule.startswith("every job")}

    return look


def test_nothing_is_broken_where_all_is_well(broken: Broken) -> None:
    assert broken() == {}


def test_a_lost_observation_is_seen(broken: Broken, ledger: Any) -> None:
    ledger.sent[0.75], ledger.acknowledged[0.75] = "observation", 1

    assert broken() == {"what was acknowledged is there exactly once": ["0.75 is there 0 times"]}


def test_an_observation_that_is_there_twice_is_seen(broken: Broken, client: TestClient, cells: Any) -> None:
    client.post("/v1/tasks/digits/observations", json={"architecture": cells[1]["genotype"], "value": 0.25})

    assert set(broken()) == {
        "what was acknowledged is there exactly once",
        "nothing is there twice, or that nobody sent",
    }


def test_an_observation_that_nobody_sent_is_seen(broken: Broken, client: TestClient, cells: Any) -> None:
    client.post("/v1/tasks/digits/observations", json={"architecture": cells[1]["genotype"], "value": 0.875})

    assert set(broken()) == {"nothing is there twice, or that nobody sent"}


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (update(TaskRecord).values(num_observations=7), "the task counts its observations rightly"),
        (
            update(TrialRecord).values(state="leased", observation_ids=[]),
            "acknowledged trials are completed, once, with what was reported",
        ),
        (update(TrialRecord).values(state="leased"), "no trial is lost or out twice"),
        (
            update(TrialEventRecord).where(TrialEventRecord.to_state == "leased").values(from_state="failed"),
            "every trial's history is a chain of legal changes that ends in its state",
        ),
        (
            update(TrialEventRecord)
            .where(TrialEventRecord.to_state == "completed")
            .values(created_at=datetime(2026, 1, 1, tzinfo=UTC)),
            "what happened to a trial is stamped in the order in which it happened",
        ),
        (update(ObservationRecord).values(superseded_by_id=1), "corrections lead to each other"),
        (update(AliasRecord).values(name="former"), "one champion, and promotions that follow each other"),
    ],
)
def test_what_was_changed_behind_the_services_back_is_seen(
    broken: Broken, database: Database, statement: Any, rule: str
) -> None:
    with database.write() as session:
        session.execute(statement)

    assert rule in broken()
