"""The audit log: every change, with the change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.access import audit
from app.access.callers import SYSTEM
from app.tables import AuditRecord, TaskRecord

pytestmark = pytest.mark.both_engines

TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"


@pytest.fixture
def admin(service: Any) -> str:
    key: str = service.key("admin")
    return key


def entries(service: Any, key: str, query: str = "") -> list[dict[str, Any]]:
    answer = service.call(key, "GET", f"/v1/audit{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_a_change_is_entered_with_who_what_where_and_when(service: Any, admin: str) -> None:
    headers = {"X-Request-ID": "call-7"}
    task = service.call(admin, "POST", "/v1/tasks", TASK, headers=headers).json()

    (entry,) = entries(service, admin)

    at = datetime.fromisoformat(entry.pop("created_at"))
    assert abs(datetime.now(UTC) - at) < timedelta(hours=1)
    assert entry == {
        "id": entry["id"],
        "caller": "key:1",
        "caller_name": "admin None",
        "role": "admin",
        "operation": "create_task",
        "target": "POST /v1/tasks",
        "details": {"after": {"id": task["id"], "name": "digits"}},
        "address": "testclient",
        "request_id": "call-7",
    }


def test_reading_and_asking_and_what_is_refused_is_not_entered(service: Any, admin: str) -> None:
    service.call(admin, "POST", "/v1/tasks", {**TASK, "search_space": "nothing"})
    service.call(service.key("reader"), "POST", "/v1/tasks", TASK)
    service.call(None, "POST", "/v1/tasks", TASK)
    service.call(admin, "GET", "/v1/tasks")
    service.call(admin, "POST", "/v1/search-spaces/nasbench201/validate", {"architectures": [CELL]})

    assert entries(service, admin) == []


def test_a_correction_says_what_was_before_and_after(service: Any, admin: str) -> None:
    service.call(admin, "POST", "/v1/tasks", TASK)
    posted = service.call(admin, "POST", "/v1/tasks/digits/observations", {"architecture": CELL, "value": 0.5}).json()
    old = posted["observations"][0]["id"]
    path = f"/v1/tasks/digits/observations/{old}/correction"

    new = service.call(admin, "POST", path, {"value": 0.6, "reason": "typing error"}).json()["id"]

    entry, posting, _ = entries(service, admin)
    assert entry["target"] == f"POST {path}"
    assert entry["details"] == {
        "before": {"id": old, "status": "ok", "value": 0.5}, "after": {"id": new, "status": "ok", "value": 0.6}
    }  # fmt: skip
    assert posting["details"] == {"task": "digits", "num_created": 1, "num_duplicates": 0}


def test_a_change_that_fails_leaves_no_entry_and_an_entry_that_fails_no_change(
    service: Any, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_draft: audit.Draft) -> AuditRecord:
        raise OSError("no room for the entry")

    monkeypatch.setattr(audit.Draft, "record", fail)
    with pytest.raises(OSError, match="no room"):
        service.call(admin, "POST", "/v1/tasks", TASK)

    with service.state.database.read() as session:
        counts = [session.scalar(select(func.count()).select_from(table)) for table in (TaskRecord, AuditRecord)]
    assert counts == [0, 0]


def test_a_change_of_several_transactions_is_entered_once(service: Any) -> None:
    database = service.state.database
    audit.begin(audit.Draft(SYSTEM, "twice", "-"))
    try:
        for _ in range(2):
            with database.write():
                pass
        with pytest.raises(ZeroDivisionError), database.write():
            raise ZeroDivisionError
    finally:
        audit.begin(None)

    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AuditRecord)) == 1


def test_what_was_rolled_back_is_entered_with_what_is_committed_then(service: Any, monkeypatch: Any) -> None:
    database = service.state.database

    def fail_late() -> None:
        with database.write() as session:
            audit.write_draft(session)
            session.flush()
            raise ZeroDivisionError

    audit.begin(audit.Draft(SYSTEM, "again", "-"))
    try:
        with pytest.raises(ZeroDivisionError):
            fail_late()
        with database.write():
            pass
    finally:
        audit.begin(None)

    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AuditRecord)) == 1


def test_large_details_are_left_out_and_said_so(service: Any, admin: str) -> None:
    draft = audit.Draft(SYSTEM, "o", "t")
    audit.begin(draft)
    try:
        audit.note(before={"a": 1})
        audit.note(after={"text": "x" * audit.MAX_DETAIL_BYTES})
    finally:
        audit.begin(None)

    assert draft.details == {"left_out": f"more than {audit.MAX_DETAIL_BYTES} bytes"}


def test_heartbeats_are_not_entered(service: Any, admin: str) -> None:
    service.call(admin, "POST", "/v1/tasks", TASK)
    service.call(admin, "POST", "/v1/tasks/digits/trials", {"architectures": [CELL]})
    suggested = service.call(admin, "POST", "/v1/tasks/digits/trials:suggest", {"worker_id": "w"}).json()["trials"][0]
    path = f"/v1/tasks/digits/trials/{suggested['id']}:heartbeat"

    assert service.call(admin, "POST", path, {"lease_token": suggested["lease_token"]}).status_code == 200

    assert [one["operation"] for one in entries(service, admin)] == ["suggest_trials", "request_trials", "create_task"]
    assert suggested["lease_token"] not in str(entries(service, admin))


def test_the_log_is_filtered_and_read_page_by_page(service: Any, admin: str) -> None:
    other = service.key("contributor", "*")
    for place in range(5):
        key = admin if place % 2 else other
        service.call(key, "POST", "/v1/tasks", {**TASK, "name": f"t{place}"}, headers={"X-Request-ID": f"r{place}"})
    service.call(admin, "POST", "/v1/projects", {"name": "vision"})

    def names(query: str) -> list[str]:
        return [one["details"]["after"]["name"] for one in entries(service, admin, query)]

    first = service.call(admin, "GET", "/v1/audit?limit=4").json()
    rest = service.call(admin, "GET", f"/v1/audit?limit=4&cursor={first['next_cursor']}").json()
    assert [one["details"]["after"]["name"] for one in first["items"] + rest["items"]] == [
        "vision",
        "t4",
        "t3",
        "t2",
        "t1",
        "t0",
    ]
    assert rest["next_cursor"] is None
    assert names("?caller=key:2") == ["t4", "t2", "t0"]
    assert names("?operation=create_project") == ["vision"]
    assert names("?request_id=r3") == ["t3"]
    assert names("?until=2020-01-01T00:00:00Z") == []
    assert len(names("?since=2020-01-01T00:00:00Z")) == 6
    for wrong in ("?since=yesterday", "?since=2020-01-01T00:00:00", "?caller=%00", "?cursor=x"):
        assert service.call(admin, "GET", f"/v1/audit{wrong}").status_code == 422
