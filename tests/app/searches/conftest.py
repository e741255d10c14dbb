"""Two tasks on a declared space of 64 architectures, searches of them, and what workers do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response

    from app.worker import Worker

Document = dict[str, Any]

DEFINITION = {
    "version": 1,
    "decisions": [{"name": name, "type": "ordinal", "values": [1, 2, 4, 8]} for name in ("width", "depth", "heads")],
}
LATENCY = {"name": "latency_ms", "unit": "ms", "direction": "minimize"}


@dataclass(frozen=True)
class Table:
    """Every architecture of the space: its genotype by its id, and what it is worth."""

    genotypes: dict[str, str]

    def accuracy(self, architecture_id: str) -> float:
        """A number that depends on the architecture alone, the same in every run."""
        return 0.5 + int(architecture_id[:6], 16) / 2**25

    def latency_ms(self, architecture_id: str) -> float:
        """The same, of another kind."""
        return 1.0 + 20.0 * int(architecture_id[6:12], 16) / 2**24

    @property
    def best_id(self) -> str:
        """The most accurate."""
        return max(self.genotypes, key=self.accuracy)

    def observations(self, value_of: Callable[[str], float], ids: list[str] | None = None) -> Document:
        """As they are posted."""
        wanted = self.genotypes if ids is None else ids
        return {"observations": [{"architecture": self.genotypes[one], "value": value_of(one)} for one in wanted]}


@pytest.fixture
def table(client: TestClient) -> Table:
    """The space, declared."""
    answer = client.post("/v1/search-spaces", json={"name": "tiny", "definition": DEFINITION})
    assert answer.status_code == 201, answer.text
    drawn = client.get("/v1/search-spaces/tiny/sample?count=1000&seed=1").json()["architectures"]
    genotypes = {one["id"]: one["genotype"] for one in sorted(drawn, key=lambda one: str(one["id"]))}
    assert len(genotypes) == 64
    return Table(genotypes)


@pytest.fixture
def tasks(table: Table, post_task: Callable[..., Document]) -> list[Document]:
    """The tasks `digits` (accuracy, 9 epochs are final) and `latency`."""
    return [
        post_task("digits", search_space="tiny", max_fidelity=9),
        post_task("latency", search_space="tiny", metric=LATENCY),
    ]


@pytest.fixture
def observed(client: TestClient, table: Table, tasks: list[Document]) -> Table:
    """The space after everything was measured in both tasks."""
    for task, value_of in (("digits", table.accuracy), ("latency", table.latency_ms)):
        answer = client.post(f"/v1/tasks/{task}/observations", json=table.observations(value_of))
        assert answer.status_code == 201, answer.text
    return table


@pytest.fixture
def post_search(client: TestClient) -> Callable[..., Response]:
    """Asks for a search."""

    def post(*tasks: str, headers: dict[str, str] | None = None, **members: Any) -> Response:
        body = {
            "objectives": [{"task": one} for one in tasks or ("digits",)],
            "strategy": "random",
            "mode": "measured",
            "budget": {"evaluations": 8},
            "seed": 3,
            **members,
        }
        return client.post("/v1/searches", json=body, headers=headers)

    return post


@pytest.fixture
def start(post_search: Callable[..., Response]) -> Callable[..., int]:
    """Starts a search; its id."""

    def started(*tasks: str, **members: Any) -> int:
        answer = post_search(*tasks, **members)
        assert answer.status_code == 201, answer.text
        search_id: int = answer.json()["id"]
        return search_id

    return started


@pytest.fixture
def show(client: TestClient) -> Callable[[int], Document]:
    """Shows a search."""

    def shown(search_id: int) -> Document:
        answer = client.get(f"/v1/searches/{search_id}")
        assert answer.status_code == 200, answer.text
        document: Document = answer.json()
        return document

    return shown


@pytest.fixture
def work(worker: Worker) -> Callable[[], int]:
    """Runs what is due of searches; how many steps there were."""

    def run() -> int:
        count = 0
        while worker.run_one(["search"]):
            count += 1
        return count

    return run


@pytest.fixture
def measure(client: TestClient) -> Callable[..., int]:
    """Measures trials that were asked for; how many there were."""

    def measured(value_of: Callable[[str], float], task: str = "digits", count: int = 64) -> int:
        body = {"worker_id": "gpu-1", "count": count, "only_requested": True}
        trials = client.post(f"/v1/tasks/{task}/trials:suggest", json=body).json()["trials"]
        for trial in trials:
            value = {"value": value_of(trial["architecture_id"]), "fidelity": trial["fidelity"]}
            report = {"lease_token": trial["lease_token"], "observations": [value]}
            answer = client.post(f"/v1/tasks/{task}/trials/{trial['id']}:complete", json=report)
            assert answer.status_code == 200, answer.text
        return len(trials)

    return measured
