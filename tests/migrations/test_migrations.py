"""The migrated schema is the declared one, and the way there and back is safe."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
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
PROCESS = """
import sys
from app import migration
from app.database import Database
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
migration.upgrade(database)
print(migration.is_current(database))
"""
DEFINITIONS = {
    "sqlite": ["SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"],
    "postgresql": [
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "SELECT attrelid::regclass || '.' || attname, format_type(atttypid, atttypmod) || ' ' || attnotnull || ' ' || "
        "coalesce(pg_get_expr(adbin, adrelid), '') FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0",
    ],
}

both_engines = pytest.mark.both_engines


@pytest.fixture
def empty(new_database: Callable[[], Database]) -> Database:
    return new_database()


def _tables(database: Database) -> set[str]:
    with database.read() as session:
        connection: Connection = session.connection()
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def _definitions(database: Database) -> set[tuple[str, str]]:
    """The database's own words for columns, indexes and constraints."""
    found: set[tuple[str, str]] = set()
    with database.read() as session:
        for query in DEFINITIONS[database.engine.dialect.name]:
            found.update((name, " ".join(sql.split())) for name, sql in session.execute(text(query)))
    return {(name, sql) for name, sql in found if "alembic_version" not in name}


@both_engines
def test_the_migrated_schema_equals_the_declared_one(empty: Database) -> None:
    migration.upgrade(empty)

    with empty.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Table.metadata) == []


@both_engines
def test_the_database_has_the_same_words_for_the_migrated_and_the_declared_schema(
    new_database: Callable[[], Database],
) -> None:
    migrated, declared = new_database(), new_database()
    Table.metadata.create_all(declared.engine)

    migration.upgrade(migrated)

    assert _definitions(migrated) == _definitions(declared)
    assert any("superseded_by_id IS NULL" in sql for _, sql in _definitions(migrated))


@both_engines
def test_the_way_down_and_up_again_ends_where_it_began(empty: Database) -> None:
    migration.upgrade(empty)
    migrated = _tables(empty), _definitions(empty)

    migration.downgrade(empty)
    assert _tables(empty) == set()
    migration.upgrade(empty)

    assert (_tables(empty), _definitions(empty)) == migrated
    assert _tables(empty) == set(Table.metadata.tables)


@both_engines
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


@both_engines
def test_tasks_from_before_projects_belong_to_the_default_one_and_those_of_the_program_to_nobody(
    empty: Database,
) -> None:
    before = "c80769c24f29"
    shipped = "nasbench201.digits.accuracy"
    migration.upgrade(empty, before)
    with empty.write() as session:
        for statement in _OBSERVED:
            session.execute(text(statement))
        session.execute(text(_OBSERVED[1].replace("(1, 't'", f"(2, '{shipped}'")))

    migration.upgrade(empty)
    with empty.read() as session:
        owners = "SELECT tasks.name, projects.name FROM tasks LEFT JOIN projects ON projects.id = project_id ORDER BY tasks.id"
        assert session.execute(text(owners)).all() == [("t", "default"), (shipped, None)]
        assert session.execute(text("SELECT task_id FROM observations")).scalars().all() == [1]
    migration.downgrade(empty, before)

    with empty.read() as session:
        assert session.execute(text("SELECT id, name FROM tasks ORDER BY id")).all() == [(1, "t"), (2, shipped)]
        assert session.execute(text("SELECT task_id FROM observations")).scalars().all() == [1]


@both_engines
def test_a_database_is_current_only_after_the_newest_migration(empty: Database) -> None:
    assert not migration.is_current(empty)
    migration.upgrade(empty)
    assert migration.is_current(empty)


@both_engines
def test_threads_that_start_together_migrate_once(empty: Database, reopened: Callable[[Database], Database]) -> None:
    several = [reopened(empty) for _ in range(4)]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migration.upgrade, several))

    assert all(migration.is_current(database) for database in several)


@both_engines
def test_processes_that_start_together_all_end_well(empty: Database) -> None:
    url = empty.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", PROCESS, url]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    for process in started:
        assert process.stdout is not None
        process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120.0) for process in started]

    assert [process.returncode for process in started] == [0, 0], said
    assert [output for output, _ in said] == ["True\n", "True\n"]


@both_engines
def test_a_current_database_is_used_while_another_process_migrates(
    empty: Database, reopened: Callable[[Database], Database]
) -> None:
    migration.upgrade(empty)
    other = reopened(empty)

    with empty.migrate(), ThreadPoolExecutor(1) as thread:
        thread.submit(migration.upgrade, other).result(timeout=30.0)


@both_engines
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
