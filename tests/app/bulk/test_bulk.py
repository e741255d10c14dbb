"""Whole files as jobs: forecasts of very many architectures, and imports."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow.csv
import pyarrow.parquet
import pytest
from sqlalchemy import func, select

from app import queue
from app.bulk import scoring
from app.database import Database
from app.jobs.progress import JobStoppedError, Progress
from app.tables import JobFileRecord, JobRecord, ObservationRecord
from app.worker import Worker

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]
BULK, IMPORT = "/v1/tasks/digits/predictions:bulk", "/v1/tasks/digits/observations:import"
CSV, JSON_LINES = {"content-type": "text/csv"}, {"content-type": "application/x-ndjson"}
PARQUET = {"content-type": "application/vnd.apache.parquet"}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_PART", 8)
    monkeypatch.setattr(scoring, "_PIECE", 4)


def num_files(database: Database, role: str) -> int:
    with database.read() as session:
        query = select(func.count()).select_from(JobFileRecord).where(JobFileRecord.role == role)
        return session.scalar(query) or 0


def num_observations(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count(ObservationRecord.id))) or 0


def csv_of(cells: Cells, **columns: Any) -> bytes:
    names = ["architecture", *columns]
    lines = [",".join([cell["genotype"], *map(str, columns.values())]) for cell in cells]
    return "\n".join([",".join(names), *lines]).encode()


def test_all_architectures_are_forecast_as_if_they_had_been_asked_for_one_by_one(
    client: TestClient, worker: Worker, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    asked = [*(cell["genotype"] for cell in cells[:20]), "no cell"]
    expected = client.post("/v1/tasks/digits/predictions", json={"architectures": asked}).json()["predictions"]

    queued = client.post(BULK, json={"architectures": asked})
    too_early = client.get(f"{queued.headers['location']}/result")
    worker.run_one([queue.SCORE])

    job = client.get(queued.headers["location"]).json()
    rows = pyarrow.parquet.read_table(
        io.BytesIO(client.get(f"{queued.headers['location']}/result").content)
    ).to_pylist()
    assert (queued.status_code, too_early.status_code, job["state"]) == (202, 409, "done")
    assert [row["index"] for row in rows] == list(range(21))
    for row, one in zip(rows[:20], expected[:20], strict=True):
        assert (row["architecture_id"], row["genotype"]) == (one["architecture_id"], one["genotype"])
        assert [row[name] for name in ("mean", "std", "lower", "upper")] == pytest.approx(
            [one[name] for name in ("mean", "std", "lower", "upper")], rel=1e-5
        )
    assert rows[20]["mean"] is None
    assert rows[20]["error"] == expected[20]["error"]["detail"]
    result = job["result"]
    assert (result["num_architectures"], result["num_refused"], len(result["best"])) == (21, 1, 10)
    by_mean = sorted(expected[:20], key=lambda one: -one["mean"])
    assert [one["architecture_id"] for one in result["best"][:3]] == [one["architecture_id"] for one in by_mean[:3]]
    assert num_files(database, queue.INPUT) == 0


def test_a_result_may_be_taken_as_csv(client: TestClient, worker: Worker, post_task: Any, cells: Cells) -> None:
    post_task()
    queued = client.post(BULK, content=csv_of(cells[:10], note="mine"), headers=CSV)
    worker.run_one([queue.SCORE])

    answer = client.get(f"{queued.headers['location']}/result?format=csv")

    table = pyarrow.csv.read_csv(io.BytesIO(answer.content))
    assert table.column_names == list(scoring.COLUMNS)
    assert table["genotype"].to_pylist() == [cell["genotype"] for cell in cells[:10]]
    assert answer.headers["content-disposition"].endswith(f'forecasts-{queued.json()["id"]}.csv"')


def test_a_job_that_is_taken_over_goes_on_with_the_next_part(
    client: TestClient, worker: Worker, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    queued = client.post(BULK, json={"architectures": [cell["genotype"] for cell in cells[:20]]}).json()
    real = worker.work[queue.SCORE]

    def dies_after_one_part(payload: Mapping[str, Any], progress: Progress) -> Any:
        saved = progress.store.save

        def save(*arguments: Any, **named: Any) -> bool:
            saved(*arguments, **named)
            raise RuntimeError("the power is off")

        progress.store.save = save  # type: ignore[method-assign]
        return real(payload, progress)

    dataclasses.replace(worker, work={queue.SCORE: dies_after_one_part}).run_one([queue.SCORE])
    assert num_files(database, queue.RESULT) == 1
    with database.write() as session:
        session.get_one(JobRecord, queued["id"]).lease_expires_at = None
    worker.run_one([queue.SCORE])

    rows = pyarrow.parquet.read_table(io.BytesIO(client.get(f"/v1/jobs/{queued['id']}/result").content)).to_pylist()
    assert [row["genotype"] for row in rows] == [cell["genotype"] for cell in cells[:20]]
    assert "going on from 8" in client.get(f"/v1/jobs/{queued['id']}").json()["log_tail"]


def test_forecasts_of_two_adaptations_are_not_mixed(
    client: TestClient, worker: Worker, database: Database, post_task: Any, cells: Cells, observe: Any,
    run_adaptations: Any,
) -> None:  # fmt: skip
    post_task()
    queued = client.post(BULK, json={"architectures": [cell["genotype"] for cell in cells[:20]]}).json()
    real = worker.work[queue.SCORE]

    def stops_after_one_part(payload: Mapping[str, Any], progress: Progress) -> Any:
        progress.save({"adaptation": ["another", None, 0], "num_done": 8}, part=(0, b"old"))
        progress.save({"adaptation": ["another", None, 0], "num_done": 16}, part=(7, b"older"))
        return real(payload, progress)

    dataclasses.replace(worker, work={queue.SCORE: stops_after_one_part}).run_one([queue.SCORE])

    rows = pyarrow.parquet.read_table(io.BytesIO(client.get(f"/v1/jobs/{queued['id']}/result").content)).to_pylist()
    assert len(rows) == 20
    assert num_files(database, queue.RESULT) == 3


def test_a_cancelled_job_leaves_no_half_of_a_result(
    client: TestClient, worker: Worker, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    queued = client.post(BULK, json={"architectures": [cell["genotype"] for cell in cells[:20]]}).json()

    def cancelled(payload: Mapping[str, Any], progress: Progress) -> Any:
        progress.save({"num_done": 8}, part=(0, b"half"))
        client.post(f"/v1/jobs/{queued['id']}:cancel")
        progress.cancel()
        raise JobStoppedError

    dataclasses.replace(worker, work={queue.SCORE: cancelled}).run_one([queue.SCORE])

    assert client.get(f"/v1/jobs/{queued['id']}").json()["state"] == "cancelled"
    assert (num_files(database, queue.RESULT), num_files(database, queue.INPUT)) == (0, 1)
    assert client.get(f"/v1/jobs/{queued['id']}/result").status_code == 409
    assert client.post(f"/v1/jobs/{queued['id']}:retry").json()["state"] == "queued"
    worker.run_one([queue.SCORE])
    assert client.get(f"/v1/jobs/{queued['id']}").json()["result"]["num_architectures"] == 20


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{}", {"content-type": "application/json"}, 422),
        (b'{"architectures": []}', {"content-type": "application/json"}, 422),
        (b'{"architectures": ["a"], "more": 1}', {"content-type": "application/json"}, 422),
        (b'{"architectures": [NaN]}', {"content-type": "application/json"}, 400),
        (b"", CSV, 422),
        (b"x", {"content-type": "text/plain"}, 415),
        (b"x", {}, 415),
    ],
)
def test_what_cannot_be_forecast_in_bulk_is_refused_at_once(
    client: TestClient, post_task: Any, content: bytes, headers: dict[str, str], status: int
) -> None:
    post_task()

    assert client.post(BULK, content=content, headers=headers).status_code == status
    assert client.get("/v1/jobs?kind=score").json()["items"] == []


@pytest.mark.parametrize(
    ("content", "headers", "said"),
    [
        (b"genotype\nx\n", CSV, "row 1: expected an architecture, got none"),
        (b"architecture\n", CSV, "expected 1 to 1000000 architectures, got 0"),
        (b"\xff\xfe\xfa", CSV, "expected a file that can be read"),
        (b"no parquet", PARQUET, "expected a file that can be read"),
        (b"[1]\n", JSON_LINES, "expected a JSON object, got list"),
    ],
)
def test_a_file_that_cannot_be_read_fails_the_job_for_good(
    client: TestClient, worker: Worker, post_task: Any, content: bytes, headers: dict[str, str], said: str
) -> None:
    post_task()
    queued = client.post(BULK, content=content, headers=headers).json()

    worker.run_one([queue.SCORE])

    job = client.get(f"/v1/jobs/{queued['id']}").json()
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert said in job["error"]


def test_a_file_of_observations_is_recorded_once(
    client: TestClient, worker: Worker, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    lines = "\n".join(f"{cell['genotype']},0.{n},{cell['id']}" for n, cell in enumerate(cells[:30], start=10))
    content = f"architecture,value,client_key\n{lines}\n".encode()

    results = []
    for _ in range(2):
        queued = client.post(IMPORT, content=content, headers=CSV)
        worker.run_one([queue.IMPORT])
        results.append(client.get(queued.headers["location"]).json()["result"])

    assert results == [
        {"task": "digits", "num_created": 30, "num_duplicates": 0},
        {"task": "digits", "num_created": 0, "num_duplicates": 30},
    ]
    assert client.get("/v1/tasks/digits").json()["num_observations"] == 30
    assert num_observations(database) == 30


def test_one_bad_row_keeps_the_whole_file_out_and_is_named(
    client: TestClient,
    worker: Worker,
    database: Database,
    post_task: Any,
    cells: Cells,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.observation_files.BATCH_SIZE", 4)
    post_task()
    lines = [f"{cell['genotype']},0.5" for cell in cells[:10]]
    lines[6], lines[8] = "no cell,0.5", f"{cells[0]['genotype']},1e40"
    queued = client.post(IMPORT, content="\n".join(["architecture,value", *lines]).encode(), headers=CSV).json()

    worker.run_one([queue.IMPORT])

    job = client.get(f"/v1/jobs/{queued['id']}").json()
    assert job["state"] == "failed"
    assert "nothing was recorded: row 7: architecture: " in job["error"]
    assert "row 9: value: " in job["log_tail"]
    assert num_observations(database) == 0


def test_a_client_key_that_is_taken_by_other_content_fails_the_import_for_good(
    client: TestClient, worker: Worker, database: Database, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:1], [0.1], client_key="mine")
    queued = client.post(IMPORT, content=csv_of(cells[:1], value=0.2, client_key="mine"), headers=CSV).json()

    worker.run_one([queue.IMPORT])

    job = client.get(f"/v1/jobs/{queued['id']}").json()
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert "client key 'mine'" in job["error"]
    assert num_observations(database) == 1


def test_only_bulk_jobs_have_a_file_to_download(client: TestClient, database: Database) -> None:
    with database.write() as session:
        job_id = queue.enqueue_adaptation(session, 1)

    assert client.get(f"/v1/jobs/{job_id}/result").status_code == 404
    assert client.get("/v1/jobs/99/result").status_code == 404
    assert client.get(f"/v1/jobs/{job_id}/result?format=xls").status_code == 422


def test_files_for_a_task_that_is_not_there_are_refused(client: TestClient) -> None:
    for path in ("/v1/tasks/none/predictions:bulk", "/v1/tasks/none/observations:import"):
        assert client.post(path, content=b"architecture\nx\n", headers=CSV).status_code == 404
