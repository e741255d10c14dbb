"""The service on a database of its own. Heavy imports happen inside the fixtures, so that other tests need not wait.

Tests marked `both_engines` run on SQLite and on PostgreSQL, the others on SQLite alone.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from postgresql_server import PostgresqlServer

    from app.database import Database
    from app.settings import Settings

pytest_plugins = ["champion_fixtures", "wrong_clocks"]

DATABASE_FILE = "archcast.sqlite3"
ENGINES = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests marked `both_engines` on every engine."""
    if "engine" in metafunc.fixturenames and metafunc.definition.get_closest_marker("both_engines"):
        metafunc.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """What kind of database the test runs on."""
    name: str = getattr(request, "param", "sqlite")
    return name


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A PostgreSQL for as long as the tests run."""
    from postgresql_server import PostgresqlServer, UnavailableError

    server = PostgresqlServer()
    try:
        server.start()
    except UnavailableError as error:
        pytest.skip(f"NO POSTGRESQL, SO HALF OF THE CONTRACT IS NOT TESTED: {error}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgresql: PostgresqlServer) -> Iterator[str]:
    """The name of a migrated database on the server, to be copied."""
    from app import migration
    from app.database import Database

    with postgresql.database() as url:
        database = Database(url)
        migration.upgrade(database)
        database.close()
        yield str(database.url.database)


@pytest.fixture
def new_database(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], Database]]:
    """Opens databases without any table."""
    from app.database import Database

    with ExitStack() as kept:

        def opened() -> Database:
            if engine == "sqlite":
                url = f"sqlite:///{Path(tempfile.mkdtemp(dir=tmp_path)) / 'new folder' / 'empty.sqlite3'}"
            else:
                url = kept.enter_context(request.getfixturevalue("postgresql").database())
            return kept.enter_context(closing(Database(url)))

        yield opened


@pytest.fixture
def reopened() -> Iterator[Callable[[Database], Database]]:
    """Opens a database once more, as another process does."""
    from app.database import Database

    with ExitStack() as kept:

        def again(database: Database) -> Database:
            url = database.url.render_as_string(hide_password=False)
            return kept.enter_context(closing(Database(url)))

        yield again


@pytest.fixture
def migrated_url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database that is migrated and empty."""
    if engine == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / DATABASE_FILE)
        yield f"sqlite:///{tmp_path / DATABASE_FILE}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    with server.database(request.getfixturevalue("migrated_template")) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database, to be copied."""
    from app import migration
    from app.database import Database

    file = tmp_path_factory.mktemp("migrated") / DATABASE_FILE
    database = Database(f"sqlite:///{file}")
    migration.upgrade(database)
    with database.engine.connect() as connection:
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()  # type: ignore[union-attr]
    database.close()
    return file


@pytest.fixture
def settings(tmp_path: Path, migrated_url: str) -> Settings:
    """Settings of a service whose database is migrated and empty."""
    from app.settings import Settings

    return Settings(
        data_dir=tmp_path,
        database_url=migrated_url,
        embedded_worker=False,
        max_body_bytes=2**20,
        max_observations_per_request=1_000,
        max_enumerated_candidates=1_000,
        trial_sweep_seconds=3_600.0,  # tests sweep when they want to
    )


@pytest.fixture
def app(settings: Settings, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The service, not started; with a champion only for tests that ask for one, so that the others load no surrogate."""
    from app.main import create_app
    from app.model_versions import service as model_versions

    if "champion" not in request.fixturenames:
        monkeypatch.setattr(model_versions, "register_shipped", lambda database: None)
    created = create_app(settings)
    yield created
    created.state.database.close()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the started service."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the test client asks for a newer httpx than there is
        from fastapi.testclient import TestClient

    with TestClient(app) as started:
        yield started


@pytest.fixture
def replace_state(client: TestClient) -> Iterator[Callable[[str, object], None]]:
    """Puts something else on the application's state until the test ends."""
    state = client.app.state  # type: ignore[attr-defined]
    kept: dict[str, object] = {}

    def replace(name: str, value: object) -> None:
        kept.setdefault(name, getattr(state, name))
        setattr(state, name, value)

    yield replace
    for name, value in kept.items():
        setattr(state, name, value)


@pytest.fixture
def database(app: FastAPI) -> Database:
    """The service's database."""
    opened: Database = app.state.database
    return opened


@pytest.fixture
def post_task(client: TestClient) -> Callable[..., dict[str, Any]]:
    """Creates a task on nasbench201 and answers its document."""

    def post(name: str = "digits", **changes: Any) -> dict[str, Any]:
        body = {
            "name": name,
            "search_space": "nasbench201",
            "dataset": "digits",
            "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
            **changes,
        }
        answer = client.post("/v1/tasks", json=body)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    return post


@pytest.fixture
def cells(client: TestClient) -> list[dict[str, str]]:
    """Forty different architectures of nasbench201: `id` and `genotype` of each."""
    drawn = client.get("/v1/search-spaces/nasbench201/sample?count=80&seed=3").json()["architectures"]
    different = list({cell["id"]: cell for cell in drawn}.values())
    return different[:40]
