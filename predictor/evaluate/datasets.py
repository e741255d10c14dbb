"""Small real image data sets that scikit-learn ships, as tensors for really training architectures.

`digits` is the UCI handwritten digits set; `photo_regions` tells from which region of two photographs a patch comes. The
other sets that scikit-learn bundles are tables without spatial order, on which a convolutional cell means nothing.

Notation: B images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_PATCH = 8


@dataclass(frozen=True)
class ImageDataset:
    """Images scaled to zero mean and unit variance by the training part, and integer class labels."""

    name: str
    train_images: Tensor  # (B, C, H, W) float32
    train_labels: Tensor  # (B,) int64
    test_images: Tensor
    test_labels: Tensor
    num_classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.train_images.shape
        return channels, height, width


def _dataset(
    name: str, train: tuple[NDArray[np.float32], NDArray[np.int64]], test: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> ImageDataset:
    mean = train[0].mean(axis=(0, 2, 3), keepdims=True)
    std = train[0].std(axis=(0, 2, 3), keepdims=True)
    return ImageDataset(
        name=name,
        train_images=torch.from_numpy(((train[0] - mean) / std).astype(np.float32)),
        train_labels=torch.from_numpy(train[1].astype(np.int64)),
        test_images=torch.from_numpy(((test[0] - mean) / std).astype(np.float32)),
        test_labels=torch.from_numpy(test[1].astype(np.int64)),
        num_classes=int(train[1].max()) + 1,
    )


def load_digits() -> ImageDataset:
    """UCI handwritten digits, 8 × 8 grey, 10 classes: 500 training and 1,297 test images, a fixed stratified split."""
    from sklearn.datasets import load_digits as sklearn_digits  # heavy optional import, at its one place
    from sklearn.model_selection import train_test_split

    digits = sklearn_digits()
    images = digits.images.astype(np.float32)[:, None]
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target, train_size=500, random_state=0, stratify=digits.target
    )
    return _dataset("digits", (train_x, train_y), (test_x, test_y))


def load_photo_regions() -> ImageDataset:
    """From which of twelve regions is an 8 × 8 colour patch of two photographs: 600 training and 1,400 test images.

    The regions are a 2 × 3 grid on each photograph, so the classes differ in colour and texture; no two patches overlap.
    """
    from sklearn.datasets import load_sample_images  # heavy optional import, at its one place

    patches, regions = [], []
    for number, photo in enumerate(load_sample_images().images):
        pixels = np.asarray(photo, dtype=np.float32).transpose(2, 0, 1) / 255.0  # (3, H, W)
        rows, columns = pixels.shape[1] // _PATCH, pixels.shape[2] // _PATCH
        for row in range(rows):
            for column in range(columns):
                patches.append(pixels[:, row * _PATCH : (row + 1) * _PATCH, column * _PATCH : (column + 1) * _PATCH])
                regions.append(6 * number + 3 * (2 * row // rows) + 3 * column // columns)
    images, labels = np.stack(patches), np.asarray(regions)
    chosen = np.random.default_rng(0).permutation(len(images))
    train, test = chosen[:600], chosen[600:2000]
    return _dataset("photo_regions", (images[train], labels[train]), (images[test], labels[test]))


IMAGE_DATASETS: Mapping[str, Callable[[], ImageDataset]] = {
    "digits": load_digits,
    "photo_regions": load_photo_regions,
}
"""Loaders by data set name."""
