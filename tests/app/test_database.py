"""Transactions: one state for readers, nothing half-written, and no circle of writers that wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from app.database import Database, Turn, insert_if_new, insert_new, take_turns
from app.tables import SearchSpaceRecord, Table, TaskRecord

both_engines = pytest.mark.both_engines

Reopen = Callable[[Database], Database]


@pytest.fixture
def counters(new_database: Callable[[], Database]) -> Database:
    database = new_database()
    with database.write() as session:
        session.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        session.execute(text("CREATE TABLE counters (n INTEGER, parent INTEGER REFERENCES parents (id))"))
        session.execute(text("INSERT INTO counters (n) VALUES (0)"))
    return database


@pytest.fixture
def declared(new_database: Callable[[], Database]) -> Database:
    """A database with the application's tables."""
    database = new_database()
    Table.metadata.create_all(database.engine)
    return database


def _count(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(text("SELECT n FROM counters")).scalar_one())


def _increment(database: Database) -> None:
    with database.write() as session:
        take_turns(session, Turn.CHANGE_CHAMPION)
        now = session.execute(text("SELECT n FROM counters")).scalar_one()
        session.execute(text("UPDATE counters SET n = :n"), {"n": now + 1})


def _space(name: str, description: str = "") -> dict[str, object]:
    return {"name": name, "kind": "graph", "description": description}


def _names(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(SearchSpaceRecord.name).order_by(SearchSpaceRecord.name)))


@both_engines
def test_a_write_is_kept_when_its_block_ends(counters: Database) -> None:
    _increment(counters)

    assert _count(counters) == 1


@both_engines
def test_a_write_that_raises_leaves_nothing_behind(counters: Database) -> None:
    def fail_half_way() -> None:
        with counters.write() as session:
            session.execute(text("UPDATE counters SET n = 99"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()

    assert _count(counters) == 0


@both_engines
def test_read_then_write_transactions_that_take_turns_lose_no_update(counters: Database, reopened: Reopen) -> None:
    other_process = reopened(counters)  # a second object waits at the file, not in line

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: _increment(counters if n % 2 else other_process), range(100)))

    assert _count(counters) == 100


@both_engines
def test_a_reader_sees_one_state_while_others_write(counters: Database) -> None:
    with counters.read() as session:
        before = session.execute(text("SELECT n FROM counters")).scalar_one()
        writer = threading.Thread(target=_increment, args=(counters,))
        writer.start()
        writer.join(timeout=30)
        after = session.execute(text("SELECT n FROM counters")).scalar_one()

    assert not writer.is_alive()
    assert (before, after, _count(counters)) == (0, 0, 1)


@both_engines
def test_a_reader_cannot_write(counters: Database) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"), counters.read() as session:
        session.execute(text("UPDATE counters SET n = 5"))

    _increment(counters)  # the connection it used is free to write again
    assert _count(counters) == 1


@both_engines
def test_foreign_keys_are_enforced(counters: Database) -> None:
    with pytest.raises(IntegrityError), counters.write() as session:
        session.execute(text("UPDATE counters SET parent = 77"))


def test_an_in_memory_database_is_refused() -> None:
    with pytest.raises(ValueError, match="threads can share"):
        Database("sqlite://")


def test_another_kind_of_database_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ValueError, match="postgresql\\+psycopg") as refused:
        Database("mysql://archcast:secret@db/archcast")

    assert "secret" not in str(refused.value)


@both_engines
def test_rows_of_taken_keys_are_left_as_they_are(declared: Database) -> None:
    with declared.write() as session:
        insert_new(session, SearchSpaceRecord, [_space("b", "first")])
        insert_new(session, SearchSpaceRecord, [_space("c"), _space("b", "second"), _space("a")])
        insert_new(session, SearchSpaceRecord, [])

    assert _names(declared) == ["a", "b", "c"]
    with declared.read() as session:
        assert session.get_one(SearchSpaceRecord, "b").description == "first"


@both_engines
def test_a_new_row_answers_its_key_and_a_taken_one_none(declared: Database) -> None:
    task = {
        "search_space": "a", "dataset": "d", "metric": "m", "unit": "u", "direction": "maximize", "details": {"a": 1}
    }  # fmt: skip
    with declared.write() as session:
        assert insert_if_new(session, SearchSpaceRecord, _space("a")) == "a"
        assert insert_if_new(session, SearchSpaceRecord, _space("a", "again")) is None
        first = insert_if_new(session, TaskRecord, {"name": "first", **task})
        assert insert_if_new(session, TaskRecord, {"name": "first", **task}) is None

    with declared.read() as session:
        assert session.get_one(TaskRecord, first).details == {"a": 1}


