from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest
from script_modules import load_script
from sklearn.datasets import load_digits

from predictor.search_spaces.registry import search_space

SMALL = ["--epochs", "2", "--channels", "2", "--stages", "2", "--retraining-epochs", "1", "--test-images", "50"]


@pytest.fixture(scope="module")
def darts() -> ModuleType:
    return load_script("darts")


def test_a_search_writes_what_it_found(darts, tmp_path, capsys) -> None:
    darts.main(["--output", str(tmp_path), "--train-images", "100", *SMALL])

    document = json.loads((tmp_path / "result.json").read_text())
    genotype = (tmp_path / "genotype.txt").read_text().strip()
    assert search_space("nasbench201").parse(genotype).genotype == genotype == document["genotype"]
    assert [record["epoch"] for record in document["history"]] == [1, 2]
    assert f"{document['accuracy_percent']:.2f} %" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["genotype.txt", "result.json"]


def test_an_interrupted_search_goes_on(darts, tmp_path, monkeypatch) -> None:
    given = ["--output", str(tmp_path / "whole"), "--train-images", "100", "--early-stopping", *SMALL]
    darts.main(given)
    given[1] = str(tmp_path / "parts")
    kept = darts.checkpoint_file

    def one_checkpoint(path):
        checkpoints = kept(path)
        return type(checkpoints)(lambda content: (checkpoints.save(content), 1 / 0), checkpoints.last)

    with monkeypatch.context() as patched:
        patched.setattr(darts, "checkpoint_file", one_checkpoint)
        with pytest.raises(ZeroDivisionError):
            darts.main(given)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["checkpoint.safetensors"]
    darts.main(given)

    whole, parts = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "parts"))
    assert parts == whole


def test_an_image_file_can_be_searched_on(darts, tmp_path) -> None:
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8)[:160], digits.target[:160]
    path = tmp_path / "few.npz"
    np.savez(path, x_train=images[:100], y_train=labels[:100], x_test=images[100:], y_test=labels[100:])

    darts.main(["--data", str(path), "--output", str(tmp_path / "found"), *SMALL])

    assert (tmp_path / "found" / "genotype.txt").exists()


def test_what_cannot_be_searched_ends_with_one_line(darts, tmp_path) -> None:
    with pytest.raises(SystemExit, match="search space of cells"):
        darts.main(["--space", "fbnet", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match="warmup_epochs"):
        darts.main(["--warmup-epochs", "50", "--output", str(tmp_path)])
