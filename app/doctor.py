"""Looks for what is wrong with a service: each check says what it found, and what to do about it. Nothing is changed."""

from __future__ import annotations

import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from app import clock, migration
from app.database import Database
from app.errors import AppError
from app.inference import version_of
from app.inference.datasets import DatasetCatalogue
from app.inference.devices import gpu_names
from app.settings import Settings, contradictions, unknown_variables
from app.tables import AliasRecord, JobRecord, ModelVersionRecord, utc_now

Level = Literal["ok", "warning", "error"]

_PACKAGES = ("archcast", "torch", "numpy", "fastapi", "pydantic", "sqlalchemy", "alembic", "httpx")
_LOW_BYTES, _FULL_BYTES = 2 * 2**30, 200 * 2**20
_WAITING_SECONDS, _CLOCK_SECONDS = 60.0, 2.0
_OLDEST_SQLITE, _OLDEST_POSTGRESQL = (3, 35), 15
_NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p")


@dataclass(frozen=True)
class Finding:
    """What one check found, and what to do about it where something is wrong."""

    check: str
    level: Level
    message: str
    advice: str = ""


def is_ill(findings: Sequence[Finding], *, strict: bool) -> bool:
    """Whether anything is broken; with `strict` also whether anything is doubtful."""
    return any(one.level == "error" or (strict and one.level == "warning") for one in findings)


def examined(settings: Settings) -> list[Finding]:
    """All findings. Checks that need the database are left out where it cannot be reached."""
    found = [*_versions(), *_gpu(), *_settings(settings), *_datasets(settings), *_disk(settings)]
    file = _sqlite_file(settings)
    if file is not None and not file.exists():
        advice = "Start `archcast serve`, which makes one, or set ARCHCAST_DATA_DIR or ARCHCAST_DATABASE_URL."
        return [*found, Finding("database", "error", f"there is no {file}", advice)]
    with closing(Database(settings.database_url)) as database:
        try:
            database.ping()
        except SQLAlchemyError as error:
            advice = (
                "Check that the server runs, and that ARCHCAST_DATABASE_URL names it with the right user and password."
            )
            return [*found, Finding("database", "error", f"it cannot be reached: {_short(error)}", advice)]
        found.append(_engine(database))
        schema = _schema(database)
        found.append(schema)
        if schema.level == "ok":
            found += [check(database) for check in _CHECKS]
    return found


def _versions() -> Iterator[Finding]:
    installed = [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in _PACKAGES)]
    yield Finding("packages", "ok", ", ".join(installed))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _gpu() -> Iterator[Finding]:
    names = gpu_names()
    yield Finding("gpu", "ok", ", ".join(names) or "none seen: fine-tunes run on the CPU")


def _settings(settings: Settings) -> Iterator[Finding]:
    wrong = [
        *((f"{name} is set, and means nothing", f"Look for a typing error in {name}.") for name in unknown_variables()),
        *contradictions(settings),
    ]
    for message, advice in wrong:
        yield Finding("settings", "warning", message, advice)
    if not wrong:
        yield Finding("settings", "ok", "they agree with each other")


def _datasets(settings: Settings) -> Iterator[Finding]:
    if settings.datasets is None:
        return
    try:
        yield Finding("data sets", "ok", ", ".join(DatasetCatalogue(settings.datasets).names()))
    except AppError as error:
        advice = "Make the folder readable here and wherever jobs of the kind supernet run, or unset ARCHCAST_DATASETS."
        yield Finding("data sets", "error", str(error), advice)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = _existing((_sqlite_file(settings) or settings.data_dir).absolute())
    free = shutil.disk_usage(folder).free
    message = f"{free / 2**30:.1f} GiB free at {folder}"
    advice = "Make room: a database that cannot grow refuses every observation."
    level: Level = "error" if free < _FULL_BYTES else "warning" if free < _LOW_BYTES else "ok"
    yield Finding("disk", level, message, "" if level == "ok" else advice)
    kind = _file_system(folder)
    if _sqlite_file(settings) is not None and kind in _NETWORK_FILE_SYSTEMS:
        advice = "SQLite's locks do not hold there. Move the data folder to a local disk, or use PostgreSQL."
        yield Finding("disk", "error", f"the SQLite file lies on a network file system ({kind})", advice)


def _existing(path: Path) -> Path:
    return path if path.is_dir() else _existing(path.parent)


def _file_system(folder: Path) -> str:
    """Its kind, where the system tells."""
    table = Path("/proc/mounts")
    lines = table.read_text(errors="replace").splitlines() if table.exists() else []
    mounts = [(line.split()[1].replace("\\040", " "), line.split()[2]) for line in lines]
    above = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    return max(above, key=lambda one: len(one[0]))[1] if above else ""


