"""The migrated schema is the declared one, and the way there and back is safe."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

import migrations
from app import migration
from app.database import Database
from app.tables import Table

VERSIONS = sorted((Path(migrations.__file__).parent / "versions").glob("*.py"))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'migrated.sqlite3'}")
    yield database
    database.close()


def _tables(database: Database) -> set[str]:
    with database.read() as session:
        connection: Connection = session.connection()
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_the_migrated_schema_equals_the_declared_one(empty: Database) -> None:
    migration.upgrade(empty)

    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_partial_indexes_and_constraint_names_are_the_declared_ones(empty: Database, tmp_path: Path) -> None:
    declared = Database(f"sqlite:///{tmp_path / 'declared.sqlite3'}")
    Table.metadata.create_all(declared.engine)
    migration.upgrade(empty)

    def indexes(database: Database) -> dict[str, str]:
        with database.read() as session:
            rows = session.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
            return {name: " ".join(sql.split()) for name, sql in rows}

    assert indexes(empty) == indexes(declared)
    declared.close()


def test_the_way_down_and_up_again_ends_where_it_began(empty: Database) -> None:
    migration.upgrade(empty)
    migrated = _tables(empty)

    migration.downgrade(empty)
    assert _tables(empty) == set()
    migration.upgrade(empty)

    assert _tables(empty) == migrated == set(Table.metadata.tables)


def test_upgrading_what_is_current_keeps_the_data(empty: Database) -> None:
    migration.upgrade(empty)
    with empty.write() as session:
        session.execute(
            text(
                "INSERT INTO search_spaces (name, kind, description, created_at) VALUES ('a', 'graph', '', '2026-01-01')"
            )
        )

    migration.upgrade(empty)

    with empty.read() as session:
        assert session.execute(text("SELECT name FROM search_spaces")).scalars().all() == ["a"]


_OBSERVED = (
    "INSERT INTO search_spaces (name, kind, description, created_at) VALUES ('a', 'graph', '', '2026-01-01')",
    "INSERT INTO tasks (id, name, search_space, dataset, metric, unit, direction, metadata, num_observations, revision,"
    " created_at) VALUES (1, 't', 'a', 'd', 'm', '%', 'maximize', '{}', 1, 1, '2026-01-01')",
    "INSERT INTO architectures (id, hash_algorithm, graph, created_at) VALUES ('x', 'h', '{}', '2026-01-01')",
    "INSERT INTO observations (id, task_id, architecture_id, status, value, created_at)"
    " VALUES (5, 1, 'x', 'ok', 0.5, '2026-01-01')",
)


def test_observations_from_before_errors_could_be_told_are_kept_both_ways(empty: Database) -> None:
    first = "81afd215bea9"
    migration.upgrade(empty, first)
    with empty.write() as session:
        for statement in _OBSERVED:
            session.execute(text(statement))

    migration.upgrade(empty)
    with empty.write() as session:
        assert session.execute(text("SELECT id, value, std_error FROM observations")).all() == [(5, 0.5, None)]
        session.execute(text("UPDATE observations SET std_error = 0.1"))
    migration.downgrade(empty, first)

    with empty.read() as session:
        assert session.execute(text("SELECT id, value FROM observations")).all() == [(5, 0.5)]
        columns = {column["name"] for column in inspect(session.connection()).get_columns("observations")}
        assert "std_error" not in columns
        assert {index["name"] for index in inspect(session.connection()).get_indexes("observations")} == {
            "ix_observations_architecture_id", "ix_observations_current", "ix_observations_task_id_id"
        }  # fmt: skip


def test_a_database_is_current_only_after_the_newest_migration(empty: Database) -> None:
    assert not migration.is_current(empty)
    migration.upgrade(empty)
    assert migration.is_current(empty)


def test_processes_that_start_together_migrate_once(empty: Database) -> None:
    several = [Database(empty.url.render_as_string()) for _ in range(4)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migration.upgrade, several))

    assert all(migration.is_current(database) for database in several)
    for database in several:
        database.close()


def test_a_migration_that_fails_leaves_nothing_behind(empty: Database) -> None:
    def fail_half_way() -> None:
        with empty.migrate() as connection:
            connection.exec_driver_sql("CREATE TABLE half_done (id INTEGER)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()

    assert _tables(empty) == set()


def test_foreign_keys_are_enforced_again_after_a_migration(empty: Database) -> None:
    with empty.migrate() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 0

    with empty.write() as session:
        assert session.execute(text("PRAGMA foreign_keys")).scalar_one() == 1


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_migrations_know_nothing_of_the_application(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert not {name for name in imported if name.split(".")[0] in ("app", "predictor")}
