"""The commands best, pareto, export, import of an export, backup, restore and doctor: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from app import cli, cli_data
from app.client import Client
from app.database import Database

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings

Cells = list[dict[str, str]]
Run = Callable[..., Result]


@pytest.fixture
def run(client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `archcast` against the service and its database."""

    def connected(url: str) -> Client:
        reached = Client(url)
        reached._http.close()
        reached._http = client
        return reached

    monkeypatch.setattr(Client, "close", lambda self: None)
    monkeypatch.setattr(cli_data, "Client", connected)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


@pytest.fixture
def measured(client: TestClient, post_task: Any, cells: Cells) -> None:
    post_task("digits")
    post_task("latency", metric={"name": "latency", "unit": "ms", "direction": "minimize"})
    for task, values in {"digits": [0.9, 0.8, 0.7], "latency": [3.0, 2.0, 2.5]}.items():
        rows = [{"architecture": cell["genotype"], "value": value} for cell, value in zip(cells, values, strict=False)]
        assert client.post(f"/v1/tasks/{task}/observations", json={"observations": rows}).status_code == 201


@pytest.mark.usefixtures("measured")
def test_the_best_come_as_a_table_or_as_json(run: Run, cells: Cells) -> None:
    table, document = run("best", "digits", "-k", "2"), run("best", "digits", "-k", "2", "--json")

    assert [line.split() for line in table.stdout.splitlines()] == [
        ["rank", "fraction", "std", "count", "architecture"],
        ["1", "0.9", "-", "1", cells[0]["genotype"]],
        ["2", "0.8", "-", "1", cells[1]["genotype"]],
    ]
    assert [one["mean"] for one in json.loads(document.stdout)["items"]] == [0.9, 0.8]


@pytest.mark.usefixtures("measured")
def test_the_front_comes_as_a_table_or_as_json(run: Run, cells: Cells) -> None:
    table, document = run("pareto", "digits", "latency"), run("pareto", "digits", "latency", "--json")

    lines = table.stdout.splitlines()
    assert lines[0].split("  ")[0] == "digits [fraction, maximize]"
    assert [line.split() for line in lines[1:3]] == [
        ["0.9", "3", cells[0]["genotype"]],
        ["0.8", "2", cells[1]["genotype"]],
    ]
    assert lines[3] == "2 of 3 architectures measured in all of them"
    assert json.loads(document.stdout)["num_measured"] == 3


def test_what_is_refused_ends_with_one_line(run: Run) -> None:
    refused = run("pareto", "nowhere", "elsewhere")

    assert refused.exit_code == 1
    assert "nowhere" in refused.stderr


@pytest.mark.usefixtures("measured")
def test_a_task_is_exported_and_imported_once(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "task.csv")

    exported, again = run("export", "digits", file), run("export", "digits", file)
    first, second = (run("import", file, "--name", "copy", "--json") for _ in range(2))

    assert exported.stdout == f"3 observations of digits written to {file}\n"
    assert (again.exit_code, again.stderr) == (
        1,
        f"archcast: expected a new file, or --force, got {file}, which exists\n",
    )
    assert json.loads(first.stdout) == {"task": "copy", "num_created": 3, "num_duplicates": 0}
    assert json.loads(second.stdout) == {"task": "copy", "num_created": 0, "num_duplicates": 3}


@pytest.mark.usefixtures("measured")
def test_a_backup_is_made_and_restored_by_force_alone(run: Run, tmp_path: Path) -> None:
    file = str(tmp_path / "one.zip")

    made = run("backup", file, "--json")
    refused = run("restore", file)
    restored = run("restore", file, "--force")

    assert json.loads(made.stdout)["engine"] == "sqlite"
    assert (refused.exit_code, "or --force" in refused.stderr) == (1, True)
    assert restored.stdout.startswith(f"restored from {file}: sqlite of ")


def levels(answer: Result) -> dict[str, str]:
    return {one["check"]: one["level"] for one in json.loads(answer.stdout)["findings"]}


