"""Keys: made, used, noticed elsewhere, ended."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app import clock
from app.access import key_format
from app.errors import RetryableError
from app.tables import ApiKeyRecord, AuditRecord, ServerSecretRecord

pytestmark = pytest.mark.both_engines

DEADLINE_SECONDS = 60.0
REQUEST = {"name": "cluster", "role": "contributor"}


def eventually(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "expected it to happen, got nothing"
        time.sleep(0.02)


def test_a_key_is_shown_once_and_only_its_hash_is_stored(service: Any) -> None:
    admin = service.key("admin")

    made = service.call(admin, "POST", "/v1/api-keys", REQUEST).json()
    shown = service.call(admin, "GET", f"/v1/api-keys/{made['id']}").json()

    assert key_format.problem_of(made.pop("key")) is None
    assert shown == made
    assert (shown["project"], shown["created_by"], shown["last_used_at"]) == ("default", "key:1", None)
    with service.state.database.read() as session:
        stored = session.scalars(select(ApiKeyRecord)).all()
        logged = [str(one.details) + one.target for one in session.scalars(select(AuditRecord))]
    texts = logged + [str(value) for row in stored for value in vars(row).values()]
    assert not [text for text in texts if admin[len("archcast_") + 6 :] in text]


def test_a_new_key_opens_what_its_role_allows_at_once(service: Any) -> None:
    made = service.call(service.key("admin"), "POST", "/v1/api-keys", REQUEST).json()

    caller = service.call(made["key"], "GET", "/v1/caller").json()

    assert caller == {"id": f"key:{made['id']}", "name": "cluster", "role": "contributor", "project": "default"}


def test_a_key_that_was_made_at_another_replica_is_known_at_once(service: Any, start_service: Any) -> None:
    other = start_service(access_poll_seconds=3_600.0)

    for _ in range(3):
        assert other.call(service.key("reader"), "GET", "/v1/tasks").status_code == 200


def test_a_key_that_was_revoked_elsewhere_is_refused(service: Any, start_service: Any) -> None:
    other = start_service()
    admin, key = service.key("admin"), service.key("reader")
    assert other.call(key, "GET", "/v1/tasks").status_code == 200
    key_id = service.call(admin, "GET", "/v1/api-keys").json()["items"][1]["id"]

    revoked = service.call(admin, "POST", f"/v1/api-keys/{key_id}:revoke").json()

    assert revoked["revoked_at"] is not None
    answer = service.call(key, "GET", "/v1/tasks")  # at the replica that did it, at once
    assert (answer.status_code, answer.json()["type"]) == (401, "/problems/invalid-token")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    eventually(lambda: other.call(key, "GET", "/v1/tasks").status_code == 401)
    assert service.call(admin, "POST", f"/v1/api-keys/{key_id}:revoke").json() == revoked


def test_an_expired_key_is_refused(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = service.key("reader", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert service.call(key, "GET", "/v1/tasks").status_code == 200

    now = clock.now
    monkeypatch.setattr(clock, "now", lambda session: now(session) + timedelta(hours=2))
    eventually(lambda: service.call(key, "GET", "/v1/tasks").status_code == 401)

    assert "expired" in service.call(key, "GET", "/v1/tasks").json()["detail"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        pytest.param("Bearer " + key_format.new_key(), "unknown", id="key of nobody"),
        ("Bearer archcast_" + "0" * 38, "checksum"),
        ("Bearer nonsense", "another form"),
        ("Bearer", "another form"),
        ("Basic dXNlcjpwYXNzd29yZA==", "another form"),
        ("Bearer a b", "another form"),
        ("", "another form"),
    ],
)
def test_what_is_no_valid_key_is_refused_and_says_why(service: Any, header: str, said: str) -> None:
    answer = service.call(None, "GET", "/v1/tasks", headers={"Authorization": header})

    assert (answer.status_code, said in answer.json()["detail"]) == (401, True), answer.text


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"role": "owner"}, "role"),
        ({"name": ""}, "name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"project": "nowhere"}, "project"),
        ({"role": "operator", "project": "default"}, "project"),
        ({"requests_per_minute": -1}, "requests_per_minute"),
        ({"key": "mine"}, "key"),
    ],
)
def test_a_key_that_cannot_be_is_refused(service: Any, changes: dict[str, Any], place: str) -> None:
    answer = service.call(service.key("admin"), "POST", "/v1/api-keys", {**REQUEST, **changes})

    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, ["body", place])


def test_when_a_key_was_used_last_is_noted_in_the_end(service: Any) -> None:
    key = service.key("reader")
    service.call(key, "GET", "/v1/tasks")
    service.call(key, "GET", "/v1/tasks")

    service.state.guard.stop()

    with service.state.database.read() as session:
        used = session.scalars(select(ApiKeyRecord.last_used_at)).one()
    assert abs(datetime.now(UTC) - used) < timedelta(hours=1)


def test_known_keys_stay_valid_while_the_database_is_away_but_not_for_ever(
    service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, ring = service.key("reader"), service.state.guard.keys
    assert service.call(key, "GET", "/v1/caller").status_code == 200
    ring.stop()  # from here on the database is not asked again, as if it were away

    assert ring._find(key) is not None
    old = dataclasses.replace(ring._snapshot, read_at=time.monotonic() - 61.0)
    monkeypatch.setattr(ring, "_snapshot", old)
    with pytest.raises(RetryableError):
        ring._find(key)


def test_keys_are_hashed_with_the_secret_of_the_settings_where_there_is_one(start_service: Any) -> None:
    service = start_service(key_secret="a secret of sixteen or more")
    key = service.key("reader")

    assert service.call(key, "GET", "/v1/caller").status_code == 200
    assert start_service(key_secret="a secret of sixteen or more").call(key, "GET", "/v1/caller").status_code == 200
    assert (
        start_service(key_secret="another secret of the same length").call(key, "GET", "/v1/caller").status_code == 401
    )
    with service.state.database.read() as session:
        assert session.scalar(select(func.count()).select_from(ServerSecretRecord)) == 0


def test_replicas_that_start_together_make_one_first_key(settings: Any, reopened: Any, service: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from app.access import keys

    databases = [reopened(service.state.database) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda one: keys.create_first(one, settings), databases))

    (key,) = [one for one in made if one is not None]
    assert service.call(key, "GET", "/v1/caller").json()["role"] == "admin"
    assert keys.create_first(databases[0], settings) is None
    (entry,) = service.call(key, "GET", "/v1/audit").json()["items"]
    assert (entry["caller"], entry["operation"]) == ("system", "create_first_key")


def test_the_first_key_is_said_once_by_a_server_that_others_can_reach(settings: Any, monkeypatch: Any) -> None:
    from fastapi.testclient import TestClient

    from app.main import create_app
    from app.model_versions import service as model_versions

    monkeypatch.setattr(model_versions, "register_shipped", lambda database: None)
    said: list[str] = []
    reachable = settings.model_copy(update={"host": "0.0.0.0", "load_shipped": False})
    for _ in range(2):
        with TestClient(create_app(reachable, migrate=True, say=said.append)) as client:
            assert client.get("/v1/tasks").status_code == 401

    (text,) = said
    with TestClient(create_app(reachable)) as client:
        headers = {"Authorization": f"Bearer {text.split()[-1]}"}
        assert client.get("/v1/caller", headers=headers).json()["role"] == "admin"
