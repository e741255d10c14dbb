"""The serving benchmark runs and reports; how fast anything was is none of a test's business."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_modules import load_script

ROOT = Path(__file__).parents[2]
CHAMPION = ROOT / "predictor" / "champion" / "weights.safetensors"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return load_script("bench_serving")


def test_a_figure_shows_its_median_and_range(bench: ModuleType) -> None:
    report = bench.Report()
    for value in (3.0, 1.0, 2000.0):
        report.add("requests", value, "/s", "many")

    assert report.markdown().splitlines()[-1] == "| requests | many | 3 /s (1–2,000) |"


def test_architectures_that_were_not_seen_differ(bench: ModuleType) -> None:
    source = bench.computed_cells(np.random.default_rng(0))

    found = [next(source) for _ in range(500)]

    assert len(set(found)) == 500
    assert len(set(bench.cells(np.random.default_rng(0)))) == 15_625


def test_arguments_shrink_the_run(bench: ModuleType) -> None:
    size = bench.size_of(bench.arguments(["--repeats", "2", "--ingest", "5000", "--no-shipped"]))

    assert (size.repeats, size.ingested, size.load_shipped, size.large) == (2, 5_000, False, 10_000)


def test_an_answer_that_is_an_error_ends_the_load(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with bench.empty_endpoint() as port:
        answered = bench.load(port, [bench.EMPTY] * 5, 2)
        with pytest.raises(RuntimeError, match="expected an answer of 200"):
            bench.load(port, [bench.EMPTY.replace(b"/empty", b"/nothing")])

    assert len(answered.latencies) == 5


@pytest.mark.skipif(not CHAMPION.exists(), reason=f"NO CHAMPION SHIPS: expected {CHAMPION.name} in predictor/champion")
def test_a_quick_run_reports_every_figure(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    bench.main(["--quick", "--output", str(tmp_path / "serving.json")])

    document = json.loads((tmp_path / "serving.json").read_text())
    values = {one["what"]: one["values"] for one in document["figures"]}
    printed = capsys.readouterr().out
    assert len(values) == 28
    assert all(what in printed for what in values)
    assert all(math.isnan(value) or value > 0.0 for many in values.values() for value in many)
    assert document["machine"]["cores"] >= 1
