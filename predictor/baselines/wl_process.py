"""A Gaussian process with a Weisfeiler-Lehman subtree kernel on typed DAGs: Ru et al., "Interpretable Neural Architecture
Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels" (NAS-BOWL), ICLR 2021; Shervashidze et al., JMLR 2011.

A node's first label is its operation, kind and attributes; each round it becomes the old label with the labels that feed it
and the labels that it feeds. The kernel is the cosine of label counts up to some round, which the evidence picks.

Notation: S support architectures, Q asked ones, L labels of the support set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictor.architecture import DERIVED_ATTRIBUTES, Architecture
from predictor.baselines.profiled_process import ProfiledProcess
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task

Array = NDArray[np.float64]
MAX_ROUNDS = 4
_OFFSET = 0.1  # what all architectures have in common


class SubtreeLabels:
    """Counts of labels by architecture hash, one mapping per round. Labels are numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._counts: dict[str, tuple[Mapping[int, int], ...]] = {}

    def counts(self, architecture: Architecture) -> tuple[Mapping[int, int], ...]:
        """For round 0 to `MAX_ROUNDS` how often each label occurs; labels of different rounds differ."""
        if architecture.hash not in self._counts:
            self._counts[architecture.hash] = tuple(self._rounds(architecture))
        return self._counts[architecture.hash]

    def _rounds(self, architecture: Architecture) -> list[Mapping[int, int]]:
        whole = [pair for pair in architecture.global_attributes if pair[0] not in DERIVED_ATTRIBUTES]
        labels = [self._number(operation.key) for operation in architecture.operations]
        rounds: list[Mapping[int, int]] = [Counter([*labels, *(self._number(("whole", *pair)) for pair in whole)])]
        for _ in range(MAX_ROUNDS):
            labels = [
                self._number(
                    (
                        own,
                        tuple(sorted(labels[node] for node in architecture.predecessors[place])),
                        tuple(sorted(labels[node] for node in architecture.successors[place])),
                    )
                )
                for place, own in enumerate(labels)
            ]
            rounds.append(Counter(labels))
        return rounds

    def _number(self, label: object) -> int:
        return self._numbers.setdefault(label, len(self._numbers))


@dataclass(frozen=True)
class SubtreeKernel:
    """Likeness to support architectures by label counts of rounds 0 to `rounds`."""

    labels: SubtreeLabels
    columns: Mapping[int, int]  # L labels of the support set
    support: csr_array  # (S, L)
    rounds: int

    @classmethod
    def of(cls, labels: SubtreeLabels, support: Sequence[Architecture], rounds: int) -> SubtreeKernel:
        """The kernel for this support set."""
        columns: dict[int, int] = {}
        for architecture in support:
            for counts in labels.counts(architecture)[: rounds + 1]:
                for label in counts:
                    columns.setdefault(label, len(columns))
        return cls(labels, columns, _normalised_counts(labels, columns, support, rounds), rounds)

    def __call__(self, asked: Sequence[Architecture]) -> Array:  # (Q, S)
        """Cosines of label counts, between 0 and 1, and what all have in common."""
        found = _normalised_counts(self.labels, self.columns, asked, self.rounds) @ self.support.T
        return np.asarray(found.toarray(), dtype=np.float64) + _OFFSET


def _normalised_counts(
    labels: SubtreeLabels, columns: Mapping[int, int], architectures: Sequence[Architecture], rounds: int
) -> csr_array:
    rows, places, values = [], [], []
    for row, architecture in enumerate(architectures):
        own = [pair for counts in labels.counts(architecture)[: rounds + 1] for pair in counts.items()]
        norm = np.sqrt(sum(count * count for _, count in own))
        for label, count in own:
            if label in columns:
                rows.append(row)
                places.append(columns[label])
                values.append(count / norm)
    return csr_array((values, (rows, places)), shape=(len(architectures), len(columns)), dtype=np.float64)


class SubtreeProcess(StandardisedBaseline):
    """Rounds, amplitude and noise by marginal likelihood."""

    name = "wl_process"
    max_observations = 2_000

    def __init__(self) -> None:
        self._labels = SubtreeLabels()

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        kernels = [SubtreeKernel.of(self._labels, support.architectures, rounds) for rounds in range(MAX_ROUNDS + 1)]
        fits = [ProfiledProcess.fit(kernel(support.architectures), goodness) for kernel in kernels]
        best = max(range(len(fits)), key=lambda rounds: fits[rounds].log_evidence)

        def forecast(architectures: Sequence[Architecture]) -> tuple[Array, Array]:
            return fits[best].predict(kernels[best](architectures), np.full(len(architectures), 1.0 + _OFFSET))

        return forecast
