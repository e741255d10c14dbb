"""A declared space with conditions, and a small graph."""

from __future__ import annotations

import pytest

from predictor.architecture import Architecture, Operation
from predictor.search_spaces.declared import DeclaredSpace


@pytest.fixture(scope="session")
def conditional_space() -> DeclaredSpace:
    """Up to three layers; a width only for convolutions; a learning rate."""
    return DeclaredSpace(
        "mine",
        {
            "version": 1,
            "decisions": [
                {"name": "depth", "type": "integer", "low": 1, "high": 3},
                {"name": "op", "type": "categorical", "values": ["conv3x3", "skip_connect", "max_pool_3x3"], "repeat": "depth"},
                {"name": "width", "type": "ordinal", "values": [16, 32], "repeat": "depth", "when": {"op": "conv3x3"}},
                {"name": "rate", "type": "real", "low": 0.001, "high": 0.1, "log": True},
                {"name": "only", "type": "categorical", "values": ["this"]},
            ],
        },
    )  # fmt: skip


@pytest.fixture(scope="session")
def diamond() -> Architecture:
    """input -> two convolutions, one of them twice -> add -> output, with an edge past the second."""
    conv = Operation.of("conv", kernel_size=3, stride=1, channels=32)
    operations = [Operation.of("input"), conv, Operation.of("max_pool", kernel_size=3, stride=1), conv]
    operations += [Operation.of("add"), Operation.of("output")]
    edges = [(0, 1), (0, 2), (1, 3), (1, 4), (2, 4), (3, 4), (4, 5)]
    return Architecture.build(operations, edges, {"params": 1_000_000, "resolution": 32})
