from __future__ import annotations

import numpy as np
import pytest

from predictor.benchmarks.dataset_facts import DATASET_FACTS
from predictor.descriptors import NUMBERS, DatasetDescriptor
from predictor.errors import TaskError


def test_images_tell_their_size_classes_channels_and_simple_statistics() -> None:
    images = np.full((6, 8, 4, 3), 51, np.uint8)
    images[3:] = 255

    found = dict(DatasetDescriptor.of_images(images, np.array([0, 0, 0, 1, 1, 1])).numbers)

    assert (found["num_examples"], found["num_classes"], found["num_channels"], found["resolution"]) == (6, 2, 3, 8)
    assert found["mean_value"] == pytest.approx(0.6)
    assert found["std_value"] == pytest.approx(0.4)
    assert found["imbalance"] == pytest.approx(0.0)


def test_rare_classes_are_told() -> None:
    images = np.zeros((10, 2, 2))

    even = DatasetDescriptor.of_images(images, np.arange(10) % 2)
    uneven = DatasetDescriptor.of_images(images, np.array([1] + [0] * 9))

    assert dict(even.numbers)["imbalance"] == pytest.approx(0.0)
    assert 0.3 < dict(uneven.numbers)["imbalance"] < 1.0


def test_what_is_alike_is_near_and_what_is_unknown_is_not_held_against_anybody() -> None:
    cifar10, cifar100, cora = (DATASET_FACTS[name] for name in ("cifar10", "cifar100", "cora"))
    nothing = DatasetDescriptor.of("image")

    assert cifar10.distances(cifar10).tolist() == [0.0] * (len(NUMBERS) + 1)
    assert cifar10.distances(cifar100).sum() < cifar10.distances(cora).sum()
    assert cifar10.distances(nothing).sum() == 0.0
    assert cifar10.distances(cora)[-1] == 1.0


@pytest.mark.parametrize("numbers", [{"colour": 3.0}, {"num_classes": -1.0}, {"num_classes": float("nan")}])
def test_what_describes_nothing_is_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(TaskError):
        DatasetDescriptor.of("image", **numbers)


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(TaskError, match="images"):
        DatasetDescriptor.of_images(np.zeros((5, 4)), np.zeros(5))
    with pytest.raises(TaskError, match="labels"):
        DatasetDescriptor.of_images(np.zeros((5, 4, 4)), np.zeros(4))
