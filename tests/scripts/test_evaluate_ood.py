from __future__ import annotations

from types import ModuleType

import pytest
from script_modules import load_script

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.contest.shifts import PARTS

pytestmark = pytest.mark.skipif(
    not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
    reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
)
SMALL = ["--observations", "8", "--asked", "30", "--strangers", "4", "--seeds", "1"]
DIGITS = "nasbench201/digits/accuracy"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("evaluate_ood")


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("sys.argv", ["evaluate_ood.py", *SMALL, *arguments])
    script.main()


def test_what_ships_is_asked_far_from_what_was_measured(script, monkeypatch, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="plots are an optional extra")

    run(script, monkeypatch, "--figure", str(tmp_path / "ood.png"))

    printed = capsys.readouterr().out
    for part in PARTS:
        assert f"### Measured: {part}" in printed
    assert f"| {DIGITS} |" in printed
    assert f"## Asked of {DIGITS} as a task on graphs" in printed
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ") for line in printed.splitlines()}
    score, apart = (float(one) for one in rows["all operations of unknown kinds"][2:4])
    assert score > 0.5
    assert apart > 0.9
    assert rows["fbnet"][5:7] == ["–", "–"]  # nothing was measured of those
    assert (tmp_path / "ood.png").is_file()


def test_patterns_that_fit_no_task_end_the_run(script, monkeypatch) -> None:
    with pytest.raises(SystemExit, match="expected tasks that fit nothing"):
        run(script, monkeypatch, "--tasks", "nothing")