@pytest.mark.both_engines
@pytest.mark.usefixtures("champion")
def test_the_doctor_finds_a_healthy_service_healthy(run: Run, engine: str) -> None:
    table, document = run("doctor"), run("doctor", "--json")

    assert (table.exit_code, document.exit_code) == (0, 0)
    assert json.loads(document.stdout)["is_healthy"] is True
    found = levels(document)
    assert {"database", "schema", "champion", "worker", "clock", "disk", "settings", "packages", "gpu"} == set(found)
    assert "error" not in found.values()


def test_the_doctor_misses_a_champion_and_says_what_to_do(run: Run) -> None:
    answer = run("doctor")

    assert answer.exit_code == 1
    assert "champion: Start `archcast serve`, which stores the one that comes with the program." in answer.stdout


@pytest.mark.usefixtures("champion", "measured")
def test_the_doctor_notices_that_nobody_works(run: Run, settings: Settings) -> None:
    with closing(Database(settings.database_url)) as database, database.write() as session:
        session.execute(text("UPDATE jobs SET created_at = '2020-01-01 00:00:00.000000'"))

    answer = run("doctor", "--json")

    assert (answer.exit_code, levels(answer)["worker"]) == (1, "error")


@pytest.mark.usefixtures("champion")
def test_the_doctor_notices_weights_that_cannot_be_read(run: Run, settings: Settings) -> None:
    with closing(Database(settings.database_url)) as database, database.write() as session:
        session.execute(text("UPDATE model_versions SET weights = x'00'"))

    answer = run("doctor", "--json")

    assert (answer.exit_code, levels(answer)["champion"]) == (1, "error")


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ARCHCAST_PROT", "8001", "ARCHCAST_PROT is set, and means nothing"),
        ("ARCHCAST_PREDICTION_LOG_PER_REQUEST", "0", "forbids it"),
        ("ARCHCAST_LEASE_SECONDS", "0.2", "too short"),
        ("ARCHCAST_TORCH_THREADS", "4096", "processors"),
    ],
)
def test_the_doctor_notices_settings_that_contradict_each_other(
    run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)

    plain, strict = run("doctor"), run("doctor", "--strict")

    assert said in plain.stdout
    assert (plain.exit_code, strict.exit_code) == (0, 1)


@pytest.mark.usefixtures("champion")
def test_the_doctor_lists_data_sets_and_notices_a_folder_that_is_not_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces.npz").touch()
    monkeypatch.setenv("ARCHCAST_DATASETS", str(tmp_path))
    there = run("doctor")
    monkeypatch.setenv("ARCHCAST_DATASETS", str(tmp_path / "nowhere"))
    gone = run("doctor", "--json")

    assert "digits, photo_regions, breast_cancer, iris, wine, faces" in " ".join(there.stdout.split())
    assert (there.exit_code, gone.exit_code, levels(gone)["data sets"]) == (0, 1, "error")


def test_the_doctor_makes_no_database_where_there_is_none(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHCAST_DATABASE_URL", f"sqlite:///{tmp_path / 'nowhere' / 'none.sqlite3'}")

    answer = run("doctor", "--json")

    assert (answer.exit_code, levels(answer)["database"]) == (1, "error")
    assert not (tmp_path / "nowhere").exists()


def test_the_doctor_says_that_a_server_does_not_answer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHCAST_DATABASE_URL", "postgresql+psycopg://nobody:secret@127.0.0.1:1/none")

    answer = run("doctor", "--json")

    assert (answer.exit_code, levels(answer)["database"]) == (1, "error")
    assert "secret" not in answer.stdout


def test_the_doctor_notices_an_old_schema(run: Run, settings: Settings) -> None:
    with closing(Database(settings.database_url)) as database, database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'ffffffffffff'"))

    answer = run("doctor")

    assert answer.exit_code == 1
    assert "A newer Archcast has migrated this database" in answer.stdout
