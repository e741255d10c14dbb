"""Lists: whatever they are sorted and filtered by, their pages hold every item once, in order."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from app.database import Database
from app.tables import JobRecord, ModelVersionRecord, ObservationRecord, TaskRecord, TrialRecord, utc_now

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]
Item = dict[str, Any]
OBSERVATIONS = "/v1/tasks/digits/observations"
BEGAN_AT = datetime(2026, 1, 1, tzinfo=UTC)
MIDDLE = BEGAN_AT + timedelta(microseconds=2)


def asked(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def walked(client: TestClient, path: str, limit: int = 3, **query: Any) -> Iterator[Item]:
    cursor: dict[str, str] = {}
    while True:
        page = asked(client, path, limit=limit, **query, **cursor)
        assert len(page["items"]) <= limit
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        assert len(page["items"]) == limit
        cursor = {"cursor": page["next_cursor"]}


def refused(client: TestClient, path: str, **query: Any) -> str:
    answer = client.get(path, params=query)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-content"), answer.text
    (error,) = answer.json()["errors"]
    return str(error["message"])


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


def in_order(items: list[Item], sort: str, key: str = "id") -> list[Item]:
    """As the list should be: those without a value last, ties by id."""
    name = sort.removeprefix("-")
    is_descending = sort.startswith("-")
    by_id = sorted(items, key=lambda item: item[key], reverse=is_descending)
    valued = [item for item in by_id if item[name] is not None]
    return [
        *sorted(
            valued, key=lambda item: moment(item[name]) if name.endswith("_at") else item[name], reverse=is_descending
        ),
        *(item for item in by_id if item[name] is None),
    ]


@pytest.fixture
def observed(client: TestClient, database: Database, post_task: Any, cells: Cells, observe: Any) -> list[Item]:
    """Forty observations, many of equal values, times and architectures, some without a value, some superseded."""
    task_id = post_task()["id"]
    observe("digits", cells[:5], [0.5] * 5)
    ids = [one["architecture_id"] for one in client.get(OBSERVATIONS).json()["items"]]
    draw = random.Random(3)
    rows = [
        {
            "task_id": task_id,
            "architecture_id": draw.choice(ids),
            "status": "ok",
            "value": draw.choice([-1.5, 0.0, 0.1, 0.30000000000000004, 1e-9, 7e20]),
            "created_at": BEGAN_AT + timedelta(microseconds=draw.randrange(5)),
        }
        for _ in range(35)
    ]
    for row in rows[::5]:
        row.update(status=draw.choice(["failed", "infeasible"]), value=None)
    with database.write() as session:
        session.execute(insert(ObservationRecord), rows)
        session.execute(update(ObservationRecord).where(ObservationRecord.id % 11 == 0).values(superseded_by_id=1))
    return list(asked(client, OBSERVATIONS, limit=1000, include_superseded=True)["items"])


@pytest.mark.parametrize("limit", [1, 3, 7])
@pytest.mark.parametrize("sort", ["id", "-id", "value", "-value", "created_at", "-created_at"])
def test_pages_hold_every_observation_once_in_order(
    client: TestClient, observed: list[Item], sort: str, limit: int
) -> None:
    current = [item for item in observed if item["superseded_by_id"] is None]

    assert list(walked(client, OBSERVATIONS, limit, sort=sort, include_superseded=True)) == in_order(observed, sort)
    assert list(walked(client, OBSERVATIONS, limit, sort=sort)) == in_order(current, sort)


FILTERS: dict[str, tuple[dict[str, Any], Callable[[Item], bool]]] = {
    "status ok": ({"status": "ok"}, lambda one: one["status"] == "ok"),
    "status failed": ({"status": "failed"}, lambda one: one["status"] == "failed"),
    "values from": ({"min_value": 0.1}, lambda one: one["value"] is not None and one["value"] >= 0.1),
    "values to": ({"max_value": 0.1}, lambda one: one["value"] is not None and one["value"] <= 0.1),
    "values between": (
        {"min_value": 0.0, "max_value": 0.2},
        lambda one: one["value"] is not None and 0.0 <= one["value"] <= 0.2,
    ),
    "values of what failed": ({"status": "failed", "min_value": 0.0}, lambda one: False),
    "since": ({"since": "2026-01-01T00:00:00.000002Z"}, lambda one: moment(one["created_at"]) >= MIDDLE),
    "before": ({"before": "2026-01-01T01:00:00.000002+01:00"}, lambda one: moment(one["created_at"]) < MIDDLE),
}


@pytest.mark.parametrize("sort", ["id", "value", "-value", "-created_at", "created_at"])
@pytest.mark.parametrize("name", FILTERS)
def test_filters_leave_what_they_say_whatever_the_order(
    client: TestClient, observed: list[Item], name: str, sort: str
) -> None:
    query, is_wanted = FILTERS[name]
    current = [item for item in observed if item["superseded_by_id"] is None and is_wanted(item)]

    assert list(walked(client, OBSERVATIONS, sort=sort, **query)) == in_order(current, sort)


def test_an_architecture_and_what_came_after_an_observation_can_be_asked_for(
    client: TestClient, observed: list[Item]
) -> None:
    one, known = observed[8]["architecture_id"], observed[20]["id"]

    found = list(walked(client, OBSERVATIONS, include_superseded=True, architecture=one, sort="-value"))
    later = list(walked(client, OBSERVATIONS, include_superseded=True, after_id=known))

    assert found == in_order([item for item in observed if item["architecture_id"] == one], "-value")
    assert later == observed[21:]


def test_a_range_is_listed_along_its_own_column_unless_asked_otherwise(
    client: TestClient, observed: list[Item]
) -> None:
    by_value = [item["value"] for item in walked(client, OBSERVATIONS, min_value=0.0)]
    by_time = [moment(item["created_at"]) for item in walked(client, OBSERVATIONS, since="2026-01-01T00:00:00Z")]

    assert by_value == sorted(by_value)
    assert by_time == sorted(by_time)


@pytest.mark.parametrize("sort", ["id", "-id", "value", "-value", "created_at", "-created_at"])
def test_what_is_added_between_pages_neither_repeats_nor_hides_what_was_there(
    client: TestClient, database: Database, observed: list[Item], sort: str
) -> None:
    draw = random.Random(5)
    seen: list[Item] = []
    for item in walked(client, OBSERVATIONS, sort=sort, include_superseded=True):
        seen.append(item)
        with database.write() as session:
            row = {"status": "ok", "value": draw.uniform(-2.0, 2.0), "created_at": BEGAN_AT}
            if draw.random() < 0.3:
                row |= {"status": "failed", "value": None, "created_at": utc_now()}
            if len(seen) < 60:  # or else there is no end to follow
                place = {name: observed[0][name] for name in ("architecture_id",)}
                task_id = session.query(TaskRecord.id).scalar()
                session.execute(insert(ObservationRecord), [{**row, **place, "task_id": task_id}])

    ids = [item["id"] for item in seen]
    assert len(set(ids)) == len(ids)
    assert {item["id"] for item in observed} <= set(ids)
    assert seen == in_order(seen, sort)


@pytest.fixture
def filled(client: TestClient, database: Database, post_task: Any, observed: list[Item]) -> None:
    """Several rows in every table that is listed."""
    for name in ("b", "a", "C", "d", "e"):
        post_task(name)
        definition = {"version": 1, "decisions": [{"name": "width", "type": "ordinal", "values": [1, 2]}]}
        body = {"name": f"space-{name}", "definition": definition}
        assert client.post("/v1/search-spaces", json=body).status_code == 201
        assert client.post("/v1/fine-tunes", json={"reason": name}).status_code == 202
        assert client.post("/v1/api-keys", json={"name": name, "role": "reader"}).status_code == 201
        assert client.post("/v1/projects", json={"name": name}).status_code == 201
        hook = {"url": f"https://example.com/{name}", "events": ["search.finished"]}
        assert client.post("/v1/webhooks", json=hook).status_code == 201
    with database.write() as session:
        task_id = session.query(TaskRecord.id).filter_by(name="digits").scalar()
        session.execute(
            insert(ModelVersionRecord),
            [
                {
                    "id": f"{number * 7 % 5}{number}", "origin": "uploaded" if number % 2 else "fine_tune", "manifest": {},
                    "weights": b"", "created_at": BEGAN_AT + timedelta(seconds=number // 3),
                }
                for number in range(7)
            ],
        )  # fmt: skip
        session.execute(update(JobRecord).where(JobRecord.id % 2 == 0).values(state="done"))
        architectures = {item["architecture_id"] for item in observed}
        session.execute(
            insert(TrialRecord),
            [
                {
                    "task_id": task_id, "architecture_id": one, "state": state, "worker_id": "anna",
                    "changed_at": BEGAN_AT + timedelta(seconds=number // 3),
                }
                for number, (one, state) in enumerate(itertools.product(architectures, ["completed", "failed"]))
            ],
        )  # fmt: skip


LISTS = {
    "/v1/tasks": ("id", ["id", "name", "created_at"]),
    "/v1/search-spaces": ("name", ["name"]),
    "/v1/model-versions": ("id", ["id", "created_at"]),
    "/v1/jobs": ("id", ["id"]),
    "/v1/fine-tunes": ("id", ["id"]),
    "/v1/tasks/digits/trials": ("id", ["id", "changed_at"]),
    OBSERVATIONS: ("id", ["id", "created_at", "value"]),
    "/v1/api-keys": ("id", ["id"]),
    "/v1/projects": ("id", ["id"]),
    "/v1/audit": ("id", ["id"]),
    "/v1/webhooks": ("id", ["id"]),
}


def test_whatever_goes_page_by_page_takes_a_limit_a_sort_and_fields(client: TestClient) -> None:
    lists = {}
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        names = {parameter["name"] for parameter in methods.get("get", {}).get("parameters", [])}
        if "cursor" in names:
            lists[path] = names

    assert {path.replace("digits", "{task}") for path in LISTS} <= set(lists)
    assert [path for path, names in lists.items() if not {"limit", "sort", "fields"} <= names] == []


@pytest.mark.usefixtures("filled")
def test_every_list_is_walked_in_every_order(client: TestClient) -> None:
    for path, (key, names) in LISTS.items():
        whole = asked(client, path, limit=1000)["items"]
        assert len(whole) > 3, path
        for name, prefix in itertools.product(names, ("", "-")):
            sort = prefix + name
            assert list(walked(client, path, sort=sort)) == in_order(whole, sort, key), (path, sort)


@pytest.mark.usefixtures("filled")
def test_every_list_answers_the_fields_that_were_asked_for(client: TestClient) -> None:
    for path, (key, _) in LISTS.items():
        whole = asked(client, path, limit=3)
        shown = asked(client, path, limit=3, fields=f"created_at, {key}")
        if path == "/v1/tasks/digits/trials":
            assert all(set(item) == {"created_at", "id"} for item in shown["items"])
        assert shown["next_cursor"] == whole["next_cursor"]
        assert shown["items"] == [
            {name: item[name] for name in item if name in ("created_at", key)} for item in whole["items"]
        ]
        assert "expected names among" in refused(client, path, fields=f"{key},colour")
        assert "got ''" in refused(client, path, fields="")


def test_fields_of_other_tables_are_looked_up_only_if_asked_for(client: TestClient, observed: list[Item]) -> None:
    for fields in (["task"], ["genotype"], ["genotype", "task", "value"], list(observed[0])):
        shown = list(walked(client, OBSERVATIONS, include_superseded=True, fields=",".join(fields), sort="value"))
        assert shown == [{name: item[name] for name in fields} for item in in_order(observed, "value")]


@pytest.mark.usefixtures("filled")
def test_every_list_says_what_it_can_be_sorted_by(client: TestClient) -> None:
    for path, (_, names) in LISTS.items():
        for wrong in ("colour", "--id", "", "weights", "id,name"):
            message = refused(client, path, sort=wrong)
            assert all(f" {name}," in message or f"-{name}" in message for name in names), (path, message)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("path", "query", "is_wanted"),
    [
        ("/v1/tasks", {"search_space": "nasbench201"}, lambda one: True),
        ("/v1/tasks", {"before": "2020-01-01T00:00:00Z"}, lambda one: False),
        ("/v1/search-spaces", {"kind": "declared"}, lambda one: one["kind"] == "declared"),
        ("/v1/model-versions", {"origin": "uploaded"}, lambda one: one["origin"] == "uploaded"),
        ("/v1/model-versions", {"since": "2026-01-01T00:00:01Z"}, lambda one: moment(one["created_at"]) > BEGAN_AT),
        ("/v1/jobs", {"kind": "fine_tune", "state": "done"}, lambda one: (one["kind"], one["state"]) == ("fine_tune", "done")),
        ("/v1/jobs", {"since": "2020-01-01T00:00:00Z"}, lambda one: True),
        ("/v1/fine-tunes", {"state": "done"}, lambda one: one["state"] == "done"),
        ("/v1/tasks/digits/trials", {"state": ["failed", "requested"]}, lambda one: one["state"] == "failed"),
        ("/v1/tasks/digits/trials", {"worker_id": "bert"}, lambda one: False),
        (
            "/v1/tasks/digits/trials",
            {"changed_since": "2026-01-01T00:00:01Z", "changed_before": "2026-01-01T00:00:03Z"},
            lambda one: "2026-01-01T00:00:01" <= one["changed_at"] < "2026-01-01T00:00:03",
        ),
    ],
)  # fmt: skip
def test_other_lists_are_filtered(
    client: TestClient, path: str, query: dict[str, Any], is_wanted: Callable[[Item], bool]
) -> None:
    whole = asked(client, path, limit=1000)["items"]

    assert list(walked(client, path, **query)) == [item for item in whole if is_wanted(item)]


@pytest.mark.usefixtures("observed")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"sort": "-value"}, id="the other way round"),
        pytest.param({"sort": "id"}, id="another sort"),
        pytest.param({"status": "ok"}, id="another filter"),
        pytest.param({"include_superseded": True}, id="another choice"),
    ],
)
def test_a_cursor_belongs_to_its_filters_and_its_sort(client: TestClient, other: dict[str, Any]) -> None:
    query = {"sort": "value", "limit": 3}
    cursor = asked(client, OBSERVATIONS, **query)["next_cursor"]

    assert "other filters or another sort" in refused(client, OBSERVATIONS, **{**query, **other}, cursor=cursor)
    assert asked(client, OBSERVATIONS, **{**query, "limit": 5, "fields": "id"}, cursor=cursor)["items"]


@pytest.mark.usefixtures("observed")
def test_a_cursor_belongs_to_its_list_and_its_task(client: TestClient, post_task: Any) -> None:
    post_task("other")
    cursor = asked(client, OBSERVATIONS, limit=3)["next_cursor"]

    for path in ("/v1/tasks/other/observations", "/v1/tasks/digits/trials", "/v1/tasks", "/v1/jobs"):
        assert "other filters" in refused(client, path, cursor=cursor)


@pytest.mark.usefixtures("observed")
def test_a_cursor_that_was_changed_or_made_up_is_refused(client: TestClient) -> None:
    cursor = asked(client, OBSERVATIONS, limit=3)["next_cursor"]
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = base64.urlsafe_b64encode(raw[:6] + raw[6:].replace(b"3", b"4", 1)).decode()

    changed = [cursor[:place] + ("A" if one != "A" else "B") + cursor[place + 1 :] for place, one in enumerate(cursor)]
    for wrong in [*changed[:-1], cursor[:-1], cursor + "AAAA", forged, "", "x", "NDE", "é", "=", "a b"]:
        assert "next_cursor" in refused(client, OBSERVATIONS, limit=3, cursor=wrong)


@pytest.mark.parametrize(
    "query", ["min_value=nan", "max_value=inf", "since=2026-01-01T00:00:00", "before=x", "after_id=-1"]
)
def test_a_range_that_is_none_is_refused(client: TestClient, post_task: Any, query: str) -> None:
    post_task()

    assert client.get(f"{OBSERVATIONS}?{query}").status_code == 422
