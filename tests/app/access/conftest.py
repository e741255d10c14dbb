"""A service that asks for keys, and keys for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response

    from app.settings import Settings


@dataclass(frozen=True)
class Service:
    """A started service that asks for keys."""

    client: TestClient
    settings: Settings

    def call(self, key: str | None, method: str, path: str, body: Any = None, **options: Any) -> Response:
        """What it answers to whoever has that key."""
        headers = {**options.pop("headers", {}), **({} if key is None else {"Authorization": f"Bearer {key}"})}
        return self.client.request(method, path, json=body, headers=headers, **options)

    @property
    def state(self) -> Any:
        """What the application keeps."""
        return self.client.app.state  # type: ignore[attr-defined]

    def key(self, role: str, project: str | None = None, **members: Any) -> str:
        """A new key."""
        from app.access import keys
        from app.access.callers import SYSTEM
        from app.access.schemas import KeyIn

        body = KeyIn(name=f"{role} {project}", role=role, project=project, **members)  # type: ignore[arg-type]
        with self.state.database.write() as session:
            return keys.create(session, self.settings, SYSTEM, body).key

    def project(self, name: str, **members: Any) -> None:
        """Creates a project."""
        from app.access import projects
        from app.access.schemas import ProjectIn

        with self.state.database.write() as session:
            projects.create(session, ProjectIn(name=name, **members))


TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"

StartService = Callable[..., Service]


@pytest.fixture
def start_service(settings: Settings, request: pytest.FixtureRequest, monkeypatch: Any) -> Iterator[StartService]:
    """Starts services on the test's database that ask for keys, with changed settings where wanted."""
    from contextlib import ExitStack

    from app.main import create_app
    from app.model_versions import service as model_versions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the test client asks for a newer httpx than there is
        from fastapi.testclient import TestClient
    if "champion" not in request.fixturenames:
        monkeypatch.setattr(model_versions, "register_shipped", lambda database: None)
    with ExitStack() as started:

        def start(**changes: Any) -> Service:
            changed = settings.model_copy(update={"require_keys": True, "access_poll_seconds": 0.05, **changes})
            return Service(started.enter_context(TestClient(create_app(changed))), changed)

        yield start


@pytest.fixture
def service(start_service: StartService) -> Service:
    """A service that asks for keys."""
    return start_service()
