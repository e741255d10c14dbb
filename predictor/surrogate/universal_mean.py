"""The universal mean: what is known of architectures from all search spaces, before anything of this one was measured.

It reads the statistics of a graph by their rank in its space (`SpaceReference.normal_scores`), which mean the same in every
space, and answers with standardised goodness, for one metric family. It has two opinions; `predictor.meta.universal_fitting` fits both.

By *work* is a line in the ranks of multiply-accumulates: what computes more takes longer, and mostly is better. What was *learned* adds what
other statistics say of the rest: the average of boosted trees (Friedman, "Greedy Function Approximation", Annals of Statistics 2001), extremely
randomised trees (Geurts et al., Machine Learning 2006) and a ridge regression. Trees err little where spaces are alike, the ridge less where
they are not. The line has one weight to learn where these have thousands, so that the fewer search spaces there were to learn from, the more it
counts on its own. That transferring the mean is worth more than the kernel alone: Wang et al., "Pre-trained Gaussian Processes
for Bayesian Optimization", JMLR 2024.

Notation: Q architectures, G global features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from predictor.encoding import NUM_GLOBAL_FEATURES, work_of
from predictor.surrogate.trees import Trees

_SPACES_FOR_HALF = 3
"""Search spaces to learn from at which work alone counts as much as the surrogate and what was learned together."""


@dataclass(frozen=True)
class FamilyMean:
    """The mean for one metric family: the line in work, and three parts that add up to what it leaves over."""

    boosted: Trees
    randomised: Trees
    linear: Tensor  # (G + 1,) weights, then the constant
    work_weight: float  # goodness for each standard deviation of the work's rank
    num_spaces: int  # learned from

    def __post_init__(self) -> None:
        if self.linear.shape != (NUM_GLOBAL_FEATURES + 1,):
            raise ValueError(f"expected {NUM_GLOBAL_FEATURES + 1} linear weights, got {tuple(self.linear.shape)}")
        if self.num_spaces < 1:
            raise ValueError(f"expected at least one search space to have been learned from, got {self.num_spaces}")

    def opinions(self, scores: Tensor) -> Tensor:  # (Q, G) normal scores -> (Q, 2) standardised goodness
        """What was learned, and by work."""
        return torch.stack([self.learned(scores), self.by_work(scores)], dim=1)

    def learned(self, scores: Tensor) -> Tensor:  # (Q, G) -> (Q,)
        """The line and the three parts."""
        rest = self.boosted(scores) + self.randomised(scores) + scores @ self.linear[:-1] + self.linear[-1]
        return self.by_work(scores) + rest

    def by_work(self, scores: Tensor) -> Tensor:  # (Q, G) -> (Q,)
        """The line; 0 for all where nothing is known of their work."""
        return self.work_weight * work_of(scores)

    @property
    def shares(self) -> tuple[float, float, float]:
        """Of the surrogate and both opinions, before observations tell which are right."""
        by_work = _SPACES_FOR_HALF / (_SPACES_FOR_HALF + self.num_spaces)
        return (1.0 - by_work) / 2.0, (1.0 - by_work) / 2.0, by_work


class UniversalMean:
    """The means of all metric families that were learned. Immutable; may be called from any thread."""

    def __init__(self, families: Mapping[str, FamilyMean]) -> None:
        """By name of the family."""
        self._families = dict(families)

    def of(self, family: str) -> FamilyMean | None:
        """That family's mean; None where none was learned. Means tell goodness, whichever way a metric counts: that of latency speaks
        for a throughput that was not learned."""
        found = self._families.get(family)
        return self._families.get("latency") if found is None and family == "throughput" else found

    @property
    def sizes(self) -> dict[str, dict[str, list[int]]]:
        """Trees and nodes of each family's parts, for a manifest."""
        return {
            family: {"boosted": list(one.boosted.nodes.shape[:2]), "randomised": list(one.randomised.nodes.shape[:2])}
            for family, one in self._families.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        found: dict[str, Tensor] = {}
        for family, one in self._families.items():
            found |= {f"{family}.boosted": one.boosted.nodes, f"{family}.randomised": one.randomised.nodes}
            found[f"{family}.linear"] = one.linear
            found[f"{family}.work"] = torch.tensor([one.work_weight, float(one.num_spaces)])
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> UniversalMean:
        """From `tensors`.

        Raises:
            ValueError: if they are not of that form.
            KeyError: if a part is missing.
        """
        families = sorted({name.rpartition(".")[0] for name in tensors})
        return cls(
            {
                family: FamilyMean(
                    Trees(tensors[f"{family}.boosted"], NUM_GLOBAL_FEATURES),
                    Trees(tensors[f"{family}.randomised"], NUM_GLOBAL_FEATURES),
                    tensors[f"{family}.linear"],
                    float(tensors[f"{family}.work"][0]),
                    int(tensors[f"{family}.work"][1]),
                )
                for family in families
            }
        )
