"""The universal mean: what is known of architectures from all search spaces, before anything of this one was measured.

It reads the statistics of a graph by their rank in its space (`SpaceReference.normal_scores`), which mean the same in every
space, and answers with standardised goodness, for one metric family. Three answers are averaged: of boosted trees (Friedman,
"Greedy Function Approximation", Annals of Statistics 2001), of extremely randomised trees (Geurts et al., Machine Learning 2006)
and of a ridge regression; `predictor.meta.universal_fitting` fits them. Trees err little where spaces are alike, the ridge less where
they are not. That transferring the mean is worth more than the kernel alone: Wang et al., "Pre-trained Gaussian Processes
for Bayesian Optimization", JMLR 2024.

Notation: Q architectures, G global features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from predictor.encoding import NUM_GLOBAL_FEATURES
from predictor.surrogate.trees import Trees


@dataclass(frozen=True)
class FamilyMean:
    """The mean for one metric family: three parts that add up."""

    boosted: Trees
    randomised: Trees
    linear: Tensor  # (G + 1,) weights, then the constant

    def __post_init__(self) -> None:
        if self.linear.shape != (NUM_GLOBAL_FEATURES + 1,):
            raise ValueError(f"expected {NUM_GLOBAL_FEATURES + 1} linear weights, got {tuple(self.linear.shape)}")

    def __call__(self, scores: Tensor) -> Tensor:  # (Q, G) normal scores -> (Q,) standardised goodness
        """The mean."""
        return self.boosted(scores) + self.randomised(scores) + scores @ self.linear[:-1] + self.linear[-1]


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
                )
                for family in families
            }
        )
