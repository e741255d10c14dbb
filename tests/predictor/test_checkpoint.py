from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import torch

from predictor import checkpoint
from predictor.errors import CheckpointError
from predictor.meta_predictor import MetaPredictor

REPOSITORY = Path(__file__).parents[2]


def test_what_was_written_is_read_again(tmp_path, tiny_meta) -> None:
    checkpoint.write(tmp_path / "new" / "folder", tiny_meta.to_bytes(), tiny_meta.manifest)

    loaded = MetaPredictor.load(tmp_path / "new" / "folder")

    assert loaded.version == tiny_meta.version
    assert loaded.manifest == tiny_meta.manifest
    assert torch.equal(loaded.log_step_sizes, tiny_meta.log_step_sizes)
    for name, value in loaded.surrogate.state_dict().items():
        assert torch.equal(value, tiny_meta.surrogate.state_dict()[name])


def test_the_version_names_the_weights_and_nothing_else(tiny_meta) -> None:
    tensors = checkpoint.from_bytes(tiny_meta.to_bytes())
    renamed = MetaPredictor.from_bytes(tiny_meta.to_bytes(), {**tiny_meta.manifest, "note": "another"})
    tensors["log_step_sizes"] = tensors["log_step_sizes"] + 1e-6

    changed = MetaPredictor.from_bytes(checkpoint.to_bytes(tensors), tiny_meta.manifest)

    assert renamed.version == tiny_meta.version
    assert changed.version != tiny_meta.version
    assert len(changed.version) == 32


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tiny_meta, bad) -> None:
    tensors = checkpoint.from_bytes(tiny_meta.to_bytes())
    tensors["surrogate.head.mean.bias"] = torch.tensor([bad])

    with pytest.raises(CheckpointError, match=r"surrogate\.head\.mean\.bias"):
        MetaPredictor.from_bytes(checkpoint.to_bytes(tensors), tiny_meta.manifest)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_bytes_that_were_cut_off_are_refused(tiny_meta, length) -> None:
    with pytest.raises(CheckpointError, match="safetensors"):
        MetaPredictor.from_bytes(tiny_meta.to_bytes()[:length], tiny_meta.manifest)


def test_weights_for_another_encoding_are_refused(tiny_meta) -> None:
    other = {**tiny_meta.manifest, "encoding": {**checkpoint.encoding_fingerprint(), "version": 999}}

    with pytest.raises(CheckpointError, match="999"):
        MetaPredictor.from_bytes(tiny_meta.to_bytes(), other)


@pytest.mark.parametrize(
    "change",
    [
        {"surrogate": {"width": 32, "num_blocks": 1, "num_context": 12}},
        {"surrogate": {"breadth": 16}},
        {"surrogate": None},
        {"inner": {}},
        {"inner": {"ranking_weight": "much"}},
        {"priors": {"accuracy": {"location": 1.0}}},
        {"priors": [1]},
        {"widths": {"numbers": [0]}},
        {"widths": {"numbers": [0, 1], "factors": [1.0]}},
        {"widths": {"numbers": [], "factors": []}},
    ],
    ids=str,
)
def test_a_manifest_that_does_not_fit_is_refused(tiny_meta, change) -> None:
    with pytest.raises(CheckpointError):
        MetaPredictor.from_bytes(tiny_meta.to_bytes(), {**tiny_meta.manifest, **change})


def test_step_sizes_of_another_surrogate_are_refused(tiny_meta) -> None:
    tensors = checkpoint.from_bytes(tiny_meta.to_bytes())
    tensors["log_step_sizes"] = tensors["log_step_sizes"][:, :-1]

    with pytest.raises(CheckpointError, match="step sizes"):
        MetaPredictor.from_bytes(checkpoint.to_bytes(tensors), tiny_meta.manifest)


@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b"\xff\xfe\x00"])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path, tiny_meta, content) -> None:
    checkpoint.write(tmp_path, tiny_meta.to_bytes(), tiny_meta.manifest)
    (tmp_path / checkpoint.MANIFEST_FILE).write_bytes(content)

    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        MetaPredictor.load(tmp_path)


@pytest.mark.parametrize("missing", [checkpoint.WEIGHTS_FILE, checkpoint.MANIFEST_FILE])
def test_a_missing_file_is_named(tmp_path, tiny_meta, missing) -> None:
    checkpoint.write(tmp_path, tiny_meta.to_bytes(), tiny_meta.manifest)
    (tmp_path / missing).unlink()

    with pytest.raises(CheckpointError, match="No such file"):
        MetaPredictor.load(tmp_path)


def test_the_manifest_can_be_read_by_anyone(tmp_path, tiny_meta) -> None:
    checkpoint.write(tmp_path, tiny_meta.to_bytes(), tiny_meta.manifest)

    assert json.loads((tmp_path / "manifest.json").read_text())["inner"]["num_steps"] == 4


def forbidden(source: str) -> list[str]:
    """Imports of pickle and its kin, calls of torch's pickling functions, and eval, in a Python file."""
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in modules]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found += [called] if called in ("torch.load", "torch.save", "eval", "exec") else []
    return found


def test_the_search_for_pickles_finds_them() -> None:
    source = "import pickle\nfrom dill import load\ntorch.load('x')\neval('1')\nnetwork.eval()\n"

    assert sorted(forbidden(source)) == ["dill", "eval", "pickle", "torch.load"]


@pytest.mark.parametrize("folder", ["predictor", "app", "scripts", "migrations"])
def test_nothing_is_pickled_or_evaluated_anywhere(folder) -> None:
    files = list((REPOSITORY / folder).rglob("*.py"))

    assert files
    assert {str(path): forbidden(path.read_text()) for path in files if forbidden(path.read_text())} == {}
