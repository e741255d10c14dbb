from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from predictor.evaluate.datasets import IMAGE_DATASETS, ImageDataset, load_digits
from predictor.evaluate.training import Measurement, TrainingConfig, train_and_measure

SMALL = ("skip_connect", "none", "none", "nor_conv_3x3", "nor_conv_1x1", "none")
QUICK = TrainingConfig(fidelities=(1, 2), latency_repeats=3)


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return load_digits()


@pytest.fixture(scope="module")
def measured(digits) -> Measurement:
    return train_and_measure(SMALL, digits, seed=0, config=QUICK)


def test_digits_are_split_by_class_and_no_image_is_on_both_sides(digits) -> None:
    counts = torch.bincount(digits.train_labels, minlength=10)
    all_counts = counts + torch.bincount(digits.test_labels, minlength=10)

    assert len(digits.train_labels) == 500
    assert len(digits.test_labels) == 1297
    assert float((counts - 500 * all_counts / 1797).abs().max()) < 1.0
    trained = {image.numpy().tobytes() for image in digits.train_images}
    assert not any(image.numpy().tobytes() in trained for image in digits.test_images)


@pytest.mark.parametrize("name", sorted(IMAGE_DATASETS))
def test_a_data_set_is_the_same_every_time_and_normalised_by_its_training_part(name) -> None:
    first, second = IMAGE_DATASETS[name](), IMAGE_DATASETS[name]()

    assert first.name == name
    assert torch.equal(first.test_images, second.test_images)
    assert torch.equal(first.train_labels, second.train_labels)
    assert first.train_images.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert set(first.test_labels.tolist()) == set(range(first.num_classes))
    assert first.image_shape == tuple(first.test_images.shape[1:])


def test_a_short_training_beats_chance_and_is_measured_at_every_fidelity(measured) -> None:
    assert measured.fidelities == (1, 2)
    assert len(measured.accuracy_percent) == len(measured.train_seconds) == 2
    assert measured.accuracy_percent[-1] > 20.0  # chance: 10
    assert all(0.0 <= accuracy <= 100.0 for accuracy in measured.accuracy_percent)
    assert 0.0 < measured.train_seconds[0] < measured.train_seconds[1]
    assert measured.latency_ms > 0.0


def test_the_same_seed_trains_the_same_and_another_one_does_not(measured, digits) -> None:
    again, other = (train_and_measure(SMALL, digits, seed, QUICK) for seed in (0, 1))

    assert again.accuracy_percent == measured.accuracy_percent
    assert (again.params, again.flops) == (measured.params, measured.flops)
    assert other.accuracy_percent != measured.accuracy_percent


def test_training_takes_nothing_from_the_global_generator_and_leaves_it_alone(measured, digits) -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()

    again = train_and_measure(SMALL, digits, 0, QUICK)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert again.accuracy_percent == measured.accuracy_percent


def test_a_cell_without_any_path_can_be_trained_and_stays_at_chance(digits) -> None:
    one_epoch = dataclasses.replace(QUICK, fidelities=(1,))

    measured = train_and_measure(("none",) * 6, digits, 0, one_epoch)

    assert measured.accuracy_percent[0] < 15.0
    assert np.isfinite(measured.latency_ms)
