from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from script_modules import load_script

from predictor.champion import shipped_champion

pytestmark = pytest.mark.skipif(
    not (shipped_champion() / "weights.safetensors").is_file(),
    reason="needs the champion that ships with the package",
)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("compare_training")


@pytest.fixture
def images(tmp_path) -> Path:
    """Three classes of noisy stripes."""
    rng, path = np.random.default_rng(0), tmp_path / "stripes.npz"
    parts: dict[str, np.ndarray] = {}
    for part, count in (("train", 90), ("test", 30)):
        labels = np.arange(count) % 3
        waves = np.sin((labels[:, None] + 1) * np.arange(8)[None, :])
        stripes = 128 + 80 * waves[:, None, :] + rng.normal(0, 20, (count, 8, 8))
        parts |= {f"x_{part}": stripes.clip(0, 255).astype(np.uint8), f"y_{part}": labels}
    np.savez(path, **parts)
    return path


@pytest.fixture
def run(script, monkeypatch, tmp_path, images) -> Callable[..., int]:
    """The script with a tiny budget."""
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)

    def main(*arguments: str) -> int:
        size = ["--images", "40", "--validation-images", "12", "--test-images", "20", "--resolution", "0"]
        length = ["--epochs", "1", "--channels", "2", "--batch-size", "20", "--budget", "3", "--seeds", "1"]
        places = ["--data", str(images), "--folder", str(tmp_path / "found"), "--retrainings", "2"]
        monkeypatch.setattr("sys.argv", ["compare_training.py", *places, *size, *length, *arguments])
        return int(script.main())

    return main


def test_everybody_searches_winners_are_trained_again_and_nothing_twice(run, tmp_path, capsys) -> None:
    trainings, searches = tmp_path / "found" / "trainings.jsonl", tmp_path / "found" / "searches.jsonl"

    assert run() == 0
    first, printed = trainings.read_text(), capsys.readouterr().out
    assert run() == 0
    assert run("--report") == 0

    assert trainings.read_text() == first
    rows = [json.loads(line) for line in first.splitlines()]
    keys = [(row["architecture"], row["recipe"], row["seed"]) for row in rows]
    assert len(set(keys)) == len(keys)
    names = [json.loads(line)["contestant"] for line in searches.read_text().splitlines()]
    assert names == ["random", "evolution", "Archcast", "Archcast, tasks of the package"]
    assert {row["seed"] for row in rows} == {0, 1, 2}
    assert all(f"| {name} |" in printed for name in names)
    assert "winner of 3 trainings" in printed
    assert capsys.readouterr().out.endswith(printed[-200:])


def test_a_killed_run_trains_what_is_missing_alone(run, tmp_path) -> None:
    trainings, searches = tmp_path / "found" / "trainings.jsonl", tmp_path / "found" / "searches.jsonl"
    assert run("--contestants", "random", "Archcast") == 0
    before = set(trainings.read_text().splitlines())
    courses = searches.read_text().splitlines()
    searches.write_text("")
    kept = sorted(before)[:-1]
    trainings.write_text("\n".join(kept) + "\n")

    assert run("--contestants", "random", "Archcast") == 0

    rows = [json.loads(line) for line in trainings.read_text().splitlines()]
    assert len(rows) == len(before)
    again = [json.loads(line)["architectures"] for line in searches.read_text().splitlines()]
    assert again == [json.loads(line)["architectures"] for line in courses]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--images", "1000"], "from 1 to"),
        (["--epochs", "0"], "epochs"),
        (["--budget", "0"], "at least 1 training"),
        (["--seconds", "-1"], "0 or more seconds"),
        (["--seeds", "0"], "--seeds"),
        (["--threads", "0"], "--threads"),
        (["--retrainings", "-1"], "--retrainings"),
        (["--channels", "0"], "stem_channels"),
        (["--contestants", "nobody"], "expected patterns"),
        (["--tables", "/nowhere/at/all"], "expected published tables"),
    ],
)
def test_bad_input_is_named(run, capsys, arguments: list[str], said: str) -> None:
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err


def test_images_that_the_champion_knows_are_refused(run, images, capsys) -> None:
    known = images.rename(images.with_name("cifar10_small.npz"))

    assert run("--data", str(known)) == 2
    assert "has not seen" in capsys.readouterr().err


def test_a_report_of_nothing_says_so(run, capsys) -> None:
    assert run("--report") == 0
    assert "no searches of 3 trainings" in capsys.readouterr().out
