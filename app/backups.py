"""Backup and restore of everything that a service keeps, while it runs.

All of it lies in the database, model versions' weights included. A backup is one ZIP file: `manifest.json`, and the database
as one consistent state of it, `database.sqlite3` (made by SQLite's own online backup) or `database.dump` (by pg_dump in its
custom format). The manifest names the schema's revision and the SHA-256 of the content.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from app import backup_engines, migration
from app.backup_engines import Engine
from app.database import Database
from app.errors import ConflictError, InvalidContentError
from app.settings import Settings
from app.tables import utc_now

FORMAT = 1
_MANIFEST = "manifest.json"
_BLOCK = 1024 * 1024


@dataclass(frozen=True)
class Manifest:
    """What a backup says of itself."""

    format: int
    archcast: str
    created_at: str
    engine: str
    member: str
    sha256: str
    size_bytes: int
    schema_revision: str


def back_up(settings: Settings, file: Path, *, force: bool = False) -> Manifest:
    """Writes a backup of the database as it is at one moment; others go on reading and writing meanwhile.

    Raises:
        ConflictError: if there is such a file and `force` does not allow to replace it.
        NotFoundError: if there is no database, or no pg_dump.
        InvalidContentError: if the copy is not whole, or pg_dump refuses.
    """
    if file.exists() and not force:
        raise ConflictError(f"expected a new file, or --force, got {file}, which exists")
    engine = backup_engines.engine_of(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".archcast-backup-", dir=file.parent) as folder:
        copy = Path(folder) / engine.member
        engine.copy(copy)
        revision = engine.revision_of(copy)
        manifest = Manifest(
            FORMAT,
            _program_version(),
            utc_now().isoformat(timespec="seconds"),
            engine.name,
            engine.member,
            _sha256(copy),
            copy.stat().st_size,
            revision,
        )
        made = Path(folder) / "backup.zip"
        _pack(made, copy, manifest)
        made.replace(file)
    return manifest


def restore(settings: Settings, file: Path, *, force: bool = False) -> Manifest:
    """Puts a backup in the place of the settings' database: all of it, or nothing is changed. No service may run meanwhile.

    Raises:
        InvalidContentError: if the file is no whole backup, of another kind of database, or of a newer program.
        ConflictError: if there is a database with anything in it already, and `force` does not allow to replace it.
        NotFoundError: if there is no pg_restore.
    """
    engine = backup_engines.engine_of(settings)
    with _unpacked(file, engine) as (manifest, copy):
        engine.check(copy, manifest.schema_revision)
        if not force and engine.is_filled():
            raise ConflictError(f"expected an empty database, or --force, got one with tables: {engine.place}")
        engine.put(copy)
    with closing(Database(settings.database_url)) as database:
        found = migration.revision(database)
    if found != manifest.schema_revision:
        raise InvalidContentError(f"expected the schema {manifest.schema_revision} after restoring, got {found}")
    return manifest


def read_manifest(file: Path) -> Manifest:
    """What the backup says of itself; raises InvalidContentError."""
    with _opened(file) as archive:
        return _manifest(archive, file)


def document(manifest: Manifest) -> dict[str, Any]:
    """For machines."""
    return asdict(manifest)


def _pack(file: Path, copy: Path, manifest: Manifest) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(_MANIFEST, json.dumps(asdict(manifest), indent=2))
        archive.write(copy, manifest.member)
    with file.open("rb+") as written:
        os.fsync(written.fileno())


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise InvalidContentError(f"expected a backup, got {file}, which is none: {error}") from error
    with archive:
        yield archive


def _manifest(archive: zipfile.ZipFile, file: Path) -> Manifest:
    try:
        read = json.loads(archive.read(_MANIFEST))
        manifest = Manifest(**read)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidContentError(f"expected a backup, got {file} without a readable manifest: {error}") from error
    if manifest.format != FORMAT:
        raise InvalidContentError(f"expected a backup of format {FORMAT}, got {manifest.format}")
    return manifest


@contextmanager
def _unpacked(file: Path, engine: Engine) -> Iterator[tuple[Manifest, Path]]:
    with _opened(file) as archive, tempfile.TemporaryDirectory(prefix="archcast-restore-") as folder:
        manifest = _manifest(archive, file)
        if (manifest.engine, manifest.member) != (engine.name, engine.member):
            raise InvalidContentError(f"expected a backup of {engine.name}, got one of {manifest.engine}")
        copy = Path(folder) / engine.member
        try:
            with archive.open(engine.member) as packed, copy.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _BLOCK)
        except (KeyError, zipfile.BadZipFile, EOFError) as error:
            raise InvalidContentError(f"expected a whole backup, got {file} with damage: {error}") from error
        found = _sha256(copy)
        if found != manifest.sha256:
            raise InvalidContentError(f"expected content with SHA-256 {manifest.sha256}, got {found}: it is damaged")
        yield manifest, copy


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return _digest(opened)


def _digest(opened: IO[bytes]) -> str:
    return hashlib.file_digest(opened, "sha256").hexdigest()  # type: ignore[arg-type]


def _program_version() -> str:
    try:
        return version("archcast")
    except PackageNotFoundError:
        return "0"
