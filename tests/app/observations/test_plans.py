"""Which index SQLite walks for a list: the one that gives the order, or the one of what is few; it never sorts a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from app.lists import Asked
from app.observations import service
from app.observations.repository import Filter

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
ALONG_ID, ALONG_VALUE, ALONG_TIME = (f"ix_observations_task_id_{name}" for name in ("id", "value_id", "created_at_id"))
BY_ARCHITECTURE = "ix_observations_architecture_id"


def plan(database: Database, wanted: Filter, sort: str | None, cursor: str | None = None) -> list[str]:
    """What SQLite says that it does for the queries of a page."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.read() as session:
        asked = Asked(cursor=cursor, sort=None if sort is None else service.LISTING.sort(sort))
        service.page(session, "digits", asked, wanted)
    event.remove(database.engine, "before_cursor_execute", note)
    queries = [one for one in seen if "sort_value" in one[0]]
    assert queries
    with database.engine.connect() as connection:
        return [
            row[-1]
            for statement, parameters in queries
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


@pytest.mark.parametrize("direction", ["", "-"])
@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize(
    ("sort", "filters", "index"),
    [
        ("id", {}, ALONG_ID),
        ("value", {}, ALONG_VALUE),
        ("created_at", {}, ALONG_TIME),
        ("id", {"after_id": 7}, ALONG_ID),
        ("id", {"status": "ok"}, ALONG_ID),
        ("id", {"status": "failed"}, ALONG_VALUE),
        ("value", {"status": "ok"}, ALONG_VALUE),
        ("value", {"status": "failed"}, ALONG_VALUE),
        ("value", {"min_value": 0.1, "max_value": 0.2}, ALONG_VALUE),
        ("id", {"min_value": 0.1}, ALONG_ID),
        ("created_at", {"min_value": 0.1}, ALONG_TIME),
        ("created_at", {"since": MOMENT, "before": MOMENT}, ALONG_TIME),
        ("value", {"since": MOMENT}, ALONG_VALUE),
        ("id", {"before": MOMENT}, ALONG_ID),
        ("value", {"after_id": 7}, ALONG_VALUE),
    ],
)
def test_a_list_is_walked_along_its_order(
    database: Database, post_task: Any, sort: str, filters: dict[str, Any], index: str, direction: str, is_whole: bool
) -> None:
    post_task()

    steps = plan(database, Filter(**filters, include_superseded=is_whole), direction + sort)

    assert {step for step in steps if "observations" in step and f" {index} " not in step} == set()
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize("sort", ["id", "-value", "created_at"])
def test_an_architecture_is_looked_up(database: Database, post_task: Any, sort: str) -> None:
    post_task()

    steps = plan(database, Filter(architecture="0" * 32), sort)

    assert all(BY_ARCHITECTURE in step for step in steps if "observations" in step)


@pytest.mark.parametrize(
    ("sort", "ends"),
    [("value", "value<?"), ("-value", "value>?"), ("created_at", "created_at<?"), ("-created_at", "created_at>?")],
)
def test_a_page_within_a_range_begins_after_its_cursor_and_not_where_the_range_does(
    client: TestClient, database: Database, post_task: Any, cells: Any, observe: Any, sort: str, ends: str
) -> None:
    post_task()
    observe("digits", cells[:3], [0.1, 0.2, 0.3])
    moments = {"since": "2020-01-01T00:00:00Z", "before": "2999-01-01T00:00:00Z"}
    query = {"min_value": 0.0, "max_value": 1.0} if "value" in sort else moments
    page = client.get("/v1/tasks/digits/observations", params={**query, "sort": sort, "limit": 1}).json()
    bounds = query if "value" in sort else {name: datetime.fromisoformat(text) for name, text in moments.items()}

    steps = plan(database, Filter(**bounds), sort, page["next_cursor"])

    (step,) = (step for step in steps if "observations" in step)
    name = sort.removeprefix("-")
    assert f"(task_id=? AND {name}>? AND {name}<?)" in step
    assert ends in step
