"""Data sets from files, from scikit-learn and from other packages, and how they are split."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from predictor.errors import EvaluationError
from predictor.evaluate import data_sources
from predictor.evaluate.data_sources import TABLES, load_dataset
from predictor.evaluate.examples import Examples, SplitDataset


def test_a_file_of_images_is_split_and_normalised_by_its_training_part(striped_file: Any) -> None:
    dataset = load_dataset(str(striped_file()))

    pixels = dataset.normalised(dataset.train.images)
    assert (dataset.name, dataset.num_classes, dataset.image_shape) == ("striped", 3, (1, 8, 8))
    assert len(dataset.train) + len(dataset.validation) == 120
    assert len(dataset.test) == 30
    assert dataset.train.images.dtype == torch.uint8
    assert float(pixels.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(pixels.std(correction=0)) == pytest.approx(1.0, abs=1e-5)


def test_the_validation_part_is_the_same_every_time_and_has_its_share_of_every_class(striped_file: Any) -> None:
    first, again = (load_dataset(str(striped_file())) for _ in range(2))

    assert torch.equal(first.validation.images, again.validation.images)
    for number in range(3):
        held = int((first.validation.labels == number).sum())
        total = held + int((first.train.labels == number).sum())
        assert held == round(0.2 * total)
    held_images = {image.numpy().tobytes() for image in first.validation.images}
    assert not any(image.numpy().tobytes() in held_images for image in first.train.images)


def test_a_validation_part_of_the_file_is_taken_as_it_is(striped_file: Any) -> None:
    images = np.full((5, 8, 8), 7, np.uint8)

    dataset = load_dataset(str(striped_file(x_val=images, y_val=np.array([0, 1, 2, 0, 1]))))

    assert dataset.validation.images.unique().tolist() == [7]
    assert len(dataset.train) == 120


def test_colours_come_last_in_files_and_first_in_networks(striped_file: Any) -> None:
    coloured = np.stack([np.full((8, 8), 10 * c, np.uint8) for c in range(3)], axis=-1)[None]

    dataset = load_dataset(str(striped_file(
        x_train=coloured.repeat(10, 0), y_train=np.arange(10) % 2, x_test=coloured, y_test=np.zeros(1, int)
    )))  # fmt: skip

    assert dataset.image_shape == (3, 8, 8)
    assert dataset.test.images[0, :, 0, 0].tolist() == [0, 10, 20]


def test_smaller_fractions_are_parts_of_larger_ones_and_keep_every_class(striped: SplitDataset) -> None:
    fifth, half = striped.with_fraction(0.2), striped.with_fraction(0.5)
    other = striped.with_fraction(0.2, seed=1)

    def images(dataset: SplitDataset) -> set[bytes]:
        return {image.numpy().tobytes() for image in dataset.train.images}

    assert images(fifth) < images(half) < images(striped)
    assert images(fifth) != images(other)
    assert torch.equal(fifth.train.labels.unique(), torch.arange(3))
    assert len(half.train) == pytest.approx(0.5 * len(striped.train), abs=2)
    assert half.test is striped.test


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "expected arrays .* got none called y_test"),
        ({"x_train": np.zeros((120, 8, 8), np.float32)}, "expected x_train as uint8 .* got float32"),
        ({"x_train": np.zeros((120, 64), np.uint8)}, r"expected x_train as uint8 .* got uint8 \(120, 64\)"),
        ({"x_train": np.zeros((120, 8, 8, 9), np.uint8)}, "at most four channels last"),
        ({"y_train": np.zeros(120)}, "expected y_train as whole numbers .* got float64"),
        ({"y_train": np.zeros(119, np.uint8)}, "as many labels as images in train, got 119 and 120"),
        ({"y_train": np.zeros(120, np.uint8)}, "at least two classes"),
        ({"y_test": np.full(30, 9)}, "expected labels 0 to 2 in every part of 'striped', got 9 to 9"),
        ({"x_test": np.zeros((30, 9, 9), np.uint8)}, r"expected images of \(1, 8, 8\) in every part"),
        ({"x_val": np.zeros((3, 8, 8), np.uint8)}, "x_val and y_val together"),
        ({"y_train": np.array([{"a": 1}] * 120, dtype=object)}, "expected y_train as whole numbers .* got object"),
    ],
)
def test_a_file_of_another_form_is_refused(changes: dict[str, Any], message: str, striped_file: Any) -> None:
    with pytest.raises(EvaluationError, match=message):
        load_dataset(str(striped_file(**changes)))


def test_a_file_that_says_more_than_it_may_hold_is_refused_before_it_is_loaded(
    striped_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(striped_file())
    monkeypatch.setattr("predictor.evaluate.image_files.MAX_BYTES", 1_000)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was loaded"))

    with pytest.raises(EvaluationError, match="expected at most 0 MiB of arrays"):
        load_dataset(path)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_what_is_no_file_of_arrays_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(EvaluationError, match=r"expected a readable .npz file of images, got 'some.npz'"):
        load_dataset(str(path))


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_images_of_one_pixel(name: str) -> None:
    dataset = load_dataset(name)

    assert dataset.image_shape[1:] == (1, 1)
    assert set(dataset.test.labels.tolist()) == set(range(dataset.num_classes))


def test_an_unknown_name_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(
        EvaluationError, match=r"ends in .npz or one of digits, photo_regions, breast_cancer, .*'cifar'"
    ):
        load_dataset("cifar")


def torch_datasets() -> tuple[TensorDataset, TensorDataset]:
    images = torch.rand(40, 3, 4, 4)
    return TensorDataset(images, torch.arange(40) % 4), TensorDataset(images[:8], torch.arange(8) % 4)


def three_parts() -> tuple[list[Any], list[Any], list[Any]]:
    pair = [(np.zeros((1, 2, 2), np.uint8), number % 2) for number in range(6)]
    return pair, pair[:2], pair[:4]


def flat() -> tuple[list[Any], list[Any]]:
    return [(torch.zeros(4), 0)], [(torch.zeros(4), 0)]


def broken() -> None:
    raise ZeroDivisionError("by design")


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points, as an installed package would offer them."""
    found = [
        EntryPoint(name, f"{__name__}:{name}", data_sources.ENTRY_POINT_GROUP)
        for name in ("torch_datasets", "three_parts", "flat", "broken")
    ]
    monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[self.attr])
    monkeypatch.setattr(data_sources, "entry_points", lambda group: found)


