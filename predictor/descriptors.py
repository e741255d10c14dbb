"""What a data set is like, in numbers: known before anything was trained on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.errors import TaskError

NUMBERS = (
    *("num_examples", "num_classes", "num_channels", "resolution"),
    *("mean_value", "std_value", "imbalance", "num_edges"),
)
"""What may be known. Sizes and counts are compared as logarithms, the rest as it is."""

_AS_THEY_ARE = frozenset({"mean_value", "std_value", "imbalance"})
_MAX_LOOKED_AT = 2_000  # examples that tell simple statistics


@dataclass(frozen=True)
class DatasetDescriptor:
    """Numbers of a data set, as far as they are known. `kind` is what its examples are: image, node, video …

    Raises:
        TaskError: if a number is not among `NUMBERS`, negative or not finite.
    """

    kind: str
    numbers: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        for name, value in self.numbers:
            if name not in NUMBERS:
                raise TaskError(f"expected a descriptor's number to be one of {', '.join(NUMBERS)}, got {name!r}")
            if not (math.isfinite(value) and value >= 0.0):
                raise TaskError(f"expected {name} to be finite and 0 or more, got {value}")

    @classmethod
    def of(cls, kind: str, **numbers: float) -> DatasetDescriptor:
        """From numbers by name.

        Raises:
            TaskError: see the class.
        """
        return cls(kind, tuple(sorted((name, float(value)) for name, value in numbers.items())))

    @classmethod
    def of_images(cls, images: NDArray[np.generic], labels: NDArray[np.generic]) -> DatasetDescriptor:
        """Of images (examples, height, width[, channels]) of whole numbers up to 255 or fractions, and their classes.

        Raises:
            TaskError: if images have another shape, or there are not as many labels.
        """
        if images.ndim not in (3, 4) or len(images) != len(labels) or not len(images):
            raise TaskError(f"expected images (N, H, W[, C]) and N labels, got {images.shape} and {labels.shape}")
        step = max(len(images) // _MAX_LOOKED_AT, 1)
        looked_at = images[::step].astype(np.float64) / (255.0 if np.issubdtype(images.dtype, np.integer) else 1.0)
        _, counts = np.unique(labels, return_counts=True)
        shares = counts / counts.sum()
        entropy = float(-(shares * np.log(shares)).sum())
        most = math.log(len(counts)) if len(counts) > 1 else 1.0
        return cls.of(
            "image",
            num_examples=len(images),
            num_classes=len(counts),
            num_channels=images.shape[3] if images.ndim == 4 else 1,
            resolution=max(images.shape[1:3]),
            mean_value=abs(float(looked_at.mean())),
            std_value=float(looked_at.std()),
            imbalance=max(0.0, 1.0 - entropy / most) if len(counts) > 1 else 1.0,
        )

    def distances(self, other: DatasetDescriptor) -> NDArray[np.float64]:  # (len(NUMBERS) + 1,)
        """How far apart in each number, 0 where one of them is not known; last, whether their kinds differ."""
        own, theirs = self._comparable, other._comparable
        apart = [abs(own[name] - theirs[name]) if name in own and name in theirs else 0.0 for name in NUMBERS]
        return np.array([*apart, float(self.kind != other.kind)])

    @property
    def _comparable(self) -> Mapping[str, float]:
        return {name: value if name in _AS_THEY_ARE else math.log1p(value) for name, value in self.numbers}
