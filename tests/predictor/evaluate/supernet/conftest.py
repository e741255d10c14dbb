from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictor.evaluate.datasets import ImageDataset, load_digits


@pytest.fixture(scope="session")
def few_digits() -> ImageDataset:
    """120 training and 100 test images of real digits."""
    digits = load_digits()
    return replace(
        digits,
        train_images=digits.train_images[:120],
        train_labels=digits.train_labels[:120],
        test_images=digits.test_images[:100],
        test_labels=digits.test_labels[:100],
    )


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # so that sums have one order, and resumed trainings equal uninterrupted ones bit by bit
