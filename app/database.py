"""Engine and transactions. One request or one job is one transaction, committed where `read` or `write` ends.

On SQLite writers begin with BEGIN IMMEDIATE, so that they wait for each other instead of failing half-way, and wait in
line inside one process; readers see the last committed state and are never kept waiting. On PostgreSQL readers get one
snapshot and cannot write; writers see what was committed when each of their statements began (READ COMMITTED), run side by
side, and lock what they decide by: a task's row, a job's row, or a `Turn` where there may be no row yet.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from app import deadlines

BUSY_TIMEOUT_SECONDS = 60
_STEPS_BETWEEN_LOOKS = 100_000  # of SQLite's virtual machine: a millisecond or so
_WAL_PAUSE_SECONDS = 0.01
_SQLITE_MOMENT = "archcast_moment"
_IDLE_TIMEOUT_SECONDS = 300  # a process that froze inside a transaction holds its locks no longer than this


def _to_json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


_SHARED: dict[str, Any] = {
    "pool_use_lifo": True,  # the connections used last again, so that few fill their caches
    "json_serializer": _to_json,
    "json_deserializer": orjson.loads,
}
_SERVER_POOL = {"pool_size": 10, "max_overflow": 10}  # of each process: a server allows 100 connections by default
_SERVER_CONNECTION = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


class Turn(IntEnum):
    """What only one transaction at a time may decide. Any numbers that nobody else locks in the same database."""

    MIGRATE = 7_275_832
    CHANGE_CHAMPION = 7_275_833
    SCHEDULE_FINE_TUNE = 7_275_834
    FIRST_KEY = 7_275_840
    CLAIM_LIMITED = 7_275_835


class Database:
    """Opens transactions. May be shared by all threads; one transaction belongs to one thread.

    A statement ends with an error when the deadline of whoever runs it is over (SQLite), or after `statement_seconds`
    (PostgreSQL). A transaction neither begins after the deadline, nor is it committed.

    Raises:
        ValueError: if the URL names an in-memory SQLite database, which threads cannot share, or another kind of database.
    """

    def __init__(self, url: str, statement_seconds: float | None = None) -> None:
        self.url = make_url(url)
        if self.url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError(f"expected a URL such as sqlite:///FILE or postgresql+psycopg://HOST/NAME, got {self.url}")
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _server_engine(self.url, statement_seconds)
        self._readers, self._writers = _reading(self.engine), _writing(self.engine)
        self._line = threading.Lock() if self.is_sqlite else nullcontext()
        self._before_commit: list[Callable[[Session], None]] = []

    def before_commit(self, hook: Callable[[Session], None]) -> None:
        """Calls `hook` at the end of every write transaction, inside it."""
        self._before_commit.append(hook)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that sees one state of the database and cannot change it."""
        deadlines.check()
        joint = self._joint()
        if joint is not None and joint.has_begun:
            with joint.read() as session:
                yield session
            return
        with Session(self._readers, autoflush=False, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write(self, *, commits_at_once: bool = False, is_change: bool = True) -> Iterator[Session]:
        """A transaction that is committed at the end of the block and rolled back on any error. Must not be nested.

        Inside of `together` it is committed with the others there, unless it `commits_at_once`: for work in several steps
        that may be begun again after any of them. Where it is no change that anybody asked for, no hook sees it, and it is
        made after the deadline too.
        """
        if is_change:
            deadlines.check()
        joint = self._joint()
        if joint is not None and joint.has_begun and commits_at_once:
            raise RuntimeError("expected a step that commits at once to come before anything that waits, got it after")
        if joint is None or commits_at_once:
            with self._line, Session(self._writers, expire_on_commit=False) as session, session.begin():
                session.connection()  # takes the write lock now, so that what is read below is still true at the commit
                yield session
                if is_change:
                    self._ending(session)
            return
        with joint.write() as session:
            yield session

    def _ending(self, session: Session) -> None:
        """What comes between the work of a transaction and its commit."""
        for hook in self._before_commit:
            hook(session)
        session.flush()
        deadlines.check()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that this thread writes inside of the block is one transaction, committed at its end: every change, or none."""
        joint = _JointTransaction(self)
        token = _current.set(joint)
        try:
            yield
            joint.commit()
        finally:
            _current.reset(token)
            joint.close()

    def _joint(self) -> _JointTransaction | None:
        joint = _current.get()
        return joint if joint is not None and joint.database is self else None

    def _begun(self, kept: ExitStack) -> Session:
        """A write transaction that ends where `kept` is closed; what was not committed by then is rolled back."""
        kept.enter_context(self._line)
        session = kept.enter_context(Session(self._writers, expire_on_commit=False))
        session.begin()
        session.connection()
        return session

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


class _JointTransaction:
    """The transaction of `Database.together`. It begins with the first write; later ones are savepoints of it, and reads see
    what was written. Belongs to one thread."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._kept = ExitStack()
        self._session: Session | None = None

    @property
    def has_begun(self) -> bool:
        """Whether anything was written."""
        return self._session is not None

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A look at what the transaction has made of the database so far."""
        with Session(self._connection(), autoflush=False, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A part of the transaction; an error undoes this part alone."""
        if self._session is not None:
            options: dict[str, Any] = {"join_transaction_mode": "create_savepoint", "expire_on_commit": False}
            with Session(self._connection(), **options) as session, session.begin():
                yield session
            return
        self._session = self.database._begun(self._kept)
        try:
            yield self._session
            self._session.flush()
        except BaseException:
            self.close()
            raise

    def commit(self) -> None:
        """Commits all parts."""
        if self._session is not None:
            self.database._ending(self._session)
            self._session.commit()

    def close(self) -> None:
        """Rolls back what was not committed."""
        self._session = None
        self._kept.close()

    def _connection(self) -> Connection:
        if self._session is None:
            raise RuntimeError("expected a transaction that has begun, got one without a write")
        return self._session.connection()


_current: ContextVar[_JointTransaction | None] = ContextVar("joint_transaction", default=None)


def _server_engine(url: URL, statement_seconds: float | None) -> Engine:
    defaults = {name: value for name, value in _SERVER_CONNECTION.items() if name not in url.query}
    engine = create_engine(url, pool_pre_ping=True, connect_args=defaults, **_SERVER_POOL, **_SHARED)

    def configure(connection: Any, _record: object) -> None:
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_TIMEOUT_SECONDS}s'")
        if statement_seconds is not None:
            connection.execute(f"SET statement_timeout = '{round(statement_seconds * 1e3)}ms'")
        connection.autocommit = False

    event.listen(engine, "connect", configure)
    return engine


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ValueError(f"expected a database that threads can share, such as sqlite:///archcast.sqlite3, got {url}")
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        pool_size=20,
        max_overflow=40,
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
    _enter_wal(connection)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON", "cache_size = -8192"):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.create_function(_SQLITE_MOMENT, 0, _moment)
    connection.set_progress_handler(deadlines.is_over, _STEPS_BETWEEN_LOOKS)  # True interrupts the statement


