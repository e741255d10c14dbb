"""Backup and restore: whole, of one moment, while others write; and nothing is lost where something is wrong."""

from __future__ import annotations

import sqlite3
import threading
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from app import backups, migration
from app.database import Database
from app.errors import ConflictError, InvalidContentError, NotFoundError
from app.settings import Settings

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Cells = list[dict[str, str]]


@pytest.fixture
def programs(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The folder of pg_dump and pg_restore: those of the tests' server."""
    if engine == "sqlite":
        return None
    from postgresql_server import client_programs

    request.getfixturevalue("postgresql")
    return client_programs(tmp_path)


@pytest.fixture
def kept(settings: Settings, programs: Path | None) -> Settings:
    return settings.model_copy(update={"postgresql_programs": programs})


@pytest.fixture
def elsewhere(engine: str, kept: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings of another database, without any table."""
    if engine == "sqlite":
        yield kept.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'other' / 'restored.sqlite3'}"})
        return
    with request.getfixturevalue("postgresql").database() as url:
        yield kept.model_copy(update={"database_url": url})


def contents(settings: Settings) -> dict[str, list[Any]]:
    with closing(Database(settings.database_url)) as database, database.read() as session:
        queries = {
            "observations": "SELECT id, value, client_key FROM observations ORDER BY id",
            "tasks": "SELECT id, name, num_observations, revision FROM tasks ORDER BY id",
            "versions": "SELECT id, weights FROM model_versions ORDER BY id",
        }
        return {name: [tuple(row) for row in session.execute(text(query))] for name, query in queries.items()}


@pytest.mark.both_engines
@pytest.mark.usefixtures("champion")
def test_a_backup_taken_while_others_write_is_of_one_moment_and_whole(
    client: TestClient, post_task: Any, cells: Cells, kept: Settings, elsewhere: Settings, tmp_path: Path, engine: str
) -> None:
    post_task()
    written, stopped = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stopped.is_set():
            rows = [
                {
                    "architecture": cells[number % 40]["genotype"],
                    "value": float(number),
                    "client_key": f"{number}-{side}",
                }
                for side in ("left", "right")
            ]
            answer = client.post("/v1/tasks/digits/observations", json={"observations": rows})
            assert answer.status_code == 201
            number += 1
            if number == 5:
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(60)
    manifest = backups.back_up(kept, tmp_path / "saved" / "archcast.zip")
    stopped.set()
    writer.join()
    restored = backups.restore(elsewhere, tmp_path / "saved" / "archcast.zip")

    now, then = contents(kept), contents(elsewhere)
    assert manifest == restored
    assert manifest.engine == engine
    assert manifest.schema_revision == migration.head()
    count = len(then["observations"])
    assert 10 <= count <= len(now["observations"])
    assert then["observations"] == now["observations"][:count]
    assert count % 2 == 0  # never half of a transaction
    assert then["tasks"][0][2] == count
    assert then["versions"] == now["versions"]
    assert len(then["versions"]) == 1


@pytest.mark.both_engines
def test_a_database_with_tables_is_replaced_only_by_force(
    client: TestClient, post_task: Any, kept: Settings, tmp_path: Path, engine: str
) -> None:
    post_task("before")
    backups.back_up(kept, tmp_path / "one.zip")
    post_task("after")

    with pytest.raises(ConflictError, match="or --force"):
        backups.restore(kept, tmp_path / "one.zip")
    assert [row[1] for row in contents(kept)["tasks"]] == ["before", "after"]
    client.__exit__(None, None, None)  # whoever restores stops the service first
    backups.restore(kept, tmp_path / "one.zip", force=True)

    assert [row[1] for row in contents(kept)["tasks"]] == ["before"]


@pytest.mark.both_engines
def test_a_file_is_replaced_only_by_force(kept: Settings, tmp_path: Path, engine: str) -> None:
    (tmp_path / "one.zip").write_text("mine")

    with pytest.raises(ConflictError, match="which exists"):
        backups.back_up(kept, tmp_path / "one.zip")
    backups.back_up(kept, tmp_path / "one.zip", force=True)

    assert backups.read_manifest(tmp_path / "one.zip").engine == engine


@pytest.mark.both_engines
def test_damage_is_noticed_and_nothing_is_restored(
    kept: Settings, elsewhere: Settings, tmp_path: Path, engine: str
) -> None:
    backups.back_up(kept, tmp_path / "one.zip")
    manifest = backups.read_manifest(tmp_path / "one.zip")
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        name, content = "manifest.json", archive.read("manifest.json")
        data = bytearray(archive.read(manifest.member))
    data[len(data) // 2] ^= 0xFF
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, content)
        archive.writestr(manifest.member, bytes(data))

    with pytest.raises(InvalidContentError, match="it is damaged"):
        backups.restore(elsewhere, tmp_path / "bad.zip")

    with closing(Database(elsewhere.database_url)) as database:
        assert migration.revision(database) is None


def test_what_is_no_backup_is_refused(kept: Settings, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")

    with pytest.raises(InvalidContentError, match="expected a backup"):
        backups.restore(kept, tmp_path / "notes.txt", force=True)


def test_a_schema_of_a_newer_program_is_refused(kept: Settings, elsewhere: Settings, tmp_path: Path) -> None:
    with closing(sqlite3.connect(kept.database_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.commit()
    backups.back_up(kept, tmp_path / "one.zip")

    with pytest.raises(InvalidContentError, match="a schema that this program knows, got ffffffffffff"):
        backups.restore(elsewhere, tmp_path / "one.zip")


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "nothing")

    with pytest.raises(NotFoundError, match="got no such file"):
        backups.back_up(settings, tmp_path / "one.zip")

    assert not (tmp_path / "one.zip").exists()
    assert not (tmp_path / "nothing").exists()


def test_without_pg_dump_the_error_says_what_to_install(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none", postgresql_programs=tmp_path
    )

    with pytest.raises(NotFoundError, match="install PostgreSQL's client programs"):
        backups.back_up(settings, tmp_path / "one.zip")


def test_a_backup_of_the_other_kind_of_database_is_refused(kept: Settings, tmp_path: Path) -> None:
    backups.back_up(kept, tmp_path / "one.zip")
    other = Settings(data_dir=tmp_path, database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")

    with pytest.raises(InvalidContentError, match="expected a backup of postgresql, got one of sqlite"):
        backups.restore(other, tmp_path / "one.zip")


def test_while_somebody_writes_nothing_is_put_in_its_place(
    kept: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.back_up(kept, tmp_path / "one.zip")
    monkeypatch.setattr("app.backup_engines.BUSY_TIMEOUT_SECONDS", 0)
    with (
        closing(Database(kept.database_url)) as database,
        database.write(),
        pytest.raises(ConflictError, match="stop all services and workers first"),
    ):
        backups.restore(kept, tmp_path / "one.zip", force=True)


def test_what_is_no_database_is_left_alone(kept: Settings, tmp_path: Path) -> None:
    backups.back_up(kept, tmp_path / "one.zip")
    target = tmp_path / "notes.txt"
    target.write_text("something else entirely " * 100)
    other = kept.model_copy(update={"database_url": f"sqlite:///{target}"})

    with pytest.raises(ConflictError, match="or --force"):
        backups.restore(other, tmp_path / "one.zip")
    with pytest.raises(ConflictError, match="move it away"):
        backups.restore(other, tmp_path / "one.zip", force=True)

    assert target.read_text().startswith("something else")
