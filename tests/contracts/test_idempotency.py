"""A request that comes again under its key is answered as the first time, and done once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update
from starlette.responses import Response

from app.database import Database, insert_if_new
from app.errors import ConflictError, KeyInFlightError, KeyReusedError
from app.idempotency.service import IdempotencyService
from app.tables import IdempotencyKeyRecord, JobRecord, ObservationRecord, SearchSpaceRecord, TrialRecord, utc_now

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]
Reopen = Callable[[Database], Database]
Together = Callable[[Callable[[int], Any], int], list[Any]]
OBSERVATIONS = "/v1/tasks/digits/observations"
KEY = {"Idempotency-Key": "run-17"}
REPLAYED = "Idempotency-Replayed"
DYING = """
import os, sys
from app import database as databases
from app.idempotency.service import IdempotencyService
from app.settings import Settings
from app.tables import SearchSpaceRecord
from starlette.responses import Response

url, moment = sys.argv[1:]
commit = databases._JointTransaction.commit
def commit_and_die(joint):
    if moment == "after the commit":
        commit(joint)
    os._exit(9)
databases._JointTransaction.commit = commit_and_die
database = databases.Database(url)
def work():
    with database.write() as session:
        session.add(SearchSpaceRecord(name="made", kind="declared"))
    return Response("made", 201)