@pytest.mark.usefixtures("offered")
def test_torch_data_sets_of_other_packages_are_taken_by_name() -> None:
    two, three = load_dataset("torch_datasets"), load_dataset("three_parts")

    assert (two.image_shape, two.num_classes, len(two.train), len(two.validation)) == ((3, 4, 4), 4, 32, 8)
    assert [len(part) for part in (three.train, three.validation, three.test)] == [6, 2, 4]


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("name", "message"),
    [("flat", r"images \(C, H, W\) from .*got \(4,\)"), ("broken", "got ZeroDivisionError: by design")],
)
def test_what_other_packages_do_wrong_is_told_by_their_name(name: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        load_dataset(name)


def test_examples_are_as_many_as_their_labels() -> None:
    with pytest.raises(EvaluationError, match=r"as many labels, got \(2, 1, 2, 2\) with \(3,\)"):
        Examples(torch.zeros(2, 1, 2, 2), torch.zeros(3, dtype=torch.int64))


def test_a_balanced_draw_has_as_many_of_each_class_and_grows() -> None:
    examples = Examples(torch.zeros(10, 1, 2, 2), torch.tensor([0, 0, 0, 0, 0, 0, 0, 1, 1, 2]))

    small, large = examples.balanced(5), examples.balanced(8)

    assert torch.bincount(small.labels).tolist() == [2, 2, 1]
    assert torch.bincount(large.labels).tolist() == [5, 2, 1]
    for count in (0, 11):
        with pytest.raises(EvaluationError, match="from 1 to 10"):
            examples.balanced(count)
