"""Model versions as one file, from anywhere."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from predictor import checkpoint, version_archive
from predictor.champion import shipped_champion
from predictor.errors import CheckpointError
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import with_manifest
from predictor.tasks import SupportSet
from predictor.version_archive import pack, unpack

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def version(tiny_meta) -> MetaPredictor:
    return with_manifest(tiny_meta, {"format": checkpoint.MANIFEST_FORMAT})


def archive(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as made:
        for name, file in files.items():
            made.writestr(name, file)
    return content.getvalue()


def files_of(version: MetaPredictor) -> dict[str, bytes]:
    manifest = json.dumps(version.manifest).encode()
    return {checkpoint.MANIFEST_FILE: manifest, checkpoint.WEIGHTS_FILE: version.to_bytes()}


def with_weights(version: MetaPredictor, change: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    tensors = checkpoint.from_bytes(version.to_bytes())
    change(tensors)
    return archive({**files_of(version), checkpoint.WEIGHTS_FILE: checkpoint.to_bytes(tensors)})


def test_what_is_packed_comes_out_as_it_was(version) -> None:
    found = unpack(pack(version))

    assert (found.version, found.manifest, found.to_bytes()) == (version.version, version.manifest, version.to_bytes())
    assert pack(found) == pack(version)


def test_the_champion_that_ships_can_be_packed_and_unpacked() -> None:
    champion = MetaPredictor.load(shipped_champion())

    assert unpack(pack(champion)).version == champion.version


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["manifest.json"],
        ["weights.safetensors"],
        ["manifest.json", "weights.pickle"],
        ["manifest.json", "weights.safetensors", "setup.py"],
        ["../manifest.json", "weights.safetensors"],
        ["/manifest.json", "weights.safetensors"],
        ["folder/manifest.json", "folder/weights.safetensors"],
    ],
)
def test_an_archive_of_other_files_is_refused(version, names) -> None:
    contents = list(files_of(version).values())

    with pytest.raises(
        CheckpointError, match=r"expected an archive of manifest\.json and weights\.safetensors, got files"
    ):
        unpack(archive({name: contents[place % 2] for place, name in enumerate(names)}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(version) -> None:
    content = io.BytesIO(pack(version))
    with zipfile.ZipFile(content, "a") as made:
        made.writestr(checkpoint.MANIFEST_FILE, b"{}")

    with pytest.raises(CheckpointError, match="got files"):
        unpack(content.getvalue())


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive" * 100, bytes(1_000)])
def test_what_is_no_archive_is_refused(content) -> None:
    with pytest.raises(CheckpointError, match="expected a ZIP archive, got"):
        unpack(content)


def test_an_archive_that_is_cut_off_or_changed_is_refused(version) -> None:
    whole = pack(version)
    place = whole.index(version.to_bytes()[-100:])
    changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]

    for broken in (whole[:-1], whole[: len(whole) // 2], changed):
        with pytest.raises(CheckpointError, match="expected a ZIP archive"):
            unpack(broken)


def test_a_compressed_file_is_refused_before_it_is_read(version) -> None:
    bomb = archive({**files_of(version), checkpoint.WEIGHTS_FILE: bytes(50_000_000)}, zipfile.ZIP_DEFLATED)

    with pytest.raises(CheckpointError, match="stored as it is, got a compressed one"):
        unpack(bomb)


def test_a_file_that_is_too_large_is_refused(version, monkeypatch) -> None:
    monkeypatch.setattr(version_archive, "MAX_MANIFEST_BYTES", 100)

    with pytest.raises(CheckpointError, match=r"expected manifest\.json of at most 100 bytes, got \d+"):
        unpack(pack(version))


def test_what_hides_between_the_files_is_refused(version) -> None:
    with pytest.raises(CheckpointError, match="expected an archive of two files alone"):
        unpack(bytes(100_000) + pack(version))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "object, got list"),
        (b'{"format": NaN}', "got NaN"),
        (b'{"format": 1e999}', "got 1e999"),
        (b"[" * 100_000, "JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper"),
        (b"{}", "format 1, got None"),
    ],
)
def test_a_manifest_that_is_none_is_refused(version, text, said) -> None:
    with pytest.raises(CheckpointError, match=said):
        unpack(archive({**files_of(version), checkpoint.MANIFEST_FILE: text}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest["surrogate"].update(width=10**9), "width between 1 and 1024, got 1000000000"),
        (lambda manifest: manifest["surrogate"].update(num_blocks=10**9), "num_blocks between 1 and 32"),
        (lambda manifest: manifest["surrogate"].update(width=16.0), "width to be of type int, got 16.0"),
        (lambda manifest: manifest["surrogate"].update(width=True), "width to be of type int, got True"),
        (lambda manifest: manifest["surrogate"].update(code="x"), "surrogate in the manifest to have"),
        (lambda manifest: manifest.update(surrogate="large"), "surrogate in the manifest to have"),
        (lambda manifest: manifest["surrogate"].update(width=17), "F32"),
        (
            lambda manifest: manifest["surrogate"].update(num_blocks=2),
            "tensors of the manifest's surrogate, got none of",
        ),
        (lambda manifest: manifest["inner"].update(num_steps=10**6), "num_steps between 0 and 64"),
        (lambda manifest: manifest["inner"].update(num_steps=7), "log_step_sizes to be F32"),
        (lambda manifest: manifest["inner"].pop("ranking_weight"), "inner in the manifest to have"),
        (lambda manifest: manifest.update(encoding={"version": 1}), "for the encoding"),
        (lambda manifest: manifest.update(widths={"numbers": [], "factors": []}), "fit each other"),
        (lambda manifest: manifest.update(widths={"numbers": [1, 5], "factors": [1.0, -2.0]}), "fit each other"),
        (lambda manifest: manifest.update(widths_of_costs_with_related={"numbers": [1]}), "fit each other"),
        (lambda manifest: manifest["priors"]["accuracy"].update(scale="large"), "finite numbers"),
        (lambda manifest: manifest["priors"].update(accuracy=5), "fit each other"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(version, change: Change, said: str) -> None:
    manifest = json.loads(json.dumps(version.manifest))
    change(manifest)

    with pytest.raises(CheckpointError, match=said):
        unpack(archive({**files_of(version), checkpoint.MANIFEST_FILE: json.dumps(manifest).encode()}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("reference.mean"), "got none of 'reference.mean'"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "an unknown 'extra'"),
        (lambda tensors: tensors.update({"reference.mean": torch.zeros(3)}), r"to be F32 \[\d+\], got F32 \[3\]"),
        (
            lambda tensors: tensors.update({"reference.mean": tensors["reference.mean"].double()}),
            r"reference.mean to be F32 \[\d+\], got F64",
        ),
        (lambda tensors: tensors["log_step_sizes"].fill_(float("nan")), "finite weights, got NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(version, change, said) -> None:
    with pytest.raises(CheckpointError, match=said):
        unpack(with_weights(version, change))


@pytest.mark.parametrize(
    "weights",
    [b"", b"\x05", b"\xff" * 8 + b"{}", (10).to_bytes(8, "little") + b"not json!!", (2).to_bytes(8, "little") + b"[]",
     (9).to_bytes(8, "little") + b'{"a": 1} '],
)  # fmt: skip
def test_weights_that_are_no_safetensors_are_refused(version, weights) -> None:
    with pytest.raises(CheckpointError, match="expected weights in safetensors form"):
        unpack(archive({**files_of(version), checkpoint.WEIGHTS_FILE: weights}))


def test_a_header_that_promises_more_than_there_is_is_refused(version) -> None:
    weights = version.to_bytes()

    with pytest.raises(CheckpointError, match="safetensors"):
        unpack(archive({**files_of(version), checkpoint.WEIGHTS_FILE: weights[:-4]}))


def test_whatever_byte_is_wrong_the_answer_is_a_refusal_or_a_version(version) -> None:
    whole, rng = pack(version), np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            broken[place] = int(rng.integers(256))
        for place in rng.integers(6_000, size=1):  # the manifest and the headers are small: hit them more often
            broken[place] = int(rng.integers(256))
        try:
            unpack(bytes(broken))
        except CheckpointError:
            continue


def test_a_version_with_a_universal_mean_comes_back(universal_meta, accuracy_task, space, cells) -> None:
    meta = with_manifest(universal_meta, {"format": checkpoint.MANIFEST_FORMAT})

    again = unpack(pack(meta))

    assert again.version == meta.version
    forecasts = [one.adapt(accuracy_task, space, SupportSet()).predict(cells).mean for one in (again, meta)]
    assert np.array_equal(*forecasts)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest.update(universal_mean=[]), "families among"),
        (lambda manifest: manifest["universal_mean"].update(beauty={}), "families among"),
        (
            lambda manifest: manifest["universal_mean"].update(accuracy={"boosted": [1, 3]}),
            "boosted and randomised trees",
        ),
        (lambda manifest: manifest["universal_mean"]["accuracy"].update(boosted=[1]), "to be two numbers"),
        (lambda manifest: manifest["universal_mean"]["accuracy"].update(boosted=[True, 3]), "to be two numbers"),
        (lambda manifest: manifest["universal_mean"]["accuracy"].update(boosted=[10**9, 3]), "at most 1000 trees"),
        (lambda manifest: manifest["universal_mean"]["accuracy"].update(boosted=[1, 3]), "to be F32"),
        (lambda manifest: manifest.pop("universal_mean"), "got an unknown"),
    ],
)
def test_a_manifest_that_tells_of_other_trees_is_refused(universal_meta, change: Change, said: str) -> None:
    meta = with_manifest(universal_meta, {"format": checkpoint.MANIFEST_FORMAT})
    manifest = json.loads(json.dumps(meta.manifest))
    change(manifest)

    with pytest.raises(CheckpointError, match=said):
        unpack(archive({**files_of(meta), checkpoint.MANIFEST_FILE: json.dumps(manifest).encode()}))


def test_trees_that_lead_in_a_circle_are_refused(universal_meta) -> None:
    meta = with_manifest(universal_meta, {"format": checkpoint.MANIFEST_FORMAT})

    with pytest.raises(CheckpointError, match="lead to later ones"):
        unpack(with_weights(meta, lambda tensors: tensors["universal.accuracy.boosted"][0, 1].fill_(0.0)))
