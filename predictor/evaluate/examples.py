"""Images with labels in three parts: what is trained on, what decides, what nobody sees before the end.

Where a data set has no validation part, a fixed share of every class of its training part becomes it: the same in every
process and for every architecture. Subsets of the training part are stratified too, and a smaller one is part of a larger.

Notation: B images, C channels, H height, W width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from predictor.errors import EvaluationError

VALIDATION_SHARE = 0.2
_SPLIT_SEED = 20_177


@dataclass(frozen=True)
class Examples:
    """Images as they are stored (bytes or floats), and the number of each one's class.

    Raises:
        EvaluationError: if there are none, or not as many labels as images.
    """

    images: Tensor  # (B, C, H, W) uint8 or float32
    labels: Tensor  # (B,) int64

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or not len(self.images) or self.labels.shape != self.images.shape[:1]:
            raise EvaluationError(
                f"expected images (B, C, H, W) with as many labels, got {tuple(self.images.shape)} with {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def chosen(self, rows: Tensor) -> Examples:
        """Those of these rows."""
        return Examples(self.images[rows], self.labels[rows])

    def balanced(self, count: int, seed: int = 0) -> Examples:
        """So many of them, of every class as many as of the others where it has them; a smaller draw is part of a larger.

        Raises:
            EvaluationError: if there are not so many.
        """
        if not 1 <= count <= len(self):
            raise EvaluationError(f"expected a number of images from 1 to {len(self):,}, got {count:,}")
        labels = self.labels.numpy()
        shuffled = np.random.default_rng(seed).permutation(len(labels))
        rank = np.empty(len(labels), dtype=np.int64)  # within its class
        for number in np.unique(labels):
            rows = shuffled[labels[shuffled] == number]
            rank[rows] = np.arange(len(rows))
        order = shuffled[np.argsort(rank[shuffled], kind="stable")]
        return self.chosen(torch.from_numpy(np.sort(order[:count])))


@dataclass(frozen=True)
class SplitDataset:
    """A data set in its three parts, and what its pixels are normalised by: mean and spread of the training part.

    Raises:
        EvaluationError: if a part has other images, or a class that no image is trained on.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    num_classes: int
    mean: Tensor  # (1, C, 1, 1)
    std: Tensor

    def __post_init__(self) -> None:
        for part in (self.validation, self.test):
            if part.images.shape[1:] != self.train.images.shape[1:]:
                raise EvaluationError(
                    f"expected images of {tuple(self.train.images.shape[1:])} in every part of {self.name!r}, "
                    f"got {tuple(part.images.shape[1:])}"
                )
            if int(part.labels.max()) >= self.num_classes or int(part.labels.min()) < 0:
                raise EvaluationError(
                    f"expected labels 0 to {self.num_classes - 1} in every part of {self.name!r}, "
                    f"got {int(part.labels.min())} to {int(part.labels.max())}"
                )

    @classmethod
    def of(cls, name: str, train: Examples, test: Examples, validation: Examples | None = None) -> SplitDataset:
        """From parts; without a validation part it is taken from the training part.

        Raises:
            EvaluationError: if there are fewer than two classes, or too few images to split.
        """
        num_classes = int(train.labels.max()) + 1
        if num_classes < 2 or int(train.labels.min()) < 0:
            raise EvaluationError(f"expected labels from 0 of at least two classes in {name!r}, got {num_classes}")
        if validation is None:
            kept, held = _split(train.labels, VALIDATION_SHARE)
            train, validation = train.chosen(kept), train.chosen(held)
        mean, std = _statistics(train.images)
        return cls(name, train, validation, test, num_classes, mean, std)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalised(self, images: Tensor) -> Tensor:  # (B, C, H, W)
        """As floats of mean 0 and spread 1."""
        return (images.float() - self.mean.to(images.device)) / self.std.to(images.device)

    def with_fraction(self, fraction: float, seed: int = 0) -> SplitDataset:
        """The same with that share of every class to train on, at least one image of each.

        Raises:
            EvaluationError: if the fraction is not in (0, 1].
        """
        if not 0.0 < fraction <= 1.0:
            raise EvaluationError(f"expected a data fraction in (0, 1], got {fraction}")
        if fraction == 1.0:
            return self
        rows = _stratified(self.train.labels, fraction, seed)
        train = self.train.chosen(rows)
        return SplitDataset(self.name, train, self.validation, self.test, self.num_classes, self.mean, self.std)

    @property
    def fingerprint(self) -> str:
        """Of sizes, labels and a few images: enough to notice that a checkpoint belongs to another data set."""
        digest = hashlib.blake2b(f"{self.image_shape}{self.num_classes}".encode(), digest_size=12)
        for part in (self.train, self.validation, self.test):
            digest.update(part.labels.numpy().tobytes())
            digest.update(part.images[:: max(len(part) // 16, 1)].contiguous().numpy().tobytes())
        return digest.hexdigest()


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:  # (B, C, H, W) -> (1, C, 1, 1) each
    """By parts, so that no second copy of all images is made."""
    count, total, squares = 0, torch.zeros(images.shape[1]).double(), torch.zeros(images.shape[1]).double()
    for part in images.split(4_096):  # type: ignore[no-untyped-call]
        pixels = part.double()
        count += pixels.numel() // images.shape[1]
        total += pixels.sum(dim=(0, 2, 3))
        squares += (pixels**2).sum(dim=(0, 2, 3))
    mean = total / count
    std = (squares / count - mean**2).clamp_min(0.0).sqrt()
    std = torch.where(std > 1e-8, std, 1.0)
    return mean.float()[None, :, None, None], std.float()[None, :, None, None]


def _split(labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
    held = _stratified(labels, share, _SPLIT_SEED)
    is_held = torch.zeros(len(labels), dtype=torch.bool)
    is_held[held] = True
    if is_held.all():
        raise EvaluationError(f"expected enough images to keep {share:.0%} for validation, got {len(labels)}")
    return torch.nonzero(~is_held)[:, 0], held


def _stratified(labels: Tensor, share: float, seed: int) -> Tensor:
    """Rows of that share of every class, in order; more for a larger share, never others."""
    numbers, chosen = labels.numpy(), []
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        order = np.random.default_rng([seed, int(number)]).permutation(rows)
        chosen.append(order[: max(round(share * len(rows)), 1)])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))
