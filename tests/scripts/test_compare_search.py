from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from script_modules import load_script

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.contest.search_results import SearchResults

pytestmark = pytest.mark.skipif(
    not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
    reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("compare_search")


@pytest.fixture
def run(script, monkeypatch, tmp_path) -> Callable[..., int]:
    """The script on our own benchmark alone, small."""
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)

    def main(*arguments: str) -> int:
        places = ["--results", str(tmp_path / "results"), "--versions", str(tmp_path / "versions")]
        small = ["--seeds", "2", "--budget", "12", "--searchers", "random", "evolution"]
        monkeypatch.setattr("sys.argv", ["compare_search.py", *places, *small, *arguments])
        return script.main()

    return main


def test_searches_are_run_reported_and_never_run_twice(run, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an optional extra")
    store = SearchResults(tmp_path / "results")

    assert run("--view", "task") == 0
    first = store.load()
    files = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*.parquet")}
    assert run("--view", "task") == 0

    assert {(one.case, one.searcher, one.seed) for one in first} == {
        ("nasbench201/digits/accuracy", name, seed) for name in ("random", "evolution") for seed in (0, 1)
    }
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*.parquet")} == files
    capsys.readouterr()

    assert run("--report", "--view", "task") == 0
    printed = capsys.readouterr().out
    assert "| evolution |" in printed
    assert (store.folder / "report" / "task.md").read_text() in printed
    assert (store.folder / "report" / "task.png").is_file()


def test_versions_that_are_missing_are_named(run, capsys) -> None:
    assert run("--list") == 0
    assert run("--view", "space", "--cases", "*digits*") == 0

    printed = capsys.readouterr().out
    assert "p2_nasbench201" in printed
    assert "missing: the version of training p2_nasbench201" in printed


def test_strategies_of_several_fidelities_are_rows_and_what_fits_nobody_is_named(run, tmp_path, capsys) -> None:
    assert run("--view", "task", "--seeds", "1", "--searchers", "asha", "hyperband") == 0

    found = SearchResults(tmp_path / "results").load()
    assert {one.searcher for one in found} == {"asha", "hyperband"}
    assert all(one.costs and one.costs[-1] <= 12.0 + 1e-6 for one in found)
    assert run("--searchers", "bandit") == 2
    assert "got 'bandit'" in capsys.readouterr().err


def test_who_cannot_search_a_table_is_named(run, capsys) -> None:
    assert run("--view", "task", "--seeds", "1", "--searchers", "random", "q_learning") == 0

    assert "nasbench201/digits/accuracy goes without q_learning" in capsys.readouterr().out
