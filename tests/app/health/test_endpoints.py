"""/healthz and /readyz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from app.database import Database
from app.errors import NotReadyError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient


Replace = Callable[[str, object], None]


class Champion:
    """Stands for inference: a champion, or none."""

    def __init__(self, version: str | None) -> None:
        self._version = version
        self.versions = self

    def champion(self) -> Any:
        if self._version is None:
            raise NotReadyError("expected a champion, got none")
        return SimpleNamespace(version=self._version)


@pytest.fixture(autouse=True)
def ready(replace_state: Replace) -> None:
    replace_state("inference", Champion("v1"))


def test_the_process_is_up_whatever_else_is_not(client: TestClient, replace_state: Replace) -> None:
    replace_state("database", None)

    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_service_with_a_migrated_database_and_a_champion_is_ready(client: TestClient) -> None:
    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "model_version": "v1"})


def test_a_service_without_a_champion_is_not_ready(client: TestClient, replace_state: Replace) -> None:
    replace_state("inference", Champion(None))

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")


def test_a_database_that_is_not_migrated_is_not_ready(
    client: TestClient, replace_state: Replace, tmp_path: Path
) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    replace_state("database", empty)

    answer = client.get("/readyz")

    assert (answer.status_code, "migration" in answer.json()["detail"]) == (503, True)
    empty.close()


def test_a_database_that_cannot_be_reached_is_not_ready(
    client: TestClient, replace_state: Replace, tmp_path: Path
) -> None:
    away = Database(f"sqlite:///{tmp_path / 'away.sqlite3'}")
    (tmp_path / "away.sqlite3").mkdir()
    replace_state("database", away)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
    away.close()
