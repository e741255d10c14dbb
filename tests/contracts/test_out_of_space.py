"""A disk that is full: what cannot be written is answered so, nothing is half-written, and with room it goes on.

Three ways to run out: SQLite's own limit of pages, an error that PostgreSQL is made to raise, and, where this machine lets us mount
one, a real disk of a few megabytes under either database.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import OperationalError

from app.database import Database
from app.tables import JobRecord, ObservationRecord, TaskRecord, utc_now
from app.worker import Worker

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]
OBSERVATIONS = "/v1/tasks/digits/observations"
DISK_MEGABYTES = 64
MOST_BATCHES = 200


class Space(ABC):
    """Room for a database, which tests take away and give back."""

    @abstractmethod
    def fill(self) -> None:
        """From now on there is none."""

    @abstractmethod
    def clear(self) -> None:
        """There is again."""


class PagesOfSqlite(Space):
    """SQLite may use no page more than it does."""

    def __init__(self, database: Database) -> None:
        self._pages: int | None = None
        event.listen(database.engine, "begin", self._limit)
        self._database = database

    def _limit(self, connection: Any) -> None:
        if self._pages is not None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {self._pages}")

    def fill(self) -> None:
        with self._database.read() as session:
            self._pages = session.execute(text("PRAGMA page_count")).scalar_one()

    def clear(self) -> None:
        self._pages = 2**30


class RefusingPostgresql(Space):
    """PostgreSQL raises the error of a full disk: for some observations at once, for others when they are committed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fill(self) -> None:
        self._execute(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$",
            "CREATE TRIGGER at_once BEFORE INSERT ON observations FOR EACH ROW WHEN (NEW.seed % 7 = 3) "
            "EXECUTE FUNCTION no_room()",
            "CREATE CONSTRAINT TRIGGER in_the_end AFTER INSERT ON observations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
            "EXECUTE FUNCTION no_room()",
        )

    def clear(self) -> None:
        self._execute("DROP FUNCTION no_room() CASCADE")

    def _execute(self, *statements: str) -> None:
        with self._database.write(is_change=False) as session:
            for statement in statements:
                session.execute(text(statement))


class RealDisk(Space):
    """A filler takes all that is left."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                try:
                    while True:
                        file.write(b"\1" * size)
                except OSError:
                    continue

    def clear(self) -> None:
        self._filler.unlink()


def with_the_limits_of_the_engine(engine: str, database: Database) -> Space:
    return PagesOfSqlite(database) if engine == "sqlite" else RefusingPostgresql(database)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A disk of its own, mounted for the test."""
    folder = Path(tempfile.mkdtemp(prefix="archcast-disk-"))
    options = f"size={DISK_MEGABYTES}m,mode=0755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"NO DISK CAN BE MOUNTED HERE, SO NONE RUNS FULL: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


