"""The benchmark of the service runs and reports; how fast anything was is none of a test's business."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from script_modules import load_script
from sqlalchemy import func, select, update

from app.tables import TaskRecord, TrialRecord

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database
    from app.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_service")


def test_sections_and_databases_are_chosen_by_name(bench: ModuleType) -> None:
    chosen = bench.arguments(["--section", "lists", "--database", "sqlite", "--quick"])

    assert (chosen.section, chosen.database, chosen.quick) == (["lists"], ["sqlite"], True)
    with pytest.raises(SystemExit):
        bench.arguments(["--section", "unknown"])


@pytest.mark.parametrize("section", ["lists", "suggesting", "workers"])
def test_a_quick_run_reports_every_figure(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], section: str
) -> None:
    monkeypatch.chdir(ROOT)

    bench.main(["--quick", "--section", section, "--database", "sqlite", "--output", str(tmp_path / "service.json")])

    document = json.loads((tmp_path / "service.json").read_text())
    figures = document["sections"][section]
    printed = capsys.readouterr().out
    assert figures
    assert all(one["what"] in printed for one in figures)
    expected_nothing = [one["values"] for one in figures if one["target"] == "0"]
    assert expected_nothing == [[0.0]] * (2 if section == "workers" else 0)
    assert all(value > 0.0 for one in figures if one["target"] != "0" for value in one["values"])


def test_what_workers_were_told_and_the_database_does_not_hold_is_seen(
    client: TestClient, database: Database, settings: Settings, post_task: Any, cells: Any
) -> None:
    workers = load_script("service_workers")
    post_task(workers.TASK)
    path = f"/v1/tasks/{workers.TASK}/trials"
    asked = [cell["genotype"] for cell in cells[:2]]
    client.post(path, json={"architectures": asked})
    trials = client.post(f"{path}:suggest", json={"worker_id": "w", "count": 2}).json()["trials"]
    told = {"lease_token": trials[0]["lease_token"], "observations": [{"value": 0.5}]}
    client.post(f"{path}/{trials[0]['id']}:complete", json=told)
    seen = workers.Seen(completed={trials[0]["id"]})

    assert workers.broken(settings.database_url, seen) == []

    seen.completed.add(trials[1]["id"])
    with database.write() as session:
        session.execute(update(TaskRecord).values(num_observations=2))
        own = TrialRecord.architecture_id
        session.execute(
            update(TrialRecord).values(architecture_id=select(func.min(own)).scalar_subquery(), state="failed")
        )
    assert len(workers.broken(settings.database_url, seen)) == 4


def test_a_database_that_cannot_be_had_is_left_out(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(database: str) -> object:
        raise bench.postgresql_server.UnavailableError("no programs")

    monkeypatch.setattr(bench, "place", missing)

    reports = bench.measured(["lists"], ["postgresql"], True)

    assert reports["lists"].figures == {}
    assert "no postgresql here" in capsys.readouterr().err
