"""Engine and transactions. One request or one job is one transaction, committed where `read` or `write` ends.

On SQLite writers begin with BEGIN IMMEDIATE, so that they wait for each other instead of failing half-way, and wait in
line inside one process; readers see the last committed state and are never kept waiting. On PostgreSQL readers get one
snapshot and cannot write.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, Session

BUSY_TIMEOUT_SECONDS = 60
_MIGRATION_LOCK = 7_275_832  # any number that nothing else on the server locks


def _to_json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


_SHARED: dict[str, Any] = {
    "pool_size": 20,
    "max_overflow": 40,
    "pool_use_lifo": True,  # the connections used last again, so that few fill their caches
    "json_serializer": _to_json,
    "json_deserializer": orjson.loads,
}


class Database:
    """Opens transactions. May be shared by all threads; one transaction belongs to one thread.

    Raises:
        ValueError: if the URL names an in-memory SQLite database, which threads cannot share.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _server_engine(self.url)
        self._readers, self._writers = _reading(self.engine), _writing(self.engine)
        self._line = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the database and cannot change it."""
        with Session(self._readers, autoflush=False, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end of the block and rolled back on any error. Must not be nested."""
        with self._line, Session(self._writers, expire_on_commit=False) as session, session.begin():
            session.connection()  # takes the write lock now, so that everything read below is still true at the commit
            yield session

    @contextmanager
    def migrate(self) -> Iterator[Connection]:
        """A transaction that may rebuild tables; one process has it at a time, and foreign keys are checked at its end."""
        with self._line, self.engine.connect() as connection, _rebuilding(connection):
            yield connection

    def ping(self) -> None:
        """Raises SQLAlchemy's error if the database cannot be reached."""
        with self._readers.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes all idle connections."""
        self.engine.dispose()


def _server_engine(url: URL) -> Engine:
    return create_engine(url, pool_pre_ping=True, **_SHARED)


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ValueError(f"expected a database that threads can share, such as sqlite:///archcast.sqlite3, got {url}")
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        **_SHARED,
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _reading(engine: Engine) -> Engine:
    if engine.dialect.name == "postgresql":
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(archcast_access="read")


def _writing(engine: Engine) -> Engine:
    return engine.execution_options(archcast_access="write")


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin on its own, too late and not IMMEDIATE
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "cache_size = -8192"):
        connection.execute(f"PRAGMA {pragma}").close()


@contextmanager
def _rebuilding(connection: Connection) -> Iterator[None]:
    if connection.dialect.name != "sqlite":
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute(
        "PRAGMA foreign_keys = OFF"
    ).close()  # a table is rebuilt by dropping it, which would drop its children
    try:
        with connection.begin():
            yield
            _check_foreign_keys(connection)
    finally:
        driver.execute("PRAGMA foreign_keys = ON").close()


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(5)
    if broken:
        raise RuntimeError(f"expected a migration to leave no row without its parent, got {broken}")


def _begin_sqlite(connection: Connection) -> None:
    access = connection.get_execution_options().get("archcast_access")
    connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if access == 'read' else 'OFF'}")
    connection.exec_driver_sql("BEGIN" if access == "read" else "BEGIN IMMEDIATE")


def insert_new(session: Session, table: type[DeclarativeBase], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows whose keys are new and leaves the others as they are."""
    dialect = session.get_bind().dialect.name
    statement: Any = {"sqlite": sqlite, "postgresql": postgresql}[dialect].insert(table).on_conflict_do_nothing()
    if rows:
        session.execute(statement, list(rows))