def _moment() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy writes moments for SQLite


def _enter_wal(connection: Any) -> None:
    """Journals ahead. The first to open a new file changes its mode under an exclusive lock, for which SQLite lets nobody wait:
    who comes second is told at once that the file is busy, whatever its timeout says, and has to ask again."""
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if (
                error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                or time.monotonic() > until
            ):
                raise
        time.sleep(_WAL_PAUSE_SECONDS)


@contextmanager
def _rebuilding(connection: Connection) -> Iterator[None]:
    if connection.dialect.name != "sqlite":
        with connection.begin():
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # another process may migrate for long
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(_turn(Turn.MIGRATE))
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


class walked(GenericFunction[Any]):  # noqa: N801 - named as SQL names functions
    """A column that is compared row by row along the index that the order asks for.

    SQLite counts no rows beforehand and prefers any index on a filter to the one that gives the order, and then sorts all that
    is left; a plus before the column forbids it that. PostgreSQL knows how many rows there are and decides by itself.
    """

    inherit_cache = True


@compiles(walked, "sqlite")
def _walked_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(walked)
def _walked_elsewhere(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


class moment(FunctionElement[datetime]):  # noqa: N801 - named as SQL names functions
    """The present moment by the database's clock: what is stamped with it can be compared, whoever wrote it. SQLite has none
    that knows microseconds, and is told the time by the process."""

    inherit_cache = True


@compiles(moment, "sqlite")
def _moment_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"{_SQLITE_MOMENT}()"


@compiles(moment)
def _moment_elsewhere(element: Any, compiler: Any, **options: Any) -> str:
    return "clock_timestamp()"


def take_turns(session: Session, turn: Turn) -> None:
    """Waits until no other transaction has this turn, and keeps it until this one ends. On SQLite writers wait in line
    anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_turn(turn))


def need_not_survive_power_loss(session: Session) -> None:
    """Lets the commit return before it is on PostgreSQL's disk. What is committed after it is never on disk without it.
    SQLite does not wait for the disk in any case."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL synchronous_commit TO OFF"))


def _turn(turn: Turn) -> Any:
    return select(func.pg_advisory_xact_lock(int(turn)))


def insert_new(session: Session, table: type[DeclarativeBase], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows whose keys are new and leaves the others as they are.

    In the order of their keys: two transactions that insert the same rows wait for each other, but never in a circle.
    """
    keys = [column.name for column in inspect(table).primary_key]
    if rows:
        ordered = sorted(rows, key=lambda row: [row[key] for key in keys])
        session.execute(_insert_or_leave(session, table), ordered)


def insert_if_new(session: Session, table: type[DeclarativeBase], row: dict[str, Any]) -> Any | None:
    """Inserts the row; its primary key, or None if a unique key of it is taken. Waits for others who insert the same."""
    statement = _insert_or_leave(session, table).values(**row).returning(*inspect(table).primary_key)
    return session.scalar(statement)


def _insert_or_leave(session: Session, table: type[DeclarativeBase]) -> Any:
    dialect = session.get_bind().dialect.name
    return {"sqlite": sqlite, "postgresql": postgresql}[dialect].insert(table).on_conflict_do_nothing()
