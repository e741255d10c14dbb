"""The benchmark of the service runs and reports; how fast anything was is none of a test's business."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
from script_modules import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_service")


def test_sections_and_databases_are_chosen_by_name(bench: ModuleType) -> None:
    chosen = bench.arguments(["--section", "lists", "--database", "sqlite", "--quick"])

    assert (chosen.section, chosen.database, chosen.quick) == (["lists"], ["sqlite"], True)
    with pytest.raises(SystemExit):
        bench.arguments(["--section", "unknown"])


@pytest.mark.parametrize("section", ["lists"])
def test_a_quick_run_reports_every_figure(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], section: str
) -> None:
    monkeypatch.chdir(ROOT)

    bench.main(["--quick", "--section", section, "--database", "sqlite", "--output", str(tmp_path / "service.json")])

    document = json.loads((tmp_path / "service.json").read_text())
    figures = document["sections"][section]
    printed = capsys.readouterr().out
    assert figures
    assert all(one["what"] in printed and all(value > 0.0 for value in one["values"]) for one in figures)


def test_a_database_that_cannot_be_had_is_left_out(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(database: str) -> object:
        raise bench.postgresql_server.UnavailableError("no programs")

    monkeypatch.setattr(bench, "place", missing)

    reports = bench.measured(["lists"], ["postgresql"], True)

    assert reports["lists"].figures == {}
    assert "no postgresql here" in capsys.readouterr().err
