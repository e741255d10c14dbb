"""Data sets in three parts as a supernet takes them: images to train on, and images to test on."""

from __future__ import annotations

import torch

from predictor.evaluate.datasets import ImageDataset
from predictor.evaluate.examples import Examples, SplitDataset


def for_search(dataset: SplitDataset) -> ImageDataset:
    """All but the test part to search with, which the search parts itself; the test part for what was found in the end."""
    train, validation = dataset.train, dataset.validation
    images, labels = torch.cat([train.images, validation.images]), torch.cat([train.labels, validation.labels])
    return _normalised(dataset, Examples(images, labels), dataset.test)


def for_evaluation(dataset: SplitDataset) -> ImageDataset:
    """As other evaluators use it: trained on the training part, and judged on the validation part."""
    return _normalised(dataset, dataset.train, dataset.validation)


def _normalised(dataset: SplitDataset, train: Examples, judged: Examples) -> ImageDataset:
    return ImageDataset(
        dataset.name,
        dataset.normalised(train.images),
        train.labels,
        dataset.normalised(judged.images),
        judged.labels,
        dataset.num_classes,
    )
