from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_modules import load_script

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.tasks import Metric, SupportSet, Task

pytestmark = pytest.mark.skipif(
    not (SHIPPED_FOLDER / "measured_cells.parquet").is_file(),
    reason="needs the benchmark that ships with the package (scripts/measure_cells.py makes it)",
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("meta_train")


@pytest.fixture
def run(script, monkeypatch, tmp_path):
    """Runs the script on our own benchmark, small; answers where it wrote to."""
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)

    def main(*arguments: str) -> Path:
        small = ["--width", "16", "--blocks", "1", "--inner-steps", "2", "--max-architectures", "70", "--device", "cpu"]
        places = ["--output", str(tmp_path / "output"), "--state", str(tmp_path / "state")]
        monkeypatch.setattr("sys.argv", ["meta_train.py", *places, *small, "--tasks-per-batch", "2", *arguments])
        script.main()
        return tmp_path

    return main


def test_it_stops_goes_on_and_writes_a_version_that_can_be_used(run) -> None:
    folder = run("--steps", "3", "--until", "1", "--engine", "learn2learn")
    first = MetaPredictor.load(folder / "output")
    run("--steps", "3")
    second = MetaPredictor.load(folder / "output")

    assert first.manifest["outer_steps"] == 1
    assert second.manifest["outer_steps"] == 3
    assert second.manifest["engines"] == {"learn2learn": 1, "batched": 2}
    assert second.version != first.version
    assert json.loads((folder / "state" / "history.json").read_text())["engines"] == second.manifest["engines"]
    space, rng = NASBench201(), np.random.default_rng(0)
    cells = tuple(space.sample(rng) for _ in range(8))
    task = Task(space.name, "digits", Metric("accuracy", "%", "maximize"))
    adapted = second.adapt(task, space, SupportSet(cells, tuple(np.linspace(80, 95, 8)), (1,) * 8))
    assert bool(np.isfinite(adapted.predict(cells).mean).all())


def test_the_manifest_says_what_went_in_and_what_was_kept_out(run) -> None:
    manifest = MetaPredictor.load(run("--steps", "1") / "output").manifest

    assert manifest["kept_out"]["test"]
    assert all("/digits/" in name for name in manifest["kept_out"]["test"])
    assert manifest["trained_on"]
    assert not any("/digits/" in name for name in manifest["trained_on"])
    assert set(manifest["metrics"]["test"]) == set(manifest["kept_out"]["test"])
    for key in ("commit", "torch", "seed", "seconds", "device", "priors", "widths", "num_parameters"):
        assert key in manifest, key


def test_a_leave_out_training_keeps_its_tasks_out_of_training_and_calibration(script, monkeypatch, tmp_path) -> None:
    output = ["--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["meta_train.py", *output, "--leave-out", "p2_nasbench201"])
    args = script.arguments()

    parts = {part: [one.task.name for one in tasks] for part, tasks in script.load_tasks(args).items()}

    assert parts["train"] == parts["validation"] == []
    assert "nasbench201/photo_regions/accuracy" in parts["test"]
    assert args.state == Path("var/meta_train/p2_nasbench201")
    monkeypatch.setattr("sys.argv", ["meta_train.py", *output])
    assert script.arguments().state == Path("var/meta_train")


def test_only_a_trainings_own_patterns_keep_a_data_set_out(script) -> None:
    kept_out = {
        name: [task for task in ("nasbench201/cifar100/accuracy", "nasbench201/digits/accuracy") if script.matches(task, script.kept_out_of(name))]
        for name in (None, "p1_f0_f3", "p1_f1_f4", "p2_nasbench101_fbnet")
    }  # fmt: skip

    assert [len(tasks) for tasks in kept_out.values()] == [2, 2, 1, 1]
    assert kept_out["p2_nasbench101_fbnet"] == ["nasbench201/digits/accuracy"]


def test_a_leave_out_trainings_name_is_in_the_manifest(run) -> None:
    manifest = MetaPredictor.load(run("--steps", "1", "--leave-out", "p3_devices") / "output").manifest

    assert manifest["leave_out"] == "p3_devices"
    assert "nasbench201/photo_regions/accuracy" in manifest["trained_on"]
