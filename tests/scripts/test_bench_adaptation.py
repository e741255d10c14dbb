"""The benchmark of adaptation runs and reports; how long anything took is none of a test's business."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import ModuleType

import pytest
from script_modules import load_script

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.search_spaces.nasbench201 import NASBench201

ROOT = Path(__file__).parents[2]
TABLES = Path(os.environ.get("ARCHCAST_BENCHMARK_DATA", ROOT.parent / "shared" / "data"))

pytestmark = pytest.mark.skipif(
    not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
    reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_adaptation")


def test_every_size_is_reported_with_its_aim(bench, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    bench.main(["--sizes", "10", "100", "--repeats", "1"])

    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| 1")]
    assert [row[:3] for row in rows] == [["10", "10", ""], ["100", "100", "under 2 s"]]
    assert all(float(row[3]) > 0.0 for row in rows)


def test_related_tasks_without_tables_are_refused(bench, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main(["--related"])

    assert "--related: expected --tables" in capsys.readouterr().err


def test_beyond_our_own_benchmark_values_are_invented(bench) -> None:
    within, beyond = bench.own_cells(40, seed=0), bench.own_cells(1_600, seed=0)

    assert (within.invented, len(within.observed)) == (0, 40)
    assert (beyond.invented, len(beyond.observed)) == (110, 1_600)  # 1,500 cells, ten of which are kept to warm up on
    assert not {one.architecture.hash for one in within.unseen} & {one.architecture.hash for one in within.observed}


def test_invented_values_grow_with_convolutions(bench) -> None:
    space = NASBench201()
    cells = [
        space.parse(f"|{one}~0|+|{one}~0|{one}~1|+|{one}~0|{one}~1|{one}~2|")
        for one in ("skip_connect", "nor_conv_1x1", "nor_conv_3x3")
    ]

    values = [bench.invented_value(cell) for cell in cells]

    assert values == sorted(values)
    assert len(set(values)) == 3


def test_what_is_not_known_is_a_dash(bench) -> None:
    found = [bench.Adaptation(2_000, 1_900, seconds, 1.5, math.nan, 0.8) for seconds in (1.0, 3.0, 2.0)]

    assert bench.report(found).splitlines()[-1] == "| 2,000 | 1,900 |  | 2.00 (1.00–3.00) | 1.50 | – | 0.800 |"


def test_what_related_tasks_take_is_told_where_there_are_any(bench) -> None:
    alone, beside = (bench.Adaptation(10, 10, 3.0, 3.0, 100.0, 0.8, seconds) for seconds in (0.0, 1.0))

    assert "related" not in bench.report([alone])
    header, _, row = bench.report([beside]).splitlines()
    assert header.startswith("| observations | different networks | aim | seconds | for what related tasks say |")
    assert row == "| 10 | 10 |  | 3.00 | 1.00 | 3.00 | 100 | 0.800 |"


def test_a_repeat_tells_its_memory_where_the_system_does(bench) -> None:
    bench.reset_peak()

    known = Path("/proc/self/status").exists()
    assert math.isnan(bench.resident_mb()) is not known
    assert not known or bench.peak_mb() > 10.0


@pytest.mark.skipif(
    not (TABLES / "nb201_accuracy.parquet").is_file(),
    reason=f"needs the published table nb201_accuracy in {TABLES}, or in the folder that ARCHCAST_BENCHMARK_DATA names",
)
def test_published_networks_that_are_asked_about_were_not_observed(bench) -> None:
    cells = bench.published_cells(TABLES, 10_000, seed=0)

    observed, unseen = ({one.architecture.hash for one in part} for part in (cells.observed, cells.unseen))
    assert len(cells.observed) == 10_000
    assert len(unseen) == len(cells.unseen) == 1_000
    assert not observed & unseen


@pytest.mark.skipif(
    not (TABLES / "nb201_accuracy.parquet").is_file(),
    reason=f"needs the published table nb201_accuracy in {TABLES}, or in the folder that ARCHCAST_BENCHMARK_DATA names",
)
def test_beside_related_tasks_the_other_accuracies_of_the_table_are_heard(bench, monkeypatch, capsys) -> None:
    cells = bench.published_cells(TABLES, 10, seed=0, with_related=True)
    assert sorted(one.task.name for one in cells.related) == [
        "nasbench201/cifar100/accuracy", "nasbench201/imagenet16_120/accuracy",
    ]  # fmt: skip

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    bench.main(["--tables", str(TABLES), "--related", "--sizes", "20", "--repeats", "1"])

    out = capsys.readouterr().out
    assert out.startswith("nasbench201/cifar10/accuracy, beside related tasks, 1 thread(s)")
    row = out.splitlines()[-1].strip("| ").split(" | ")
    assert 0.0 < float(row[4]) < float(row[3])  # of the seconds, what related tasks say
    tau = float(row[-1])
    assert tau > 0.85  # alone: 0.80