@both_engines
def test_a_row_that_many_insert_is_new_to_one_of_them(declared: Database, reopened: Reopen) -> None:
    processes = [declared, reopened(declared)]

    def insert(number: int) -> object:
        with processes[number % 2].write() as session:
            return insert_if_new(session, SearchSpaceRecord, _space("a"))

    with ThreadPoolExecutor(8) as threads:
        inserted = list(threads.map(insert, range(8)))

    assert sorted(map(str, inserted)) == ["None"] * 7 + ["a"]


@both_engines
def test_writers_of_the_same_rows_never_wait_in_a_circle(declared: Database, reopened: Reopen) -> None:
    processes = [declared, reopened(declared)]
    together = threading.Barrier(2)
    rows = [_space(f"space-{number:04}") for number in range(2_000)]

    def insert(number: int) -> None:
        processes[number].ping()  # connecting takes longer than inserting
        together.wait(timeout=30.0)
        with processes[number].write() as session:
            insert_new(session, SearchSpaceRecord, rows if number else rows[::-1])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(insert, range(2)))

    assert len(_names(declared)) == 2_000


@both_engines
def test_a_turn_is_kept_until_its_transaction_ends(declared: Database, reopened: Reopen) -> None:
    other, order = reopened(declared), []

    def follow() -> None:
        with other.write() as session:
            take_turns(session, Turn.SCHEDULE_FINE_TUNE)
            order.append("second")

    with declared.write() as session:
        take_turns(session, Turn.SCHEDULE_FINE_TUNE)
        thread = threading.Thread(target=follow)
        thread.start()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join(timeout=30.0)

    assert order == ["first", "second"]


def _add(database: Database, name: str, **how: bool) -> None:
    with database.write(**how) as session:
        session.add(SearchSpaceRecord(**_space(name)))


@both_engines
def test_what_is_written_together_is_seen_inside_and_by_others_at_the_end(declared: Database, reopened: Reopen) -> None:
    other = reopened(declared)

    with declared.together():
        assert _names(declared) == []
        _add(declared, "a")
        _add(declared, "b")
        assert (_names(declared), _names(other)) == (["a", "b"], [])

    assert _names(other) == ["a", "b"]


@both_engines
def test_an_error_undoes_all_that_was_written_together(declared: Database) -> None:
    def fail() -> None:
        with declared.together():
            _add(declared, "a")
            _add(declared, "b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert _names(declared) == []
    _add(declared, "c")  # nothing is left locked
    assert _names(declared) == ["c"]


@both_engines
@pytest.mark.parametrize("which", ["first", "second"])
def test_an_error_in_one_write_that_is_caught_undoes_that_one_alone(declared: Database, which: str) -> None:
    def add_badly() -> None:
        with declared.write() as session:
            session.add(SearchSpaceRecord(**_space("bad")))
            session.flush()
            raise ZeroDivisionError

    with declared.together():
        if which == "second":
            _add(declared, "a")
        with pytest.raises(ZeroDivisionError):
            add_badly()
        _add(declared, "b")

    assert _names(declared) == (["a", "b"] if which == "second" else ["b"])


@both_engines
def test_a_step_that_commits_at_once_stays_whatever_follows(declared: Database) -> None:
    def fail() -> None:
        with declared.together():
            _add(declared, "step", commits_at_once=True)
            _add(declared, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert _names(declared) == ["step"]


def test_a_step_cannot_begin_while_others_wait_to_be_committed(declared: Database) -> None:
    with declared.together():
        _add(declared, "a")
        with pytest.raises(RuntimeError, match="before anything that waits"):
            _add(declared, "step", commits_at_once=True)


def test_other_threads_take_no_part_in_what_is_written_together(declared: Database) -> None:
    with ThreadPoolExecutor(1) as thread, declared.together():
        thread.submit(_add, declared, "other").result(timeout=30.0)
        _add(declared, "a")
        assert _names(declared) == ["a", "other"]


def test_many_that_open_a_new_file_at_the_same_moment_wait_for_each_other(
    new_database: Callable[[], Database], reopened: Reopen
) -> None:
    for _ in range(25):  # one round shows a missing wait in one case of ten
        several = [first := new_database(), *(reopened(first) for _ in range(3))]
        together = threading.Barrier(len(several))

        def begin(database: Database, together: threading.Barrier = together) -> str:
            together.wait(timeout=30.0)
            with database.write() as session:
                return str(session.execute(text("PRAGMA journal_mode")).scalar_one())

        with ThreadPoolExecutor(len(several)) as threads:
            assert list(threads.map(begin, several)) == ["wal"] * len(several)
