"""`archcast key`, `archcast project`, `archcast audit`, and the key that every command sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from app import cli, cli_access
from app.client import Client, ClientError
from app.client_calls import API_KEY_VARIABLE

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Run = Callable[..., Result]
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}


@pytest.fixture
def run(service: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `archcast` against a service that asks for keys."""

    def connected(url: str) -> Client:
        reached = Client(url)
        sent = reached._http.headers
        reached._http.close()
        reached._http = _With(service.client, {"Authorization": sent.get("Authorization", "")})  # type: ignore[assignment]
        return reached

    monkeypatch.setattr(Client, "close", lambda self: None)
    for module in (cli, cli_access):
        monkeypatch.setattr(module, "Client", connected)
    for name, value in service.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(API_KEY_VARIABLE, service.key("admin"))
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


class _With:
    """The test client with header fields of its own."""

    base_url = "http://testserver"

    def __init__(self, client: TestClient, headers: dict[str, str]) -> None:
        self._client, self._headers = client, {name: value for name, value in headers.items() if value}

    def request(self, *arguments: Any, **options: Any) -> Any:
        headers = {**self._headers, **(options.pop("headers", None) or {})}
        return self._client.request(*arguments, headers=headers, **options)


def test_a_key_is_made_listed_and_revoked(run: Run, service: Any) -> None:
    made = run("key", "create", "cluster", "--role", "reader", "--expires-days", "30")
    key = made.stdout.strip()

    assert service.call(key, "GET", "/v1/caller").json()["role"] == "reader"
    assert "shown this once" in made.stderr
    header, _, line = run("key", "list").stdout.splitlines()
    assert header.split() == ["id", "name", "role", "project", "hint", "state", "last_used_at", "expires_at"]
    assert (line.split()[:4], "valid" in line, key in line) == (["2", "cluster", "reader", "default"], True, False)
    assert run("key", "revoke", "2").stdout == "key 2 (cluster) is revoked\n"
    assert "revoked" in run("key", "list").stdout
    assert service.call(key, "GET", "/v1/caller").status_code == 401


def test_who_has_lost_all_keys_makes_one_beside_the_database(run: Run, service: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv(API_KEY_VARIABLE)

    refused = run("key", "list")
    made = run("key", "create", "rescue", "--role", "admin", "--direct", "--json")

    assert (refused.exit_code, "Authorization" in refused.stderr) == (1, True)
    shown = json.loads(made.stdout)
    monkeypatch.setenv(API_KEY_VARIABLE, shown["key"])
    (entry,) = json.loads(run("audit", "--json").stdout)
    assert (entry["caller"], entry["target"]) == ("system", "archcast key create --direct")
    assert run("key", "create", "x", "--role", "admin", "--project", "default", "--direct").exit_code == 1


def test_what_is_imported_beside_the_service_is_in_the_log_too(run: Run, service: Any, tmp_path: Path) -> None:
    service.call(service.key("admin"), "POST", "/v1/tasks", TASK)
    file = tmp_path / "measured.csv"
    file.write_text(f"architecture,value\n{CELL},0.5\n")

    assert run("import", "digits", str(file), "--direct").exit_code == 0

    (entry,) = json.loads(run("audit", "--operation", "post_observations", "--json").stdout)
    assert (entry["caller"], entry["target"]) == ("system", "archcast import --direct")
    assert entry["details"] == {"task": "digits", "num_created": 1, "num_duplicates": 0}


def test_projects_are_created_and_listed_and_changes_shown(run: Run) -> None:
    assert run("project", "create", "vision", "--no-learn").stdout == "project vision is there\n"
    assert run("project", "create", "vision").exit_code == 1

    listed = json.loads(run("project", "list", "--json").stdout)
    shown = run("audit", "--operation", "create_project").stdout.splitlines()

    assert [(one["name"], one["is_learned_from"]) for one in listed] == [("default", True), ("vision", False)]
    assert (len(shown), "create_project  POST /v1/projects" in shown[1], '"vision"' in shown[1]) == (2, True, True)
    assert len(run("audit", "--caller", "key:99").stdout.splitlines()) == 1


def test_the_key_of_the_command_line_counts_before_that_of_the_environment(run: Run, service: Any) -> None:
    reader = service.key("reader")

    refused = run("--api-key", reader, "key", "list")

    assert (refused.exit_code, "role admin" in refused.stderr) == (1, True)


def test_a_client_sends_the_key_that_it_was_given(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "archcast_of_the_environment")

    assert Client()._http.headers["Authorization"] == "Bearer archcast_of_the_environment"
    assert Client(api_key="mine")._http.headers["Authorization"] == "Bearer mine"
    assert "Authorization" not in Client(api_key="")._http.headers


def test_a_refusal_reaches_whoever_uses_the_client(service: Any) -> None:
    with Client(api_key=service.key("reader")) as client:
        client._http.close()
        client._http = _With(service.client, dict(client._http.headers))  # type: ignore[assignment]
        client.close = lambda: None  # type: ignore[method-assign]
        with pytest.raises(ClientError, match="role admin, got reader") as refused:
            client.create_project("x")
        assert client.caller()["role"] == "reader"

    assert refused.value.status == 403
