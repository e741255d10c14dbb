"""Data sets by name: those that come with scikit-learn, `.npz` files, and what other packages offer as entry points.

An entry point of the group `archcast.datasets` is a function without arguments that returns two torch data sets (to train on, to
test on) or three (with the one that decides in the middle). Each gives pairs of an image (C, H, W) and the number of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from predictor.errors import EvaluationError
from predictor.evaluate.datasets import IMAGE_DATASETS, ImageDataset
from predictor.evaluate.examples import Examples, SplitDataset
from predictor.evaluate.image_files import load_image_file

ENTRY_POINT_GROUP = "archcast.datasets"
TABLES = ("breast_cancer", "iris", "wine")
"""Those of scikit-learn that are rows of numbers: images of one pixel with as many channels, for networks of linear maps."""


def dataset_names() -> tuple[str, ...]:
    """Those that are known by their names, without a file: of scikit-learn, then of other packages."""
    offered = (one.name for one in entry_points(group=ENTRY_POINT_GROUP))
    return tuple(dict.fromkeys([*IMAGE_DATASETS, *TABLES, *sorted(offered)]))


def load_dataset(name: str) -> SplitDataset:
    """The data set of that name.

    Raises:
        EvaluationError: if there is none, or it cannot be read.
    """
    if name.endswith(".npz"):
        return load_image_file(Path(name))
    if name in IMAGE_DATASETS:
        return _from_images(IMAGE_DATASETS[name]())
    if name in TABLES:
        return _table(name)
    offered = {one.name: one for one in entry_points(group=ENTRY_POINT_GROUP)}
    if name in offered:
        return _from_entry_point(offered[name])
    known = ", ".join(dataset_names())
    raise EvaluationError(f"expected a path that ends in .npz or one of {known}, got {name!r:.200}")


def _from_images(images: ImageDataset) -> SplitDataset:
    train = Examples(images.train_images, images.train_labels)
    return SplitDataset.of(images.name, train, Examples(images.test_images, images.test_labels))


def _table(name: str) -> SplitDataset:
    from sklearn import datasets, model_selection  # heavy optional import, at its one place

    loaders: Mapping[str, Callable[..., Any]] = {one: getattr(datasets, f"load_{one}") for one in TABLES}
    rows, labels = loaders[name](return_X_y=True)
    parts = model_selection.train_test_split(
        rows.astype(np.float32), labels.astype(np.int64), test_size=0.3, random_state=0, stratify=labels
    )
    train_x, test_x, train_y, test_y = map(torch.from_numpy, parts)
    return SplitDataset.of(
        name, Examples(train_x[:, :, None, None], train_y), Examples(test_x[:, :, None, None], test_y)
    )


def _from_entry_point(entry: EntryPoint) -> SplitDataset:
    try:
        parts = tuple(entry.load()())
    except Exception as error:  # it is somebody else's code: whatever it raises is told by its name
        raise EvaluationError(
            f"expected data sets from {entry.value!r}, got {type(error).__name__}: {error}"
        ) from error
    if len(parts) not in (2, 3):
        raise EvaluationError(f"expected two or three torch data sets from {entry.value!r}, got {len(parts)}")
    train, *middle, test = (_examples(entry.value, part) for part in parts)
    return SplitDataset.of(entry.name, train, test, middle[0] if middle else None)


def _examples(origin: str, part: Sequence[Any]) -> Examples:
    """All pairs of one torch data set."""
    images, labels = [], []
    for place in range(len(part)):
        pair = part[place]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise EvaluationError(f"expected pairs of image and class from {origin!r}, got {type(pair).__name__}")
        images.append(_image(origin, pair[0]))
        labels.append(int(pair[1]))
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise EvaluationError(f"expected images of one shape from {origin!r}, got {sorted(shapes)[:4]}")
    return Examples(torch.stack(images), torch.tensor(labels, dtype=torch.int64))


def _image(origin: str, value: object) -> Tensor:
    image = value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
    if image.ndim != 3:
        raise EvaluationError(f"expected images (C, H, W) from {origin!r}, got {tuple(image.shape)}")
    return image if image.dtype == torch.uint8 else image.float()
