"""Brings the database's tables to the newest version, and says whether they are there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData

import migrations
from app.database import Database

HEAD, BASE = "head", "base"


def upgrade(database: Database, revision: str = HEAD) -> None:
    """Runs the migrations that are missing, all or none of them. Processes that start together wait for each other; where
    nothing is missing, nobody is kept waiting."""
    if revision == HEAD and is_current(database):
        return
    with database.migrate() as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str = BASE) -> None:
    """Takes migrations back, down to `revision`."""
    with database.migrate() as connection:
        command.downgrade(_config(connection), revision)


def new_revision(database: Database, message: str, tables: MetaData) -> None:
    """Writes a migration that turns what the database has into `tables`. For developers."""
    with database.migrate() as connection:
        config = _config(connection)
        config.attributes["target_metadata"] = tables
        command.revision(config, message, autogenerate=True)


def is_current(database: Database) -> bool:
    """Whether the newest migration has run."""
    with database.read() as session:
        found = MigrationContext.configure(session.connection()).get_current_heads()
    return set(found) == set(ScriptDirectory.from_config(_config()).get_heads())


def revision(database: Database) -> str | None:
    """The migration that ran last; None: none did."""
    with database.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def head() -> str | None:
    """The newest migration."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def is_known(revision: str) -> bool:
    """Whether the migration is one of this program's."""
    return revision in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(slug)s")
    config.set_main_option("timezone", "UTC")
    config.attributes["connection"] = connection
    return config
