"""Transactions: one state for readers, writers wait in line, nothing half-written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from app.database import Database


@pytest.fixture
def counters(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'new folder' / 'counters.sqlite3'}")
    with database.write() as session:
        session.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        session.execute(text("CREATE TABLE counters (n INTEGER, parent INTEGER REFERENCES parents (id))"))
        session.execute(text("INSERT INTO counters (n) VALUES (0)"))
    yield database
    database.close()


def _count(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(text("SELECT n FROM counters")).scalar_one())


def _increment(database: Database) -> None:
    with database.write() as session:
        now = session.execute(text("SELECT n FROM counters")).scalar_one()
        session.execute(text("UPDATE counters SET n = :n"), {"n": now + 1})


def test_a_write_is_kept_when_its_block_ends(counters: Database) -> None:
    _increment(counters)

    assert _count(counters) == 1


def test_a_write_that_raises_leaves_nothing_behind(counters: Database) -> None:
    def fail_half_way() -> None:
        with counters.write() as session:
            session.execute(text("UPDATE counters SET n = 99"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()

    assert _count(counters) == 0


def test_concurrent_read_then_write_transactions_lose_no_update(counters: Database) -> None:
    other_process = Database(counters.url.render_as_string())  # a second object waits at the file, not in line

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: _increment(counters if n % 2 else other_process), range(100)))

    assert _count(counters) == 100
    other_process.close()


def test_a_reader_sees_one_state_while_others_write(counters: Database) -> None:
    with counters.read() as session:
        before = session.execute(text("SELECT n FROM counters")).scalar_one()
        writer = threading.Thread(target=_increment, args=(counters,))
        writer.start()
        writer.join(timeout=30)
        after = session.execute(text("SELECT n FROM counters")).scalar_one()

    assert not writer.is_alive()
    assert (before, after, _count(counters)) == (0, 0, 1)


def test_a_reader_cannot_write(counters: Database) -> None:
    with pytest.raises(OperationalError, match="readonly"), counters.read() as session:
        session.execute(text("UPDATE counters SET n = 5"))

    _increment(counters)  # the connection it used is free to write again
    assert _count(counters) == 1


def test_foreign_keys_are_enforced(counters: Database) -> None:
    with pytest.raises(IntegrityError), counters.write() as session:
        session.execute(text("UPDATE counters SET parent = 77"))


def test_an_in_memory_database_is_refused() -> None:
    with pytest.raises(ValueError, match="threads can share"):
        Database("sqlite://")
