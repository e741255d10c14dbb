"""Which tasks are asked what they say of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from app.inference import records
from app.tables import AdaptationRecord, ModelVersionRecord, TaskRecord
from predictor import MAX_RELATED, MIN_OBSERVATIONS

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]


@pytest.fixture
def siblings_of(database: Database) -> Any:
    """Names of a task's observed siblings, in order."""

    def names(task: str) -> list[str]:
        with database.read() as session:
            found = records.observed_siblings(session, records.task_context(session, task))
            return [records.task_context(session, str(task_id)).name for task_id, _ in found]

    return names


@pytest.fixture
def observed(post_task: Any, observe: Any, cells: Cells) -> Any:
    """Creates a task with that many observations."""

    def create(name: str, count: int, **changes: Any) -> None:
        post_task(name, dataset=name, **changes)
        observe(name, cells[:count], [0.01 * number for number in range(count)])

    return create


def test_siblings_have_enough_observations_and_those_with_most_come_first(
    post_task: Any, observed: Any, siblings_of: Any
) -> None:
    post_task("asking")
    for name, more in (("few", -1), ("enough", 0), ("most", 5), ("many", 3), ("as-many", 3)):
        observed(name, MIN_OBSERVATIONS + more)

    assert siblings_of("asking") == ["most", "many", "as-many", "enough"]
    assert siblings_of("most") == ["many", "as-many", "enough"]


def test_tasks_of_other_search_spaces_are_no_siblings(
    client: TestClient, post_task: Any, observed: Any, siblings_of: Any
) -> None:
    post_task("asking")
    post_task("graphs", search_space="graph")
    observations = [
        {"architecture": {"nodes": [{"kind": "input"}, {"kind": f"mine_{number}"}], "edges": [[0, 1]]}, "value": number}
        for number in range(MIN_OBSERVATIONS)
    ]
    answer = client.post("/v1/tasks/graphs/observations", json={"observations": observations})
    assert answer.status_code == 201, answer.text
    observed("cells", MIN_OBSERVATIONS)

    assert siblings_of("asking") == ["cells"]
    assert siblings_of("graphs") == []


def test_retracted_observations_do_not_count(
    client: TestClient, post_task: Any, observe: Any, cells: Cells, siblings_of: Any
) -> None:
    post_task("asking")
    post_task("shrinking", dataset="other")
    posted = observe("shrinking", cells[:MIN_OBSERVATIONS], [0.5] * MIN_OBSERVATIONS)["observations"]
    assert siblings_of("asking") == ["shrinking"]

    path = f"/v1/tasks/shrinking/observations/{posted[0]['id']}/retraction"
    answer = client.post(path, json={"reason": "wrong data"})

    assert answer.status_code == 201, answer.text
    assert siblings_of("asking") == []


def test_a_support_set_knows_the_errors_that_were_told(
    post_task: Any, observe: Any, cells: Cells, database: Database
) -> None:
    post_task("digits")
    observe("digits", cells[:2], [0.5, 0.6], std_error=0.03)
    observe("digits", cells[1:3], [0.6, 0.7])

    with database.read() as session:
        context = records.task_context(session, "digits")
        support = records.read_support(session, context).support
        known_first = records.read_history(session, context).support_at(last_observation_id=2)

    errors = dict(zip((one.hash for one in support.architectures), support.std_errors, strict=True))
    assert errors == pytest.approx({cells[0]["id"]: 0.03, cells[1]["id"]: 0.015, cells[2]["id"]: 0.0})
    assert known_first.std_errors == (0.03, 0.03)


def test_no_more_siblings_are_read_than_can_be_asked(post_task: Any, database: Database, siblings_of: Any) -> None:
    for number in range(2 * MAX_RELATED + 2):
        post_task(f"task-{number}")
    with database.write() as session:
        session.execute(update(TaskRecord).values(num_observations=MIN_OBSERVATIONS))

    assert len(siblings_of("task-0")) == 2 * MAX_RELATED  # half of them may measure cost where quality is asked for


def test_a_new_champion_is_adapted_to_observed_tasks_and_to_those_that_have_an_adaptation_without_observations(
    post_task: Any, observe: Any, cells: Cells, database: Database
) -> None:
    ids = {name: post_task(name)["id"] for name in ("untouched", "from-siblings", "observed-first", "observed-last")}
    observe("observed-first", cells[:1], [0.5])
    observe("observed-last", cells[:1], [0.5])
    with database.write() as session:
        session.add(ModelVersionRecord(id="c" * 32, origin="shipped", manifest={}, weights=b""))
        session.flush()
        for name in ("from-siblings", "observed-first"):
            session.add(
                AdaptationRecord(
                    task_id=ids[name],
                    model_version_id="c" * 32,
                    support_hash="",
                    num_observations=0,
                    task_revision=0,
                    payload=b"",
                    seconds=0.1,
                )
            )

    with database.read() as session:
        found = records.task_ids_to_adapt(session)

    assert found == [ids["observed-last"], ids["observed-first"], ids["from-siblings"]]