def _engine(database: Database) -> Finding:
    if database.is_sqlite:
        is_old = sqlite3.sqlite_version_info < _OLDEST_SQLITE
        advice = "Use a Python that is built with SQLite 3.35 or newer." if is_old else ""
        return Finding("database", "error" if is_old else "ok", f"SQLite {sqlite3.sqlite_version}", advice)
    with database.read() as session:
        number = int(session.execute(text("SHOW server_version_num")).scalar_one()) // 10_000
    is_old = number < _OLDEST_POSTGRESQL
    advice = "Upgrade the server to PostgreSQL 15 or newer." if is_old else ""
    return Finding("database", "warning" if is_old else "ok", f"PostgreSQL {number}", advice)


def _schema(database: Database) -> Finding:
    found, head = migration.revision(database), migration.head()
    if found == head:
        return Finding("schema", "ok", f"{found}, the newest")
    if found is not None and not migration.is_known(found):
        advice = "A newer Archcast has migrated this database: upgrade this one."
    else:
        advice = "Start `archcast serve` or `archcast worker`, which migrates it; make a backup first."
    return Finding("schema", "error", f"expected {head}, got {found or 'none'}", advice)


def _champion(database: Database) -> Finding:
    own = ModelVersionRecord
    query = (
        select(own.id, own.weights, own.manifest)
        .join(AliasRecord, AliasRecord.model_version_id == own.id)
        .where(AliasRecord.name == "champion")
    )
    with database.read() as session:
        row = session.execute(query).first()
    if row is None:
        advice = "Start `archcast serve`, which stores the one that comes with the program."
        return Finding("champion", "error", "there is none, so nothing is forecast", advice)
    advice = "Roll back to the one before it (POST /v1/model-versions:rollback), or restore a backup."
    try:
        read = version_of(row.weights, row.manifest)
    except AppError as error:
        return Finding("champion", "error", f"{row.id} cannot be read: {error}", advice)
    if read != row.id:
        return Finding("champion", "error", f"the weights of {row.id} are those of {read}", advice)
    return Finding("champion", "ok", row.id)


def _worker(database: Database) -> Finding:
    """Workers leave traces in the jobs alone: where none is waiting, nothing can be said of them."""
    own = JobRecord
    with database.read() as session:
        now = clock.now(session)
        waiting, oldest = session.execute(
            select(func.count(), func.min(own.created_at)).where(own.state == "queued")
        ).one()
        running = session.scalar(select(func.count()).where(own.state == "running", own.lease_expires_at >= now))
        last = session.scalar(select(func.max(own.finished_at)))
    if running:
        return Finding("worker", "ok", f"at work: {running} jobs running, {waiting} waiting")
    last_seen = "never seen" if last is None else f"last seen {_ago(now, last)}"
    if waiting and now - oldest > timedelta(seconds=_WAITING_SECONDS) and (last is None or _is_long(now, last)):
        advice = "Start `archcast worker`, or `archcast serve` with ARCHCAST_EMBEDDED_WORKER=true."
        message = f"{last_seen}, and {waiting} jobs are waiting, the oldest since {_ago(now, oldest)}"
        return Finding("worker", "error", message, advice)
    return Finding("worker", "ok", f"{last_seen}; {waiting} jobs are waiting")


def _clock(database: Database) -> Finding:
    with database.read() as session:
        before = utc_now()
        theirs = clock.now(session)
        between = before + (utc_now() - before) / 2
        newest = session.scalar(select(func.max(JobRecord.created_at)))
    apart = (theirs - between).total_seconds()
    advice = "Let NTP set the clocks: all is decided by the database's, but tokens of an issuer are judged by this machine's."
    if abs(apart) > _CLOCK_SECONDS:
        return Finding("clock", "warning", f"the database's is {apart:+.1f} s from this machine's", advice)
    if newest is not None and (newest - theirs).total_seconds() > _CLOCK_SECONDS:
        return Finding(
            "clock", "warning", f"records come from the future, the newest of {newest:%Y-%m-%d %H:%M:%S}", advice
        )
    return Finding("clock", "ok", f"{abs(apart):.2f} s between this machine's and the database's")


_CHECKS: tuple[Callable[[Database], Finding], ...] = (_champion, _worker, _clock)


def _sqlite_file(settings: Settings) -> Path | None:
    url = make_url(settings.database_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _is_long(now: datetime, then: datetime) -> bool:
    return now - then > timedelta(seconds=_WAITING_SECONDS)


def _ago(now: datetime, then: datetime) -> str:
    return f"{max(0, round((now - then).total_seconds())):,} s ago"


def _short(error: SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]
