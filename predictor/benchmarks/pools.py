"""Benchmark tasks as encoded pools for meta-training and evaluation.

Notation: M architectures of a pool, G global features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.benchmarks.base import BenchmarkTask
from predictor.encoding import ArchitectureEncoder, GraphBatch, SpaceReference
from predictor.meta.episodes import TaskPool, space_reference


def task_pools(tasks: Sequence[BenchmarkTask], encoder: ArchitectureEncoder | None = None) -> list[TaskPool]:
    """One pool per task; tasks of the same architectures share their tensors.

    The reference of a space that cannot be sampled (an open one) is taken from the table's own architectures.
    """
    encoder = encoder or ArchitectureEncoder()
    graphs: dict[tuple[str, tuple[str, ...]], GraphBatch] = {}
    references: dict[str, SpaceReference] = {}
    pools = []
    for one in tasks:
        key = (one.space.name, one.notations)
        if key not in graphs:
            graphs[key] = encoder.batch(one.architectures)
        reference_key = one.group if one.space.is_open else one.space.name
        if reference_key not in references:
            references[reference_key] = (
                SpaceReference.of(graphs[key]) if one.space.is_open else space_reference(one.space, encoder)
            )
        pools.append(
            TaskPool(one.task, one.group, graphs[key], references[reference_key], np.asarray(one.values, np.float64))
        )
    return pools