IdempotencyService(Settings(database_url=url), database).answer("me", "k", "f", work)
"""


def counted(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def made(database: Database, name: str) -> Callable[[], Response]:
    """Work that adds a search space."""

    def work() -> Response:
        with database.write() as session:
            session.add(SearchSpaceRecord(name=name, kind="declared"))
        return Response(name, 201, {"location": name})

    return work


def names(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(SearchSpaceRecord.name).where(SearchSpaceRecord.kind == "declared")))


@pytest.fixture
def keys(settings: Settings, database: Database, client: TestClient) -> IdempotencyService:
    """What the service does with keys, by itself."""
    return IdempotencyService(settings, database)


@pytest.fixture
def impatient(settings: Settings, database: Database, client: TestClient) -> IdempotencyService:
    """The same, with a lease that runs out at once."""
    return IdempotencyService(settings.model_copy(update={"idempotency_lease_seconds": 1e-6}), database)


def test_what_is_posted_again_is_answered_as_before_and_recorded_once(
    client: TestClient, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    body = {"architecture": cells[0]["genotype"], "value": 0.5}

    first = client.post(OBSERVATIONS, json=body, headers=KEY)
    again = client.post(OBSERVATIONS, json=body, headers=KEY)

    assert (first.status_code, REPLAYED in first.headers) == (201, False)
    assert (again.status_code, again.headers[REPLAYED]) == (201, "true")
    assert (again.content, again.headers["content-type"]) == (first.content, first.headers["content-type"])
    assert counted(database, ObservationRecord) == 1
    assert client.get("/v1/tasks/digits").json()["revision"] == 1


def test_without_a_key_the_same_is_done_twice_and_so_it_is_with_another(
    client: TestClient, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    body = {"architecture": cells[0]["genotype"], "value": 0.5}

    for headers in ({}, {}, KEY, {"Idempotency-Key": "run-18"}):
        assert client.post(OBSERVATIONS, json=body, headers=headers).status_code == 201

    assert counted(database, ObservationRecord) == 4


def test_a_fine_tune_that_is_asked_for_again_is_queued_once(client: TestClient, database: Database) -> None:
    answers = [client.post("/v1/fine-tunes", json={"reason": "new device"}, headers=KEY) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert {answer.headers["Location"] for answer in answers} == {f"/v1/fine-tunes/{answers[0].json()['id']}"}
    assert counted(database, JobRecord) == 1


def test_an_answer_to_a_key_is_written_as_one_without(client: TestClient, post_task: Any) -> None:
    task = post_task(max_fidelity=9, metadata={"owner": "é"})
    body = {name: task[name] for name in ("name", "search_space", "dataset", "metric", "max_fidelity", "metadata")}

    plain = client.post("/v1/tasks", json=body)
    keyed = client.post("/v1/tasks", json=body, headers=KEY)

    assert (keyed.status_code, keyed.content) == (plain.status_code, plain.content) == (200, keyed.content)
    assert keyed.headers["content-type"] == plain.headers["content-type"]


@pytest.mark.parametrize("change", ["body", "path", "query"])
def test_another_request_under_the_same_key_is_refused(client: TestClient, post_task: Any, change: str) -> None:
    post_task()
    definition = {"version": 1, "decisions": [{"name": "width", "type": "ordinal", "values": [1, 2]}]}
    body = {"name": "mine", "definition": definition}
    assert client.post("/v1/search-spaces", json=body, headers=KEY).status_code == 201

    other = {
        "body": ("/v1/search-spaces", {**body, "name": "other"}),
        "path": ("/v1/fine-tunes", {"reason": "x"}),
        "query": ("/v1/search-spaces?x=1", body),
    }[change]
    answer = client.post(other[0], json=other[1], headers=KEY)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert "other" not in {one["name"] for one in client.get("/v1/search-spaces").json()["items"]}


def test_a_request_that_was_refused_has_used_up_no_key(
    client: TestClient, database: Database, post_task: Any, cells: Cells
) -> None:
    body = {"architecture": cells[0]["genotype"], "value": 0.5}

    refused = client.post(OBSERVATIONS, json=body, headers=KEY)  # there is no such task
    post_task()
    accepted = client.post(OBSERVATIONS, json=body, headers=KEY)

    assert (refused.status_code, accepted.status_code, REPLAYED in accepted.headers) == (404, 201, False)
    assert counted(database, IdempotencyKeyRecord) == 1


def test_many_posts_of_one_key_at_once_are_done_once(
    client: TestClient, database: Database, together: Together, post_task: Any, cells: Cells
) -> None:
    post_task()
    body = {"architecture": cells[0]["genotype"], "value": 0.5}

    answers = together(lambda _: client.post(OBSERVATIONS, json=body, headers=KEY), 8)

    assert counted(database, ObservationRecord) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    done = [answer for answer in answers if answer.status_code == 201]
    assert [REPLAYED in answer.headers for answer in done].count(False) == 1
    assert len({answer.content for answer in done}) == 1
    assert all(
        answer.json()["type"] == "/problems/idempotency-key-in-flight" and answer.headers["Retry-After"]
        for answer in answers
        if answer.status_code == 409
    )


@pytest.mark.usefixtures("champion")
def test_suggestions_asked_for_again_are_the_same_with_the_same_tokens(
    client: TestClient, database: Database, post_task: Any
) -> None:
    post_task()
    body = {"worker_id": "anna", "count": 2}

    first = client.post("/v1/tasks/digits/trials:suggest", json=body, headers=KEY)
    again = client.post("/v1/tasks/digits/trials:suggest", json=body, headers=KEY)

    assert (first.status_code, again.content, again.headers[REPLAYED]) == (200, first.content, "true")
    assert counted(database, TrialRecord) == 2
    trial = again.json()["trials"][0]
    report = {"lease_token": trial["lease_token"], "observations": [{"value": 0.5}]}
    told = [
        client.post(f"/v1/tasks/digits/trials/{trial['id']}:complete", json=report, headers={"Idempotency-Key": "told"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in told] == [200, 200]
    assert counted(database, ObservationRecord) == 1


def test_a_key_in_flight_is_refused_and_answered_afterwards(keys: IdempotencyService, database: Database) -> None:
    began, may_end = threading.Event(), threading.Event()

    def slow() -> Response:
        began.set()
        assert may_end.wait(timeout=60.0)
        return made(database, "slow")()

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(keys.answer, "me", "k", "f", slow)
        assert began.wait(timeout=60.0)
        with pytest.raises(KeyInFlightError):
            keys.answer("me", "k", "f", made(database, "second"))
        with pytest.raises(KeyReusedError):
            keys.answer("me", "k", "other", made(database, "second"))
        may_end.set()
        first.result(timeout=60.0)

    again = keys.answer("me", "k", "f", made(database, "second"))
    assert (bytes(again.body), again.headers["location"]) == (b"slow", "slow")
    assert names(database) == {"slow"}


def test_an_attempt_that_was_taken_over_leaves_no_trace(impatient: IdempotencyService, database: Database) -> None:
    began, may_go_on = threading.Event(), threading.Event()

    def late() -> Response:
        began.set()
        assert may_go_on.wait(timeout=60.0)
        return made(database, "late")()

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(impatient.answer, "me", "k", "f", late)
        assert began.wait(timeout=60.0)
        second = impatient.answer("me", "k", "f", made(database, "second"))  # the lease of the first has run out
        may_go_on.set()
        with pytest.raises(KeyInFlightError):
            first.result(timeout=60.0)

    assert (second.status_code, names(database)) == (201, {"second"})
    assert bytes(impatient.answer("me", "k", "f", made(database, "third")).body) == b"second"


def test_callers_do_not_see_each_others_keys(keys: IdempotencyService, database: Database) -> None:
    for caller in ("anna", "bert"):
        assert bytes(keys.answer(caller, "k", "f", made(database, caller)).body) == caller.encode()

    assert names(database) == {"anna", "bert"}


def test_an_error_after_a_change_undoes_the_change_and_frees_the_key(
    keys: IdempotencyService, database: Database
) -> None:
    def fail() -> Response:
        made(database, "half")()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        keys.answer("me", "k", "f", fail)

    assert names(database) == set()
    assert keys.answer("me", "k", "f", made(database, "whole")).status_code == 201


@pytest.mark.parametrize(
    ("moment", "left", "body"), [("before the commit", set(), b"again"), ("after the commit", {"made"}, b"made")]
)
def test_a_process_that_dies_leaves_the_change_with_its_answer_or_neither(
    impatient: IdempotencyService, database: Database, moment: str, left: set[str], body: bytes
) -> None:
    url = database.url.render_as_string(hide_password=False)

    died = subprocess.run([sys.executable, "-c", DYING, url, moment], capture_output=True, text=True, timeout=120.0)

    assert died.returncode == 9, died.stderr
    assert (names(database), counted(database, IdempotencyKeyRecord)) == (left, 1)
    with database.write() as session:  # 15 s later
        session.execute(update(IdempotencyKeyRecord).values(lease_expires_at=utc_now() - timedelta(hours=1)))
    again = impatient.answer("me", "k", "f", made(database, "again"))
    assert (bytes(again.body), again.status_code) == (body, 201)
    assert names(database) == (left or {"again"})


def test_a_dead_process_blocks_its_key_no_longer_than_the_lease(keys: IdempotencyService, database: Database) -> None:
    now = utc_now()
    row = {"caller": "me", "key": "k", "fingerprint": "f", "attempt": "of the dead", "created_at": now}
    with database.write() as session:
        insert_if_new(session, IdempotencyKeyRecord, {**row, "lease_expires_at": now + timedelta(hours=1)})

    with pytest.raises(KeyInFlightError):
        keys.answer("me", "k", "f", made(database, "early"))
    with database.write() as session:
        session.execute(update(IdempotencyKeyRecord).values(lease_expires_at=now - timedelta(hours=1)))

    assert keys.answer("me", "k", "f", made(database, "late")).status_code == 201
    assert names(database) == {"late"}


def test_an_old_key_is_new_again_and_swept(keys: IdempotencyService, database: Database) -> None:
    for key in ("old", "swept", "young"):
        keys.answer("me", key, "f", made(database, key))
    with database.write() as session:
        is_old = IdempotencyKeyRecord.key != "young"
        before = utc_now() - timedelta(hours=25)
        session.execute(update(IdempotencyKeyRecord).where(is_old).values(created_at=before))

    assert bytes(keys.answer("me", "old", "other", made(database, "old, but new")).body) == b"old, but new"
    assert (keys.sweep(), keys.sweep()) == (1, 0)
    with database.read() as session:
        assert set(session.scalars(select(IdempotencyKeyRecord.key))) == {"old", "young"}


def test_replicas_know_each_others_keys(
    keys: IdempotencyService, settings: Settings, database: Database, reopened: Reopen
) -> None:
    other = reopened(database)
    keys.answer("me", "k", "f", made(database, "first"))

    again = IdempotencyService(settings, other).answer("me", "k", "f", made(other, "second"))

    assert (bytes(again.body), names(database)) == (b"first", {"first"})


def test_an_answer_that_is_shown_once_is_not_stored(keys: IdempotencyService, database: Database) -> None:
    assert keys.answer("me", "k", "f", made(database, "secret"), is_shown_once=True).status_code == 201

    with pytest.raises(ConflictError, match="shown once"):
        keys.answer("me", "k", "f", made(database, "again"), is_shown_once=True)
    with database.read() as session:
        assert session.scalars(select(IdempotencyKeyRecord.body)).all() == [None]
    assert names(database) == {"secret"}