@pytest.fixture
def url_on_disk(engine: str, disk: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database that lies on it; PostgreSQL keeps its journal elsewhere, as servers do that are to last."""
    if engine == "sqlite":
        file = disk / "archcast.sqlite3"
        file.write_bytes(request.getfixturevalue("migrated_file").read_bytes())
        yield f"sqlite:///{file}"
        return
    server, template = request.getfixturevalue("postgresql"), request.getfixturevalue("migrated_template")
    if os.environ.get("ARCHCAST_TEST_POSTGRESQL"):
        pytest.skip("the server that was named may lie on another machine")
    folder = disk / "tablespace"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    with server.tablespace(folder) as name, server.database(template, name) as url:
        yield url


def batch(cells: Cells, number: int) -> dict[str, Any]:
    reason = "x" * 500  # so that pages fill
    return {
        "observations": [
            {
                "architecture": cell["genotype"],
                "value": place / 100,
                "seed": number,
                "cost": float(number),
                "reason": reason,
            }
            for place, cell in enumerate(cells)
        ]
    }


def posted(client: TestClient, cells: Cells, number: int) -> Response:
    return client.post(OBSERVATIONS, json=batch(cells, number), headers={"Idempotency-Key": f"batch-{number}"})


def posted_until_refused(client: TestClient, cells: Cells) -> tuple[int, Response]:
    """Which batch was the first that was not taken, and the answer to it."""
    for number in range(1, MOST_BATCHES):
        answer = posted(client, cells, number)
        if answer.status_code != 201:
            return number, answer
    raise AssertionError(f"expected the disk to be full, got {MOST_BATCHES} batches taken")


def is_put_off(answer: Response) -> bool:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    return (answer.status_code, problem["type"], answer.headers["retry-after"]) == (503, "/problems/out-of-space", "5")


def seeds(database: Database) -> list[int | None]:
    with database.read() as session:
        return list(session.scalars(select(ObservationRecord.seed).order_by(ObservationRecord.id)))


def counted(database: Database) -> tuple[int, int, int]:
    """Observations that there are, that the task counts, and jobs."""
    with database.read() as session:
        task = session.scalars(select(TaskRecord)).one()
        there = session.scalar(select(func.count(ObservationRecord.id))) or 0
        return there, task.num_observations, session.scalar(select(func.count(JobRecord.id))) or 0


def run_all(worker: Worker) -> None:
    while worker.run_one(["adapt"]):
        pass


def runs_full(client: TestClient, database: Database, cells: Cells, space: Space) -> None:
    trial = client.post("/v1/tasks/digits/trials", json={"architectures": [cells[0]["genotype"]]}).json()["trials"][0]
    asked = client.post("/v1/tasks/digits/trials:suggest", json={"worker_id": "w"}).json()["trials"][0]
    assert (posted(client, cells, 0).status_code, asked["id"]) == (201, trial["trial_id"])

    space.fill()
    number, refused = posted_until_refused(client, cells)
    assert is_put_off(refused)
    assert is_put_off(posted(client, cells, number))  # its key is not in the way

    whole = number * len(cells)
    assert counted(database)[:2] == (whole, whole)
    assert client.get(f"{OBSERVATIONS}?limit=1000&fields=id").status_code == 200
    assert client.get("/readyz").json()["status"] == "ready"
    report = {"lease_token": asked["lease_token"], "observations": [{"value": 0.5, "seed": 3, "cost": 1.0}]}
    early = client.post(f"/v1/tasks/digits/trials/{asked['id']}:complete", json=report)
    assert early.status_code == 200 or is_put_off(early)  # a single row may find room in what is half used

    space.clear()
    assert posted(client, cells, number).status_code == 201
    again = client.post(f"/v1/tasks/digits/trials/{asked['id']}:complete", json=report)
    assert (again.status_code, again.json()["state"]) == (200, "completed")
    assert posted(client, cells, number).headers["idempotency-replayed"] == "true"

    whole += len(cells) + 1
    assert counted(database)[:2] == (whole, whole)
    assert sorted(seed for seed in seeds(database) if seed is not None) == sorted(
        [3, *(one for one in range(number + 1) for _ in cells)]
    )


def test_a_database_that_may_not_grow_puts_off_what_is_new_and_keeps_nothing_by_halves(
    champion: Path, client: TestClient, database: Database, engine: str, post_task: Callable[..., Any], cells: Cells
) -> None:
    post_task()

    runs_full(client, database, cells, with_the_limits_of_the_engine(engine, database))


class TestRealDisk:
    @pytest.fixture
    def migrated_url(self, url_on_disk: str) -> str:
        return url_on_disk

    def test_a_full_disk_puts_off_what_is_new_and_keeps_nothing_by_halves(
        self, champion: Path, client: TestClient, database: Database, disk: Path, post_task: Any, cells: Cells
    ) -> None:
        post_task()

        runs_full(client, database, cells, RealDisk(disk))

    def test_a_job_that_found_no_room_is_done_when_there_is(
        self,
        champion: Path,
        client: TestClient,
        database: Database,
        worker: Worker,
        disk: Path,
        post_task: Any,
        cells: Cells,
    ) -> None:
        post_task()
        posted(client, cells, 0)
        space = RealDisk(disk)
        space.fill()
        posted_until_refused(client, cells)

        with pytest.raises(OperationalError, match=r"disk is full|No space left"):
            run_all(worker)
        space.clear()
        with database.write() as session:
            over = update(JobRecord).where(JobRecord.state == "running")
            session.execute(over.values(lease_expires_at=utc_now() - timedelta(hours=1)))
        run_all(worker)

        with database.read() as session:
            assert set(session.scalars(select(JobRecord.state))) == {"done"}
