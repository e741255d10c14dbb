"""Episodes: draws of support and query sets from many tasks, for the outer loop.

Notation: T tasks of one meta-batch, S support and Q query architectures, M architectures of a pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.encoding import ArchitectureEncoder, GraphBatch, SpaceReference
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.standardisation import UNKNOWN_PRIOR, Standardisation
from predictor.surrogate.surrogate import SurrogateInputs, task_context
from predictor.tasks import SupportSet, Task

_REFERENCE_SAMPLES = 256
_TARGET_LIMIT = 5.0


@dataclass(frozen=True)
class TaskPool:
    """One task with every architecture that was measured on it, encoded."""

    task: Task
    group: str  # tasks of one group (a published table, a user's task) share one chance of being drawn
    graphs: GraphBatch  # (M, …)
    reference: SpaceReference
    values: NDArray[np.float64]  # (M,) in the metric's unit

    def __len__(self) -> int:
        return len(self.values)

    @property
    def num_nodes(self) -> int:
        """N of the largest architecture."""
        return int(self.graphs.nodes.shape[1])


def space_reference(space: SearchSpace, encoder: ArchitectureEncoder) -> SpaceReference:
    """Statistics of the space from random architectures of it (always the same ones)."""
    rng = np.random.default_rng(0)
    return SpaceReference.of(encoder.batch([space.sample(rng) for _ in range(_REFERENCE_SAMPLES)]))


def support_pool(
    task: Task, group: str, support: SupportSet, reference: SpaceReference, encoder: ArchitectureEncoder
) -> TaskPool:
    """A pool from observations, repeated ones already averaged."""
    return TaskPool(task, group, encoder.batch(support.architectures), reference, support.targets)


@dataclass(frozen=True)
class EpisodeBatch:
    """T episodes of the same support and query size, stacked: every tensor leads with T."""

    support: SurrogateInputs  # (T, S, …)
    support_targets: Tensor  # (T, S) standardised goodness
    query: SurrogateInputs  # (T, Q, …)
    query_targets: Tensor  # (T, Q)
    zero_shot_query: SurrogateInputs  # (T, Q, …): the query as it looks before anything was measured

    def __len__(self) -> int:
        return len(self.support_targets)

    def to(self, device: torch.device) -> EpisodeBatch:
        """The same batch on another device."""
        return EpisodeBatch(
            _moved(self.support, device),
            self.support_targets.to(device),
            _moved(self.query, device),
            self.query_targets.to(device),
            _moved(self.zero_shot_query, device),
        )


def without_features(batch: EpisodeBatch, share: float, rng: np.random.Generator) -> EpisodeBatch:
    """The episodes with a random share of all features set to 0, others in every episode, so that no space is known by one
    of them (Srivastava et al., JMLR 2014, on inputs)."""
    if share == 0.0:
        return batch
    episodes, inputs = len(batch), batch.support

    def kept(num_features: int) -> Tensor:
        return torch.from_numpy((rng.random((episodes, 1, num_features)) >= share).astype(np.float32))

    nodes, whole = kept(inputs.nodes.shape[-1])[:, None], kept(inputs.whole.shape[-1])  # (T, 1, 1, F), (T, 1, 2G)

    def reduced(part: SurrogateInputs) -> SurrogateInputs:
        return replace(part, nodes=part.nodes * nodes, whole=part.whole * whole)

    return replace(
        batch,
        support=reduced(batch.support),
        query=reduced(batch.query),
        zero_shot_query=reduced(batch.zero_shot_query),
    )


def _moved(part: SurrogateInputs, device: torch.device) -> SurrogateInputs:
    return SurrogateInputs(*(tensor.to(device) for tensor in part.tensors()))


def _stacked(parts: Sequence[SurrogateInputs]) -> SurrogateInputs:
    """Pads every part to the most nodes among them, then stacks."""
    width = max(part.nodes.shape[1] for part in parts)
    padded = []
    for part in parts:
        extra = width - part.nodes.shape[1]
        padded.append(
            (
                torch.nn.functional.pad(part.nodes, (0, 0, 0, extra)),
                torch.nn.functional.pad(part.adjacency, (0, extra, 0, extra)),
                torch.nn.functional.pad(part.mask, (0, extra)),
                part.whole,
                part.context,
            )
        )
    return SurrogateInputs(*(torch.stack(column) for column in zip(*padded, strict=True)))


@dataclass(frozen=True)
class EpisodeConfig:
    """Sizes of episodes; the support size is drawn log-uniformly for every meta-batch."""

    tasks_per_batch: int = 8
    min_support: int = 3
    max_support: int = 32
    num_query: int = 32


class EpisodeSampler:
    """Draws meta-batches: a size class of graphs, then for every episode a group and one of its tasks.

    Tasks of like-sized graphs share a meta-batch so that padding stays small.
    """

    def __init__(self, pools: Sequence[TaskPool], config: EpisodeConfig) -> None:
        self._config = config
        usable = [pool for pool in pools if len(pool) >= config.min_support + 8]
        self._classes: dict[int, dict[str, list[TaskPool]]] = {}
        for pool in usable:
            size_class = next((size for size in (12, 28, 48) if pool.num_nodes <= size), 10_000)
            self._classes.setdefault(size_class, {}).setdefault(pool.group, []).append(pool)
        self.num_tasks = len(usable)

    def sample(self, rng: np.random.Generator) -> EpisodeBatch:
        """One meta-batch."""
        sizes = sorted(self._classes)
        chances = np.array([len(self._classes[size]) for size in sizes], dtype=float)
        groups = self._classes[sizes[int(rng.choice(len(sizes), p=chances / chances.sum()))]]
        names = sorted(groups)
        pools = []
        for _ in range(self._config.tasks_per_batch):
            members = groups[names[int(rng.integers(len(names)))]]
            pools.append(members[int(rng.integers(len(members)))])
        smallest = min(len(pool) for pool in pools)
        low, high = self._config.min_support, min(self._config.max_support, smallest - 8)
        num_support = int(np.floor(np.exp(rng.uniform(np.log(low), np.log(high + 1)))))
        num_query = min(self._config.num_query, smallest - num_support)
        return draw(pools, num_support, num_query, rng)


def draw(pools: Sequence[TaskPool], num_support: int, num_query: int, rng: np.random.Generator) -> EpisodeBatch:
    """One episode from each pool, targets standardised by its support set alone."""
    support, support_targets, query, query_targets, zero_shot = [], [], [], [], []
    for pool in pools:
        chosen = rng.permutation(len(pool))[: num_support + num_query]
        known, asked = chosen[:num_support], chosen[num_support:]
        scale = Standardisation.warped(pool.task, pool.values[known], UNKNOWN_PRIOR)
        context = task_context(pool.task, num_support)
        support.append(_inputs(pool, known, context))
        query.append(_inputs(pool, asked, context))
        zero_shot.append(_inputs(pool, asked, task_context(pool.task, 0)))
        support_targets.append(_targets(scale, pool.values[known]))
        query_targets.append(_targets(scale, pool.values[asked]))
    return EpisodeBatch(
        _stacked(support),
        torch.stack(support_targets),
        _stacked(query),
        torch.stack(query_targets),
        _stacked(zero_shot),
    )


def _inputs(pool: TaskPool, rows: NDArray[np.int64], context: Tensor) -> SurrogateInputs:
    return SurrogateInputs.of(pool.graphs.select(torch.from_numpy(rows)), pool.reference, context)


def _targets(scale: Standardisation, values: NDArray[np.float64]) -> Tensor:
    standardised = np.clip(scale.forward(values), -_TARGET_LIMIT, _TARGET_LIMIT)
    return torch.from_numpy(standardised.astype(np.float32))
