"""A task on a declared space of 64 architectures, a clock that tests move, and what workers do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response

    from app.database import Database

Document = dict[str, Any]

DEFINITION = {
    "version": 1,
    "decisions": [{"name": name, "type": "ordinal", "values": [1, 2, 4, 8]} for name in ("width", "depth", "heads")],
}
TRIALS = "/v1/tasks/digits/trials"


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self, _session: object) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> MovableClock:
    """The clock that leases go by."""
    movable = MovableClock()
    monkeypatch.setattr("app.clock.now", movable)
    return movable


@pytest.fixture
def space(client: TestClient) -> list[dict[str, str]]:
    """All architectures of the space: `id` and `genotype` of each."""
    answer = client.post("/v1/search-spaces", json={"name": "tiny", "definition": DEFINITION})
    assert answer.status_code == 201, answer.text
    drawn = client.get("/v1/search-spaces/tiny/sample?count=1000&seed=1").json()["architectures"]
    return sorted({one["id"]: one for one in drawn}.values(), key=lambda one: one["id"])


@pytest.fixture
def task(space: object, post_task: Callable[..., Document]) -> Document:
    """The task `digits` on the space, on which 20 epochs are final."""
    return post_task(search_space="tiny", max_fidelity=20)


@pytest.fixture
def suggest(client: TestClient) -> Callable[..., list[Document]]:
    """Asks for trials as a worker."""

    def ask(worker_id: str = "anna", **members: Any) -> list[Document]:
        answer = client.post(f"{TRIALS}:suggest", json={"worker_id": worker_id, **members})
        assert answer.status_code == 200, answer.text
        trials: list[Document] = answer.json()["trials"]
        return trials

    return ask


@pytest.fixture
def request_trials(client: TestClient, space: list[dict[str, str]]) -> Callable[..., list[Document]]:
    """Asks for the first so many architectures to be measured."""

    def ask(count: int = 1) -> list[Document]:
        answer = client.post(TRIALS, json={"architectures": [one["genotype"] for one in space[:count]]})
        assert answer.status_code == 201, answer.text
        trials: list[Document] = answer.json()["trials"]
        return trials

    return ask


@pytest.fixture
def report(client: TestClient) -> Callable[..., Response]:
    """Reports on a trial with its token: heartbeat, complete, fail, infeasible or abandon."""

    def post(action: str, trial: Document, **members: Any) -> Response:
        body = {"lease_token": trial["lease_token"], **members}
        answer: Response = client.post(f"{TRIALS}/{trial['id']}:{action}", json=body)
        return answer

    return post


@pytest.fixture
def shown(client: TestClient) -> Callable[[int], Document]:
    """A trial with its history."""

    def show(trial_id: int) -> Document:
        document: Document = client.get(f"{TRIALS}/{trial_id}").json()
        return document

    return show


@pytest.fixture
def observed(client: TestClient) -> Callable[[], list[Document]]:
    """All current observations of the task."""

    def show() -> list[Document]:
        items: list[Document] = client.get("/v1/tasks/digits/observations?limit=1000").json()["items"]
        return items

    return show


@pytest.fixture
def sweep(client: TestClient) -> Callable[[], int]:
    """Looks once for leases that ran out, as every replica does in the background."""
    looked: Callable[[], int] = client.app.state.sweeper.sweep  # type: ignore[attr-defined]
    return looked


@pytest.fixture
def stored_token_hash(database: Database) -> Callable[[int], str | None]:
    """What the database has of a trial's token."""
    from app.tables import TrialRecord

    def read(trial_id: int) -> str | None:
        with database.read() as session:
            return session.get_one(TrialRecord, trial_id).token_hash

    return read
