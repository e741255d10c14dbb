"""The benchmark of meta-training runs and reports; how fast anything was is none of a test's business."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import torch
from script_modules import load_script

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER

pytestmark = [
    pytest.mark.skipif(
        not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
        reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("learn2learn") is None, reason="needs learn2learn (extra meta), the other engine"
    ),
]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_meta_training")


def test_both_engines_do_the_same_work_for_the_same_gradients(bench, capsys) -> None:
    bench.main(["--devices", "cpu", "--tasks", "1", "2", "--support", "4", "--query", "4", "--repeats", "1"])

    out = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| cpu")]
    assert [row[:3] for row in rows] == [
        ["cpu", engine, tasks] for tasks in ("1", "2") for engine in ("batched", "learn2learn")
    ]
    assert rows[0][4] == "1.00"
    assert all(0.0 < float(row[6]) < 1.0 for row in rows)  # less than one large product reaches
    assert float(out.split("(float32): ")[1].split()[0]) < 1e-4


def test_operations_are_told_per_episode_and_as_a_share_of_the_limit(bench) -> None:
    speeds = [
        bench.Speed("cpu", "batched", 8, (10.0, 20.0, 15.0), 2e9),
        bench.Speed("cuda", "batched", 64, (300.0,), 2e9),
    ]

    rows = bench.report(speeds, {"cpu": 60e9, "cuda": 60e12}).splitlines()[-2:]

    assert rows == [
        "| cpu | batched | 8 | 15.0 (10.0–20.0) | 1.00 | 30 | 0.500 |",
        "| cuda | batched | 64 | 300.0 (300.0–300.0) | 20.00 | 600 | 0.010 |",
    ]


@pytest.mark.parametrize(
    "device", ["tpu", pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"))]
)
def test_a_device_that_is_not_there_is_refused(bench, capsys, device) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main(["--devices", device])

    assert f"expected cpu or, where there is a GPU, cuda or cuda:N, got '{device}'" in capsys.readouterr().err
