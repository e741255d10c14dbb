from __future__ import annotations

import itertools
import json
from types import ModuleType

import pyarrow.parquet as pq
import pytest
from script_modules import load_script

from predictor.evaluate.training import Measurement
from predictor.search_spaces.nasbench201 import NASBench201

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
OTHER = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    """The script, with trainings that are only told about."""
    module = load_script("measure_cells")
    module.trained = []

    def told(operations, dataset, seed):
        module.trained.append((dataset, tuple(operations), seed))
        return Measurement((1, 3), (50.0, 60.0 + seed), (0.5, 1.5), 2.0, 1000, 20_000)

    monkeypatch.setattr(module, "train_and_measure", told)
    monkeypatch.setattr(
        module, "IMAGE_DATASETS", {"digits": lambda: "digits", "photo_regions": lambda: "photo_regions"}
    )
    monkeypatch.setattr(module.torch, "set_num_threads", lambda _: None)
    return module


def run(script, monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["measure_cells.py", *arguments])
    script.main()


def test_different_networks_are_chosen_always_the_same_ones(script, monkeypatch) -> None:
    some = list(itertools.islice(NASBench201().enumerate(), 0, 15_625, 60))
    monkeypatch.setattr(script.NASBench201, "enumerate", lambda _self: iter(some))

    chosen = script.chosen_cells(1000)

    parsed = [NASBench201().parse(cell) for cell in chosen]
    assert len({cell.hash for cell in parsed}) == len(chosen) == len({cell.hash for cell in some if cell.edges})
    assert all(cell.edges for cell in parsed)
    assert script.chosen_cells(5) == chosen[:5]


def test_every_cell_is_planned_once_on_every_data_set_before_any_is_repeated(script, monkeypatch) -> None:
    monkeypatch.setattr(script, "chosen_cells", lambda count: ["a", "b", "c"][:count])

    planned = list(script.planned(3, 2))

    assert [(cell, seed) for dataset, cell, seed in planned[:6]] == [(cell, 0) for cell in "aabbcc"]
    assert len(planned) == len(set(planned)) == 6 + 2 * 2 * 2
    assert {(cell, seed) for _, cell, seed in planned[6:]} == {("a", 1), ("a", 2), ("b", 1), ("b", 2)}


def test_what_is_in_the_journal_is_not_trained_again(script, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(script, "chosen_cells", lambda count: [CELL, OTHER][:count])

    run(script, monkeypatch, "--journal", str(tmp_path), "--count", "1", "--repeated", "0")
    first = list(script.trained)
    run(script, monkeypatch, "--journal", str(tmp_path), "--count", "2", "--repeated", "1")

    operations = ("nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "none", "nor_conv_1x1")
    assert first == [("digits", operations, 0), ("photo_regions", operations, 0)]
    assert len(script.trained) == len(set(script.trained)) == 2 * 2 + 2 * 2


def test_shards_share_the_work_without_doing_anything_twice(script, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(script, "chosen_cells", lambda count: [CELL, OTHER][:count])
    for shard in ("0/2", "1/2"):
        run(
            script,
            monkeypatch,
            "--journal",
            str(tmp_path / shard[0]),
            "--shard",
            shard,
            "--count",
            "2",
            "--repeated",
            "1",
        )

    assert len(script.trained) == len(set(script.trained)) == 2 * 2 + 2 * 2


def test_a_line_cut_off_by_a_kill_costs_that_training_and_no_other(script, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(script, "chosen_cells", lambda count: [CELL, OTHER][:count])
    arguments = ("--journal", str(tmp_path), "--count", "2", "--repeated", "0")
    run(script, monkeypatch, *arguments)
    journal = next(tmp_path.glob("*.jsonl"))
    journal.write_text(journal.read_text()[:-25])
    script.trained.clear()

    run(script, monkeypatch, *arguments)
    assert len(script.trained) == 1
    run(script, monkeypatch, *arguments)

    assert len(script.trained) == 1  # the one that was made good stands in the journal
    assert len(script.journal_rows(tmp_path)) == 4


def test_the_journal_becomes_a_table_with_its_provenance(script, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(script, "chosen_cells", lambda count: [CELL, OTHER][:count])
    run(script, monkeypatch, "--journal", str(tmp_path), "--count", "2", "--repeated", "1")
    output = tmp_path / "new" / "measured_cells.parquet"

    run(script, monkeypatch, "--journal", str(tmp_path), "--finish", str(output))

    table = pq.read_table(output)
    assert table.num_rows == 8 * 2  # a row for every fidelity
    last = [row for row in table.to_pylist() if row["fidelity_epochs"] == 3 and row["cell"] == CELL]
    assert sorted(row["accuracy_percent"] for row in last) == [60.0, 60.0, 61.0, 61.0, 62.0, 62.0]
    provenance = json.loads(table.schema.metadata[b"archcast"])
    assert provenance["training"]["fidelities"] == [1, 3, 9]
    assert provenance["licence"] == "Apache-2.0"
    assert "scikit-learn" in provenance["datasets"]
