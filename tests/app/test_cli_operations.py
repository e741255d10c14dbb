"""`archcast jobs`, `archcast model` and bulk files on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from app import cli, cli_operations, queue
from app.client import Client, ClientError
from app.database import Database
from app.model_versions import service

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.worker import Worker

Cells = list[dict[str, str]]
Run = Callable[..., Result]


@pytest.fixture
def connected(champion: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The client of the service in this process."""
    reached = Client("http://service")
    reached._http.close()
    reached._http = client
    monkeypatch.setattr(Client, "close", lambda self: None)
    return reached


@pytest.fixture
def run(connected: Client, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `archcast` against the service."""
    for module in (cli, cli_operations):
        monkeypatch.setattr(module, "Client", lambda url: connected)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


@pytest.fixture
def other(client: TestClient, database: Database, make_champion: Any) -> str:
    """A second model version."""
    made = make_champion(2)
    with database.write() as session:
        service.add(session, made.version, None, "fine_tune", dict(made.manifest), made.to_bytes())
    version: str = made.version
    return version


def test_jobs_are_listed_cancelled_tried_again_and_their_log_is_shown(run: Run, database: Database) -> None:
    with database.write() as session:
        job_id = str(queue.enqueue_adaptation(session, 1))

    listed, cancelled = run("jobs", "list"), run("jobs", "cancel", job_id)
    retried, log = run("jobs", "retry", job_id), run("jobs", "log", job_id)

    assert listed.stdout.splitlines()[0].split() == [
        "id", "kind", "state", "percent", "attempts", "next_attempt_at", "error"
    ]  # fmt: skip
    assert listed.stdout.splitlines()[1].split() == [job_id, "adapt", "queued", "0", "0", "-", "-"]
    assert cancelled.stdout == f"job {job_id} is cancelled\n"
    assert retried.stdout == f"job {job_id} is queued\n"
    assert log.stdout.endswith("queued again by request\n")
    assert json.loads(run("jobs", "list", "--json").stdout)[0]["id"] == int(job_id)
    assert json.loads(run("jobs", "log", job_id, "--json").stdout)["is_whole"]


def test_what_is_refused_ends_with_one_line_and_exit_code_1(run: Run) -> None:
    result = run("jobs", "cancel", "99")

    assert result.exit_code == 1
    assert result.stderr == "archcast: expected the id of a job, got 99\n"


def test_versions_are_listed_promoted_and_rolled_back_by_their_first_digits(run: Run, other: str) -> None:
    promoted = run("model", "promote", other[:6], "--reason", "better")
    listed = run("model", "list")
    back = run("model", "rollback", "--reason", "worse")

    assert promoted.stdout.startswith(f"champion is {other}, before it was ")
    assert any(
        line.startswith(other) and "champion" in line and "better" in line for line in listed.stdout.splitlines()
    )
    assert back.stdout.endswith(f"before it was {other}\n")
    assert len(json.loads(run("model", "list", "--json").stdout)) == 2


@pytest.mark.parametrize("version", ["", "none"])
def test_what_names_no_version_or_several_is_refused(run: Run, other: str, version: str) -> None:
    result = run("model", "promote", version, "--reason", "better")

    assert result.exit_code == 1
    assert "expected an alias or the first digits of one model version" in result.stderr


def test_a_task_is_pinned_and_unpinned(run: Run, other: str, post_task: Any) -> None:
    post_task()

    pinned, unpinned = (
        run("model", "pin", "digits", *which, "--reason", "because") for which in ([other[:8]], ["--off"])
    )

    assert pinned.stdout == f"digits is pinned to {other}\n"
    assert unpinned.stdout == "digits is not pinned any more\n"
    assert run("model", "pin", "digits", "--reason", "because").exit_code == 2


def test_a_version_is_downloaded_and_uploaded(run: Run, other: str, tmp_path: Path) -> None:
    file = tmp_path / "version.zip"

    downloaded, uploaded = run("model", "download", other, str(file)), run("model", "upload", str(file))

    assert downloaded.stdout == f"{file}: {file.stat().st_size} bytes\n"
    assert uploaded.stdout == f"model version {other} is stored\n"
    assert list(tmp_path.glob("*.part")) == []


def test_a_file_that_is_no_version_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "version.zip").write_bytes(b"nothing")

    result = run("model", "upload", str(tmp_path / "version.zip"))

    assert result.exit_code == 1
    assert "expected a ZIP archive, got 7 bytes" in result.stderr


def test_a_download_that_is_refused_leaves_no_file(connected: Client, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="expected the id of a model version"):
        connected.download_version("none", tmp_path / "version.zip")

    assert list(tmp_path.glob("version.zip*")) == []


def test_two_versions_are_compared(
    run: Run, connected: Client, other: str, worker: Worker, post_task: Any, cells: Cells, observe: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    post_task()
    finished = connected.finished_job

    def when_the_worker_has_run(job_id: int) -> dict[str, Any]:
        worker.run_one([queue.COMPARE])
        return finished(job_id)

    monkeypatch.setattr(connected, "finished_job", when_the_worker_has_run)

    result = run("model", "compare", "champion", other, "--task", "digits")

    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "comparison", "episodes_log_likelihood", "episodes_kendall_tau", "logged_log_likelihood"
    ]  # fmt: skip


def test_a_file_is_scored_and_the_result_written(
    run: Run, connected: Client, worker: Worker, post_task: Any, cells: Cells, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    post_task()
    asked, written = tmp_path / "asked.csv", tmp_path / "forecasts.csv"
    asked.write_text("architecture\n" + "".join(f"{cell['genotype']}\n" for cell in cells[:5]))
    finished = connected.finished_job

    def when_the_worker_has_run(job_id: int) -> dict[str, Any]:
        worker.run_one([queue.SCORE])
        return finished(job_id)

    monkeypatch.setattr(connected, "finished_job", when_the_worker_has_run)

    result = run("score", "digits", str(asked), str(written))

    assert result.stdout == f"5 architectures forecast, 0 of them refused: {written}\n"
    assert len(written.read_text().splitlines()) == 6


def test_a_file_is_imported_as_a_job(
    run: Run, connected: Client, worker: Worker, post_task: Any, cells: Cells, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    post_task()
    file = tmp_path / "measured.csv"
    file.write_text("architecture,value\n" + "".join(f"{cell['genotype']},0.5\n" for cell in cells[:5]))
    finished = connected.finished_job

    def when_the_worker_has_run(job_id: int) -> dict[str, Any]:
        worker.run_one([queue.IMPORT])
        return finished(job_id)

    monkeypatch.setattr(connected, "finished_job", when_the_worker_has_run)

    assert run("import", "digits", str(file), "--as-job").stdout == "5 observations recorded, 0 were there before\n"
    assert run("import", "digits", str(file), "--as-job", "--direct").exit_code == 2


def test_a_file_of_another_kind_is_refused_before_it_is_sent(run: Run, tmp_path: Path) -> None:
    (tmp_path / "asked.xls").write_text("")

    result = run("score", "digits", str(tmp_path / "asked.xls"), str(tmp_path / "forecasts.csv"))

    assert result.exit_code == 1
    assert "expected a file that ends in .csv, .jsonl, .parquet, got 'asked.xls'" in result.stderr
