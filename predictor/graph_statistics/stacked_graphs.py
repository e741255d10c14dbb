"""Many graphs as arrays, for dynamic programmes over nodes in topological order, all graphs at once.

In NumPy, whose calls are cheaper than PyTorch's, and with graphs last, so that what is done for each of them runs along the
memory. What several programmes ask is found out once.

Notation: B graphs, N nodes in topological order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StackedGraphs:
    """Nodes that a graph does not have come last and are marked by 0 in the mask."""

    into: Array  # (N, N, B), 1 at [target, source]; source < target
    mask: Array  # (N, B)

    def select(self, graphs: NDArray[np.intp]) -> StackedGraphs:
        """These graphs."""
        return StackedGraphs(self.into[..., graphs], self.mask[:, graphs])

    @cached_property
    def reversed(self) -> StackedGraphs:
        """With all edges the other way round, and the last node first."""
        return StackedGraphs(self.into.swapaxes(0, 1)[::-1, ::-1], self.mask[::-1])

    @cached_property
    def sources(self) -> list[list[int]]:
        """For every node those that feed it in any graph: in a batch of chains there is one."""
        feeding = np.asarray(self.into.any(axis=2))
        return [[source for source in range(node) if row[source]] for node, row in enumerate(feeding.tolist())]

    @cached_property
    def is_fed(self) -> NDArray[np.bool_]:  # (N, B)
        """Whether anything comes in."""
        return np.asarray(self.into.any(axis=1))

    @cached_property
    def ends(self) -> Array:  # (N, B)
        """1 where nothing goes out."""
        ends: Array = self.mask * (self.into.sum(axis=0) == 0.0)
        return ends

    @cached_property
    def are_chains(self) -> bool:
        """Whether every graph is one path through its nodes in order."""
        nodes = np.arange(1, len(self.into))
        steps = self.into[nodes, nodes - 1]
        return bool(self.into.sum() == steps.sum() and np.array_equal(steps, self.mask[1:] * self.mask[:-1]))
