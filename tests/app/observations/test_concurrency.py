"""Writers at the same time: nothing is lost, nothing is doubled, nobody fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.both_engines

PostTask = Callable[..., dict[str, Any]]
Cells = list[dict[str, str]]
OBSERVATIONS = "/v1/tasks/digits/observations"
NUM_WRITERS = 8


def _together(function: Callable[[int], Any], count: int = NUM_WRITERS) -> list[Any]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(function, range(count)))


def test_the_same_client_key_posted_by_many_is_recorded_once(
    client: TestClient, post_task: PostTask, cells: Cells
) -> None:
    post_task()
    body = {"architecture": cells[0]["genotype"], "value": 0.9, "client_key": "k"}

    answers = _together(lambda _: client.post(OBSERVATIONS, json=body))

    assert sorted(answer.status_code for answer in answers) == [200] * (NUM_WRITERS - 1) + [201]
    assert len({answer.json()["observations"][0]["id"] for answer in answers}) == 1
    shown = client.get("/v1/tasks/digits").json()
    assert (shown["num_observations"], shown["revision"]) == (1, 1)


def test_different_contents_of_one_client_key_leave_one_winner(
    client: TestClient, post_task: PostTask, cells: Cells
) -> None:
    post_task()

    def post(writer: int) -> Any:
        body = {"architecture": cells[0]["genotype"], "value": writer, "client_key": "k"}
        return client.post(OBSERVATIONS, json=body)

    answers = _together(post)

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (NUM_WRITERS - 1)
    assert len(client.get(OBSERVATIONS).json()["items"]) == 1


def test_batches_of_many_writers_are_all_kept_and_counted(
    client: TestClient, post_task: PostTask, cells: Cells
) -> None:
    post_task()
    per_writer = 25

    def post(writer: int) -> Any:
        keys = [f"{writer}-{number}" for number in range(per_writer)]
        batch = [{"architecture": cells[n]["genotype"], "value": n, "client_key": k} for n, k in enumerate(keys)]
        return client.post(OBSERVATIONS, json={"observations": batch})

    answers = _together(post)

    assert [answer.status_code for answer in answers] == [201] * NUM_WRITERS
    kept = client.get(f"{OBSERVATIONS}?limit=1000").json()["items"]
    assert len({one["client_key"] for one in kept}) == len(kept) == NUM_WRITERS * per_writer
    shown = client.get("/v1/tasks/digits").json()
    assert (shown["num_observations"], shown["revision"]) == (NUM_WRITERS * per_writer, NUM_WRITERS)


def test_one_of_many_corrections_wins(client: TestClient, post_task: PostTask, cells: Cells) -> None:
    post_task()
    old = client.post(OBSERVATIONS, json={"architecture": cells[0]["genotype"], "value": 0}).json()
    path = f"{OBSERVATIONS}/{old['observations'][0]['id']}/correction"

    answers = _together(lambda writer: client.post(path, json={"value": writer, "reason": "r"}))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * (NUM_WRITERS - 1)
    assert client.get("/v1/tasks/digits").json()["num_observations"] == 1


def test_the_same_task_created_by_many_is_one_task(client: TestClient) -> None:
    body = {
        "name": "digits",
        "search_space": "nasbench201",
        "dataset": "digits",
        "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
    }

    answers = _together(lambda _: client.post("/v1/tasks", json=body))

    assert sorted(answer.status_code for answer in answers) == [200] * (NUM_WRITERS - 1) + [201]
    assert len(client.get("/v1/tasks").json()["items"]) == 1
