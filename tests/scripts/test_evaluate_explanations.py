from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest
from known_forecasts import KnownForecaster, additive
from script_modules import load_script

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.explain.gradients import EdgeShare, GradientExplanation, NodeShare
from predictor.explain.reading import parts_of
from predictor.explain.shapley import ShapleyConfig, explain_shapley
from predictor.search_spaces.registry import search_space

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("evaluate_explanations")


@pytest.mark.skipif(
    not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
    reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
)
def test_swaps_between_measured_cells_are_compared_and_kept(script, monkeypatch, tmp_path, capsys) -> None:
    journal = tmp_path / "journal.jsonl"
    arguments = ["--journal", str(journal), "--sizes", "8", "--seeds", "1", "--swapped", "4"]
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("sys.argv", ["evaluate_explanations.py", *arguments])

    script.main()
    first = journal.read_text()
    script.main()

    assert journal.read_text() == first  # what is done is not done again
    lines = {one["method"]: one for one in map(json.loads, first.splitlines())}
    assert set(lines) == set(script.SWAP_METHODS)
    assert lines["swaps"]["count"] == lines["random"]["count"] > 0
    assert 0.0 <= lines["swaps"]["inside"] <= 1.0
    assert f"| 8 | swaps | 1 | {lines['swaps']['rho']:.2f} |" in capsys.readouterr().out


def test_whoever_says_the_truth_agrees_with_it(script) -> None:
    true = np.array([1.0, -2.0, 0.0, 3.0])

    assert script._agreement(true, true) == pytest.approx({"rho": 1.0, "sign": 1.0, "error": 0.0, "count": 4.0})
    assert script._agreement(-true, true) == pytest.approx({"rho": -1.0, "sign": 0.0, "error": 3.0, "count": 4.0})


def test_the_right_order_of_parts_has_the_largest_area(script) -> None:
    space = search_space("nasbench201")
    parts, truth = parts_of(space, space.parse(CELL)), KnownForecaster(additive)
    values = explain_shapley(parts, truth, np.random.default_rng(3), ShapleyConfig(num_variants=8)).values
    scores = np.array([one.value for one in values])

    right, wrong = (script._area(parts, one, truth, 3, 8) for one in (scores, -scores))

    assert right > 0.0 > wrong


def test_an_edge_of_a_cell_gets_its_node_its_ends_and_its_decision(script) -> None:
    space = search_space("nasbench201")
    parts = parts_of(space, space.parse(CELL))
    canonical = parts.architecture.canonical()
    nodes = tuple(
        NodeShare(n, one.kind, 100.0 * (one.kind == "avg_pool")) for n, one in enumerate(canonical.operations)
    )
    edges = tuple(EdgeShare(source, target, 2.0) for source, target in canonical.edges)
    decisions = {part.name: float(number) for number, part in enumerate(parts.parts)}
    told = GradientExplanation(parts.architecture, 0.0, 0.0, nodes, edges, decisions, 0.0, 0.0, 0.0, 1)

    found = script.by_decision(parts, told)

    # each of the four operations has an edge in and one out; two edges of the cell have none
    assert found.tolist() == [2.0, 1.0, 4.0, 5.0, 4.0, 107.0]
