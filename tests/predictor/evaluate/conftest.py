"""A tiny data set that is learned in an epoch, and evaluators on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from predictor.evaluate.examples import Examples, SplitDataset
from predictor.evaluate.network import NetworkConfig
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.training_evaluator import TrainingEvaluator
from predictor.search_spaces.nasbench201 import NASBench201

SKIPPING = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
SMALL_CELLS = {"stem_channels": 4, "cells_per_stage": 1, "num_stages": 2}


def stripes(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Bytes of 8 × 8 images: horizontal stripes are class 0, vertical ones class 1, noise class 2."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 60, (count, 8, 8))
    images[labels == 0, ::2, :] += 150
    images[labels == 1, :, ::2] += 150
    return images.astype(np.uint8), labels.astype(np.uint8)


@pytest.fixture(scope="session")
def striped() -> SplitDataset:
    """Stripes as a data set."""

    def part(count: int, seed: int) -> Examples:
        images, labels = stripes(count, seed)
        return Examples(torch.from_numpy(images[:, None]), torch.from_numpy(labels.astype(np.int64)))

    return SplitDataset.of("striped", part(240, 0), part(90, 1))


@pytest.fixture
def striped_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes stripes as a `.npz` file; arrays may be replaced, or left out by None."""

    def write(**changes: Any) -> Path:
        (x_train, y_train), (x_test, y_test) = stripes(120, 0), stripes(30, 1)
        arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test, **changes}
        path = tmp_path / "striped.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return write


@pytest.fixture
def training(space: NASBench201, striped: SplitDataset) -> Callable[..., TrainingEvaluator]:
    """An evaluator that trains small cells on stripes; the recipe may be changed."""

    def build(state_folder: Path | None = None, **changes: Any) -> TrainingEvaluator:
        recipe = Recipe(**{"epochs": 3, "batch_size": 32, **changes})
        network = NetworkConfig(striped.image_shape, striped.num_classes, SMALL_CELLS)
        device = torch.device("cpu")
        return TrainingEvaluator(space, striped, recipe, network, device, None, state_folder, save_every_seconds=0.0)

    return build
