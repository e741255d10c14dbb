from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType

import pytest
from script_modules import load_script

from predictor import checkpoint, shipped_champion
from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.contest.ours import WITHOUT_PARTS
from predictor.contest.results import ResultStore

pytestmark = pytest.mark.skipif(
    not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
    reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
)
DIGITS = "nasbench201/digits/accuracy"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("evaluate_predictor")


@pytest.fixture
def run(script, monkeypatch, tmp_path) -> Callable[..., int]:
    """The script on our own benchmark alone, small."""
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)

    def main(*arguments: str) -> int:
        places = ["--results", str(tmp_path / "results"), "--versions", str(tmp_path / "versions")]
        small = ["--seeds", "2", "--sizes", "5", "10", "--num-query", "40"]
        monkeypatch.setattr("sys.argv", ["evaluate_predictor.py", *places, *small, *arguments])
        return script.main()

    return main


def test_what_ships_is_evaluated_reported_and_never_computed_twice(run, tmp_path, capsys, monkeypatch) -> None:
    pytest.importorskip("matplotlib", reason="plots are an optional extra")
    chosen = ["--cases", DIGITS, "--contestants", "ridge", "parameters"]
    store = ResultStore(tmp_path / "results")

    assert run(*chosen) == 0
    first = store.load()
    files = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*.parquet")}
    assert run(*chosen) == 0

    assert {(one.contestant, one.seed, one.num_observations) for one in first} == {
        (name, seed, size) for name in ("ridge", "parameters") for seed in (0, 1) for size in (5, 10)
    }
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*.parquet")} == files
    capsys.readouterr()

    assert run("--report") == 0
    printed = capsys.readouterr().out
    assert "| ridge |" in printed
    assert (store.folder / "report" / "P0.md").read_text() in printed
    assert (store.folder / "report" / "P0_kendall_tau_random.png").is_file()


def test_ours_and_its_parts_take_part_with_the_version_that_ships(run, tmp_path) -> None:
    assert run("--cases", DIGITS, "--contestants", "Archcast*", "--seeds", "1", "--sizes", "0", "5") == 0

    found = {(one.contestant, one.num_observations) for one in ResultStore(tmp_path / "results").load()}
    parts = ("Archcast", "Archcast without related tasks", "Archcast without residual process")
    ours = {(name, size) for name in parts for size in (0, 5)}
    assert found == ours | {(name, 5) for name in (*WITHOUT_PARTS, "Archcast from scratch")}


def test_a_case_whose_training_is_missing_goes_without_ours_and_says_so(run, tmp_path, capsys) -> None:
    assert run("--protocol", "P2", "--cases", DIGITS, "--contestants", "Archcast", "ridge") == 0

    assert "missing: the version of training p2_nasbench201" in capsys.readouterr().out
    assert {one.contestant for one in ResultStore(tmp_path / "results").load()} == {"ridge"}


def test_a_version_that_saw_what_is_left_out_is_refused(run, tmp_path, capsys) -> None:
    weights, manifest = checkpoint.read(shipped_champion())
    checkpoint.write(tmp_path / "versions" / "p2_nasbench201", weights, manifest)

    assert run("--protocol", "P2", "--cases", DIGITS, "--contestants", "Archcast") == 0

    assert "refused: " in capsys.readouterr().out
    assert ResultStore(tmp_path / "results").load() == []


def test_a_version_that_did_not_see_it_is_used(run, tmp_path) -> None:
    weights, manifest = checkpoint.read(shipped_champion())
    innocent = manifest | {"trained_on": [], "kept_out": {"validation": [], "test": []}}
    checkpoint.write(tmp_path / "versions" / "p2_nasbench201", weights, json.loads(json.dumps(innocent)))

    assert run("--protocol", "P2", "--cases", DIGITS, "--contestants", "Archcast", "--seeds", "1") == 0

    assert {one.contestant for one in ResultStore(tmp_path / "results").load()} == {"Archcast"}


def test_diverse_support_sets_are_kept_beside_random_ones(run, tmp_path) -> None:
    small = ["--seeds", "1", "--sizes", "10", "--selection", "random", "diverse"]

    assert run("--cases", DIGITS, "--contestants", "ridge", *small) == 0

    found = [(one.contestant, one.selection) for one in ResultStore(tmp_path / "results").load()]
    assert sorted(found) == [("ridge", "diverse"), ("ridge", "random")]


def test_learning_curves_have_contestants_of_their_own(run, tmp_path) -> None:
    chosen = ["--protocol", "P5", "--cases", f"{DIGITS}:to_1_epochs", "--seeds", "1", "--sizes", "0", "10"]

    assert run(*chosen, "--contestants", "last fidelity", "GP*", "ridge") == 0

    found = {(one.contestant, one.num_observations) for one in ResultStore(tmp_path / "results").load()}
    assert found == {("last fidelity", 0), ("last fidelity", 10), ("GP on curve and decisions", 10)}


def test_the_list_names_protocols_trainings_and_what_is_there(run, capsys) -> None:
    assert run("--list") == 0

    printed = capsys.readouterr().out
    for expected in ("P0", "P5", "p3_help", "missing", str(shipped_champion()), "(not in the tables)"):
        assert expected in printed
