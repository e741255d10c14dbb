"""Without keys: on this machine, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app import banner
from app.settings import Settings, is_loopback

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_the_loopback_address_needs_no_keys_unless_it_is_to(host: str, tmp_path: Any) -> None:
    assert is_loopback(host)
    assert not Settings(host=host, data_dir=tmp_path).needs_keys
    assert Settings(host=host, data_dir=tmp_path, require_keys=True).needs_keys


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "localhost.example.org"])
def test_any_other_address_needs_keys_whatever_is_set(host: str, tmp_path: Any) -> None:
    assert Settings(host=host, data_dir=tmp_path, require_keys=False).needs_keys


def test_whoever_is_on_this_machine_may_do_everything(client: TestClient) -> None:
    assert client.get("/v1/caller").json() == {
        "id": "embedded", "name": "embedded use, without a key", "role": "admin", "project": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("server", "peer"), [("192.168.1.5", "127.0.0.1"), ("127.0.0.1", "10.0.0.7"), ("::", "fe80::1")]
)
def test_a_request_from_elsewhere_needs_a_key_whatever_the_settings_say(
    app: FastAPI, client: TestClient, server: str, peer: str
) -> None:
    from fastapi.testclient import TestClient

    base = f"http://[{server}]" if ":" in server else f"http://{server}"
    elsewhere = TestClient(app, base_url=base, client=(peer, 40_000))

    assert elsewhere.get("/v1/tasks").status_code == 401
    assert elsewhere.get("/healthz").status_code == 200


def test_a_key_counts_where_none_is_needed(client: TestClient, settings: Settings, database: Any) -> None:
    from app.access import keys
    from app.access.callers import SYSTEM
    from app.access.schemas import KeyIn

    with database.write() as session:
        key = keys.create(session, settings, SYSTEM, KeyIn(name="r", role="reader")).key
    headers = {"Authorization": f"Bearer {key}"}

    assert client.get("/v1/caller", headers=headers).json()["role"] == "reader"
    assert client.get("/v1/api-keys", headers=headers).status_code == 403
    assert client.get("/v1/tasks", headers={"Authorization": "Bearer archcast_wrong"}).status_code == 401


def test_the_banner_says_whether_keys_are_needed() -> None:
    assert "No key is needed" in banner.banner("http://127.0.0.1:8000", True, needs_keys=False)
    with_keys = banner.banner("http://127.0.0.1:8000", True, needs_keys=True)
    assert "needs a key" in with_keys
    assert with_keys.count("Authorization: Bearer $ARCHCAST_API_KEY") == 3


@pytest.mark.parametrize("secret", ["short", " " * 15])
def test_a_secret_that_is_none_is_refused(secret: str, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="at least 16 characters"):
        Settings(key_secret=secret, data_dir=tmp_path)
