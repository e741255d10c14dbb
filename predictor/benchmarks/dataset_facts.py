"""What is published of the data sets behind the tables: sizes, classes, channels, resolutions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from predictor.descriptors import DatasetDescriptor


def _images(examples: float, classes: float, channels: float, resolution: float) -> DatasetDescriptor:
    return DatasetDescriptor.of(
        "image", num_examples=examples, num_classes=classes, num_channels=channels, resolution=resolution
    )


def _graph(nodes: float, classes: float, features: float, edges: float) -> DatasetDescriptor:
    return DatasetDescriptor.of("node", num_examples=nodes, num_classes=classes, num_channels=features, num_edges=edges)


def _subset(classes: float, each: float) -> DatasetDescriptor:
    return DatasetDescriptor.of("image", num_examples=classes * each, num_classes=classes, num_channels=3)


DATASET_FACTS: Mapping[str, DatasetDescriptor] = MappingProxyType(
    {
        "cifar10": _images(50_000, 10, 3, 32),
        "cifar100": _images(50_000, 100, 3, 32),
        "imagenet16_120": _images(151_700, 120, 3, 16),
        "digits": _images(1_797, 10, 1, 8),
        "imagenet": _images(1_281_167, 1_000, 3, 224),
        "cora": _graph(2_708, 7, 1_433, 5_429),
        "citeseer": _graph(3_327, 6, 3_703, 4_732),
        "pubmed": _graph(19_717, 3, 500, 44_338),
        "cs": _graph(18_333, 15, 6_805, 81_894),
        "photo": _graph(7_650, 8, 745, 119_081),
        "computers": _graph(13_752, 10, 767, 245_861),
        "imagenet50c_1000img": _subset(50, 1_000),
        "imagenet50c_100img": _subset(50, 100),
        "imagenet10c_1000img": _subset(10, 1_000),
        "imagenet10c_100img": _subset(10, 100),
        "cityscapes": DatasetDescriptor.of(
            "scene", num_examples=2_975, num_classes=19, num_channels=3, resolution=1_024
        ),
        "cityscapes_4x_down": DatasetDescriptor.of(
            "scene", num_examples=2_975, num_classes=19, num_channels=3, resolution=256
        ),
        "hmdb51": DatasetDescriptor.of("video", num_examples=3_570, num_classes=51, num_channels=3),
        "hmdb51_pretrained": DatasetDescriptor.of("video", num_examples=3_570, num_classes=51, num_channels=3),
    }
)
"""By the name that tasks have for them."""
