"""The demonstration in small: one seed, eight really trained cells, over HTTP against a service that it starts itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from script_modules import load_script

pytest.importorskip("matplotlib", reason="the demonstration draws with matplotlib (the extra `plots`)")

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not (ROOT / "predictor" / "champion" / "weights.safetensors").exists(),
    reason="NO CHAMPION SHIPS: expected weights.safetensors in predictor/champion, got nothing there",
)


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    return load_script("demo")


@pytest.fixture(scope="module")
def output(demo: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a small demonstration wrote."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(
            sys,
            "argv",
            [
                *("demo.py", "--seeds", "1", "--budget", "8", "--initial", "4", "--round", "2", "--epochs", "1"),
                *("--num-test", "20", "--fine-tune-steps", "0", "--output", str(folder)),
            ],
        )
        demo.main()
    return folder


def test_the_table_has_a_line_for_every_round(output: Path) -> None:
    lines = (output / "demo_digits.md").read_text().splitlines()

    sizes = [line.split("|")[1].strip() for line in lines if line.startswith("| ") and line[2].isdigit()]
    assert sizes == ["4", "6", "8"]


def test_the_picture_is_one(output: Path) -> None:
    assert (output / "demo_digits.png").read_bytes().startswith(b"\x89PNG")


def test_every_training_is_in_the_journal_once(output: Path) -> None:
    trained = [json.loads(line) for line in (output / "trainings_digits.jsonl").read_text().splitlines()]

    keys = [(one["cell"], one["seed"], one["epochs"]) for one in trained]
    assert len(keys) == len(set(keys))
    assert 8 <= len(keys) <= 12  # both arms share the first four
    assert all(0.0 <= one["accuracy"] <= 100.0 for one in trained)


def test_what_is_in_the_journal_is_not_trained_again(
    demo: ModuleType, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = json.loads((output / "trainings_digits.jsonl").read_text().splitlines()[0])
    monkeypatch.setattr(demo, "train_and_measure", lambda *_: pytest.fail("expected no training, got one"))

    resumed = demo.RealTraining("digits", 1, output / "trainings_digits.jsonl", 20)

    assert resumed.measure(first["cell"], first["seed"]) == first["accuracy"]
