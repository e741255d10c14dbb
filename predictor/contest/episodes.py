"""Support and query sets of a contest: for one task and seed the same for every contestant.

Which architectures are measured and which are asked about depends on the task, the seed, the largest size and the number of
asked architectures alone. Support sets of growing size contain each other; the asked architectures are the same for every
size, and none is the same network as one of the largest support set, however it is written. Where networks differ in how many notations they have, those with many
are measured soon, and what is asked is then harder than the space is on average; `Episode.own_draw` asks, for each size, about anything but its own support set, as published figures do.

Notation: R rows of a task, S support rows, Q asked rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from predictor.architecture import Architecture
from predictor.benchmarks.base import BenchmarkTask
from predictor.errors import BenchmarkError, TooSymmetricError
from predictor.tasks import SupportSet

LEAST_QUERY = 20
"""Sizes that leave fewer architectures to ask about are left out."""

RANDOM, OWN, DIVERSE = "random", "own", "diverse"
"""How support architectures are chosen; `own` at random too, but asked is whatever is not in that very support set."""

_MAX_POOL = 3_000  # architectures that a diverse support set is chosen from

Rows = NDArray[np.int64]
Features = Callable[[Sequence[Architecture]], NDArray[np.float32]]
"""Architectures to vectors in which alike ones are near each other: (Q,) -> (Q, D)."""


@dataclass(frozen=True, eq=False)
class Draw:
    """What is measured and what is asked about."""

    measured: BenchmarkTask
    support_rows: Rows  # (S,)
    query_rows: Rows  # (Q,)

    @cached_property
    def support(self) -> SupportSet:
        """The support set, one measurement each."""
        chosen = self.support_rows.tolist()
        return SupportSet(
            tuple(self.measured.architectures[row] for row in chosen),
            tuple(float(self.measured.values[row]) for row in chosen),
            (1,) * len(chosen),
        )

    @cached_property
    def asked(self) -> tuple[Architecture, ...]:  # (Q,)
        """The architectures to forecast."""
        return tuple(self.measured.architectures[row] for row in self.query_rows.tolist())

    @cached_property
    def truth(self) -> NDArray[np.float64]:  # (Q,)
        """What was measured of them."""
        return self.measured.values[self.query_rows]


@dataclass(frozen=True, eq=False)
class Episode:
    """The draws of one task and seed, by size."""

    measured: BenchmarkTask
    seed: int
    sizes: tuple[int, ...]
    order: Rows  # (largest size,) different networks; the first s are the support set of size s
    query_rows: Rows  # (Q,)

    def draw(self, size: int) -> Draw:
        """Measured and asked architectures of that size.

        Raises:
            BenchmarkError: if the task is too small for it.
        """
        if size > len(self.order):
            raise BenchmarkError(f"{self.measured.task.name}: expected a size of {len(self.order)} or less, got {size}")
        return Draw(self.measured, self.order[:size], self.query_rows)

    def own_draw(self, size: int) -> Draw:
        """The same support set, and as many asked architectures among all that are no network of it."""
        alone = draw_episode(self.measured, [size], self.seed, len(self.query_rows))
        return Draw(self.measured, alone.order, alone.query_rows)

    def diverse_draw(self, size: int, features: Features) -> Draw:
        """The same with a support set of architectures unlike each other: those nearest to the centres of as many clusters
        (k-means, started far apart). Asked are the same less those chosen, so that both ways can be told side by side."""
        pool = _distinct(
            self.measured, np.random.default_rng([self.seed, 1]).permutation(len(self.measured)), _MAX_POOL
        )
        chosen = _central(features([self.measured.architectures[row] for row in pool.tolist()]), size, self.seed)
        support_rows = pool[chosen]
        taken = {_identity(self.measured, row) for row in support_rows.tolist()}
        rest = [row for row in self.query_rows.tolist() if _identity(self.measured, row) not in taken]
        return Draw(self.measured, support_rows, np.array(rest, np.int64))


def remembered(features: Features) -> Features:
    """The same, each architecture computed once: support sets of every size are chosen from the same ones."""
    known: dict[tuple[str, str | None], NDArray[np.float32]] = {}

    def kept(architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        keys = [(one.hash, one.genotype) for one in architectures]
        missing = {key: one for key, one in zip(keys, architectures, strict=True) if key not in known}
        if missing:
            known.update(zip(missing, features(list(missing.values())), strict=True))
        return np.stack([known[key] for key in keys])

    return kept


def draw_episode(measured: BenchmarkTask, sizes: Iterable[int], seed: int, num_query: int) -> Episode:
    """Support sets of these sizes, as far as the task is large enough, and at most that many asked architectures.

    Raises:
        BenchmarkError: if the task is too small for any of them.
    """
    rng = np.random.default_rng([seed, zlib.crc32(measured.task.name.encode())])
    order = rng.permutation(len(measured))
    wanted = sorted(set(sizes))
    while wanted:
        known = _distinct(measured, order, wanted[-1])
        query_rows = _others(measured, order, known, num_query)
        if len(known) == wanted[-1] and len(query_rows) >= min(LEAST_QUERY, num_query):
            return Episode(measured, seed, tuple(wanted), known, query_rows)
        wanted.pop()
    raise BenchmarkError(
        f"{measured.task.name}: expected at least {LEAST_QUERY} architectures to ask about, got {len(measured)}"
    )


def _identity(measured: BenchmarkTask, row: int) -> str:
    """The same for every notation of one network."""
    try:
        return measured.architectures[row].hash
    except TooSymmetricError:
        return measured.notations[row]


def _distinct(measured: BenchmarkTask, order: Rows, count: int) -> Rows:
    """The first rows of different networks."""
    found: dict[str, int] = {}
    for row in order.tolist():
        if len(found) == count:
            break
        found.setdefault(_identity(measured, row), row)
    return np.array(list(found.values()), np.int64)


def _others(measured: BenchmarkTask, order: Rows, known: Rows, count: int) -> Rows:
    """The first rows that are no network of `known`."""
    taken = {_identity(measured, row) for row in known.tolist()}
    found: list[int] = []
    for row in order.tolist():
        if len(found) == count:
            break
        if _identity(measured, row) not in taken:
            found.append(row)
    return np.array(found, np.int64)


def _central(features: NDArray[np.float32], count: int, seed: int) -> Rows:  # (R, D) -> (count,)
    """The place nearest to each centre of `count` clusters; where clusters coincide, others are drawn."""
    if count == 0:
        return np.zeros(0, np.int64)
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    num_different = len(np.unique(scaled, axis=0))
    clusters = KMeans(min(count, num_different), n_init=1, random_state=seed).fit(scaled)
    distances = clusters.transform(scaled)  # (R, clusters)
    chosen = list(dict.fromkeys(distances.argmin(axis=0).tolist()))
    rest = np.setdiff1d(np.random.default_rng(seed).permutation(len(scaled)), chosen, assume_unique=True)
    return np.array([*chosen, *rest.tolist()][:count], np.int64)
