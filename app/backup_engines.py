"""How each kind of database is copied and put back: SQLite by its online backup, PostgreSQL by pg_dump and pg_restore."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from sqlalchemy import URL, inspect, make_url

from app import migration
from app.database import BUSY_TIMEOUT_SECONDS, Database
from app.errors import ConflictError, InvalidContentError, NotFoundError
from app.settings import Settings

_REVISION = "SELECT version_num FROM alembic_version"


class Engine(ABC):
    """One database, as backups see it."""

    name: ClassVar[str]
    member: ClassVar[str]

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for people; without a password."""

    @abstractmethod
    def copy(self, file: Path) -> None:
        """Writes one consistent state of it into a new file; raises NotFoundError or InvalidContentError."""

    @abstractmethod
    def revision_of(self, file: Path) -> str:
        """The schema's revision in such a file."""

    @abstractmethod
    def check(self, file: Path, revision: str) -> None:
        """Raises InvalidContentError if the file is not whole, or not of that schema, or this program does not know it."""

    @abstractmethod
    def is_filled(self) -> bool:
        """Whether there is anything in the database."""

    @abstractmethod
    def put(self, file: Path) -> None:
        """Puts the file in the place of the database: all of it, or nothing is changed."""


def engine_of(settings: Settings) -> Engine:
    """The database of the settings."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        return SqliteEngine(Path(str(url.database)))
    return PostgresqlEngine(url, settings.postgresql_programs)


class SqliteEngine(Engine):
    """One file, with its write-ahead log beside it."""

    name = "sqlite"
    member = "database.sqlite3"

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def place(self) -> str:
        return str(self._file)

    def copy(self, file: Path) -> None:
        if not self._file.exists():
            raise NotFoundError(f"expected a database at {self._file}, got no such file")
        with closing(_opened(self._file)) as source, closing(sqlite3.connect(file)) as target:
            source.backup(
                target
            )  # in one step, so that no writer makes it begin anew; writers are not kept waiting (WAL)
            target.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, without a log beside it
        self._check_whole(file)

    def revision_of(self, file: Path) -> str:
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
                row = connection.execute(_REVISION).fetchone()
        except sqlite3.DatabaseError as error:
            raise InvalidContentError(f"expected a database of Archcast in {self.place}, got {error}") from error
        if row is None:
            raise InvalidContentError(f"expected a migrated database in {self.place}, got one without a revision")
        return str(row[0])

    def check(self, file: Path, revision: str) -> None:
        self._check_whole(file)
        _check_revision(self.revision_of(file), revision)

    def is_filled(self) -> bool:
        if not self._file.exists() or not self._file.stat().st_size:
            return False
        try:
            with closing(_opened(self._file)) as connection:
                return bool(connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall())
        except sqlite3.DatabaseError:
            return True  # whatever it is, it is somebody's

    def put(self, file: Path) -> None:
        """In one transaction of SQLite's: whoever still has the database open sees the one state or the other."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as source, closing(_opened(self._file)) as target:
            try:
                target.execute("PRAGMA journal_mode = WAL").fetchall()
                target.execute("BEGIN EXCLUSIVE")
                target.execute("ROLLBACK")
                source.backup(target)
            except sqlite3.OperationalError as error:
                message = (
                    f"expected to have {self._file} to ourselves, got {error}: stop all services and workers first"
                )
                raise ConflictError(message) from error
            except sqlite3.DatabaseError as error:
                message = (
                    f"expected a database that can be replaced, got {self._file}, which is none ({error}): move it away"
                )
                raise ConflictError(message) from error

    def _check_whole(self, file: Path) -> None:
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
                said = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
                orphans = connection.execute("PRAGMA foreign_key_check").fetchmany(5)
        except sqlite3.DatabaseError as error:
            raise InvalidContentError(f"expected a whole database, got {error}") from error
        if said != ["ok"] or orphans:
            raise InvalidContentError(f"expected a whole database, got {said} and rows without their parents {orphans}")


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)


class PostgresqlEngine(Engine):
    """A database on a server. The programs are those of the setting, or on PATH."""

    name = "postgresql"
    member = "database.dump"

    def __init__(self, url: URL, programs: Path | None) -> None:
        self._url, self._programs = url, programs

    @property
    def place(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def copy(self, file: Path) -> None:
        self._run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}", self._connection)

    def revision_of(self, file: Path) -> str:
        """From the dump itself, which is of one moment."""
        printed = self._run("pg_restore", "--data-only", "--table=alembic_version", "--file=-", str(file))
        lines = printed.splitlines()
        begins = [number for number, line in enumerate(lines) if line.startswith("COPY ") and "alembic_version" in line]
        if not begins or lines[begins[0] + 1] == "\\.":
            raise InvalidContentError(f"expected a migrated database in {self.place}, got one without a revision")
        return lines[begins[0] + 1]

    def check(self, file: Path, revision: str) -> None:
        self._run("pg_restore", "--file=/dev/null", str(file))  # reads all of it
        _check_revision(self.revision_of(file), revision)

    def is_filled(self) -> bool:
        return bool(self._tables())

    def put(self, file: Path) -> None:
        """In one transaction."""
        listed = self._run("pg_restore", "--list", str(file))
        known = {line.split()[5] for line in listed.splitlines() if " TABLE public " in line and " DATA " not in line}
        foreign = sorted(self._tables() - known)
        if foreign:
            message = f"expected a database with no other tables than the backup's, got {', '.join(foreign[:5])}"
            raise ConflictError(f"{message}: restore into an empty database")
        options = ("--single-transaction", "--exit-on-error", "--clean", "--if-exists", "--no-owner", "--no-privileges")
        self._run("pg_restore", *options, f"--dbname={self._connection}", str(file))

    def _tables(self) -> set[str]:
        with closing(Database(self._url.render_as_string(hide_password=False))) as database:
            return set(inspect(database.engine).get_table_names())

    @property
    def _connection(self) -> str:
        """Without the password, which other users could read among the arguments."""
        return self._url.set(drivername="postgresql", password=None).render_as_string()

    def _run(self, program: str, *arguments: str) -> str:
        environment = dict(os.environ)
        if self._url.password is not None:
            environment["PGPASSWORD"] = str(self._url.password)
        command = [self._path_of(program), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InvalidContentError(f"expected {program} to end well, got {done.stderr.strip()[-2_000:]}")
        return done.stdout

    def _path_of(self, program: str) -> str:
        found = shutil.which(program, path=None if self._programs is None else str(self._programs))
        if found is None:
            where = "on PATH" if self._programs is None else f"in {self._programs}"
            raise NotFoundError(
                f"expected {program} {where}, got none: install PostgreSQL's client programs of the server's version or "
                "newer, or name their folder in ARCHCAST_POSTGRESQL_PROGRAMS"
            )
        return found


def _check_revision(found: str, promised: str) -> None:
    if found != promised:
        raise InvalidContentError(f"expected the schema {promised} that the manifest names, got {found}")
    if not migration.is_known(found):
        raise InvalidContentError(
            f"expected a schema that this program knows, got {found}: restore with the Archcast that made the backup, or newer"
        )
