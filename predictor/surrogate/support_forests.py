"""Forests grown on the support set of one adaptation: what steps and interactions say that no smooth likeness does.

Both are extremely randomised trees (Geurts et al., "Extremely randomized trees", Machine Learning 2006) on bootstrap samples. They read
an architecture as one row: its graph's statistics by their rank in the space, its decisions, and the opinions of the mean.

- The *opinion* is grown on what was measured. It is one more opinion of the mean that the residual process starts from; of an observation
  it says what the trees say that were grown without it (out of bag; Breiman, "Random Forests", Machine Learning 2001), as a forecast
  would be, so that the process can tell from observations how much it counts (Wolpert, "Stacked Generalization", Neural Networks 1992).
- The *correction* is grown on what the blend of all opinions leaves: a second answer to the question that the process answers by likeness.
  A forecast lies between the process's and the blend's with this correction, as far from the former as left-out observations speak for the
  latter (`corrected_share`).

Notation: S support architectures, Q asked ones, F columns of a row, T trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from predictor.surrogate.growing import Growth, grow
from predictor.surrogate.trees import VALUE, Trees

MIN_FOR_FORESTS = 10
"""Observations from which on trees tell more than they make up."""

OPINION_SHARE, LOG_WIDTH_OF_OPINION = 0.25, 0.4
"""The opinion's share of the blend beforehand, and how far its logarithm may lie from there: less far than other shares, since on few
observations an out-of-bag error tells little."""

_GROWTH = Growth(num_trees=100, least_in_leaf=2, share_tried=0.5, max_depth=32, max_drawn=512)
_TYPICAL_VARIANCE = 0.09  # of one measurement, standardised units: beside it known variances count
_CORRECTED, _MOST_CORRECTED = 0.3, 0.6  # share of a corrected blend in a forecast: beforehand, and at most
_CORRECTED_WIDTH = 0.1  # how far that share may lie from where it starts


@dataclass(frozen=True)
class SupportForests:
    """What is asked of both. Immutable; may be called from any thread."""

    opinion: Trees
    correction: Trees
    share: float  # of the blend with its correction in a forecast, 0 to 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"expected a share of the corrected blend from 0 to 1, got {self.share}")

    def tensors(self) -> dict[str, Tensor]:
        """To be kept with an adaptation."""
        share = torch.tensor(self.share, dtype=torch.float64)
        return {"opinion": self.opinion.nodes, "correction": self.correction.nodes, "share": share}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], num_features: int) -> SupportForests:
        """From `tensors`; KeyError if one is missing, ValueError if one is no forest over so many columns, or no share."""
        opinion, correction = (Trees(tensors[name], num_features) for name in ("opinion", "correction"))
        return cls(opinion, correction, float(tensors["share"]))


def grown(rows: Tensor, targets: Tensor, counts: Tensor, known_variance: Tensor) -> tuple[Trees, Tensor]:
    """A forest, and what its trees say of each observation that they were grown without (S,): from rows (S, F), targets (S,) in
    standardised units, numbers of measurements (S,) and known variances of their errors (S,)."""
    weights = 1.0 / (_TYPICAL_VARIANCE / counts.double() + known_variance.double())
    nodes, drawn = grow(
        rows.float().numpy(), targets.double().numpy(), (weights / weights.mean()).double().numpy(), _GROWTH
    )
    nodes[..., VALUE] /= _GROWTH.num_trees
    trees = Trees(torch.from_numpy(nodes), rows.shape[1])
    return trees, _left_out(trees.each(rows.float()), torch.from_numpy(drawn == 0), targets)


def _left_out(said: Tensor, unseen: Tensor, targets: Tensor) -> Tensor:  # (S, T), (T, S), (S,) -> (S,)
    """What those trees say of an observation that did not draw it; the mean of all targets where every tree did."""
    by = unseen.T.double()
    found = (said.double() * by).sum(dim=1) * said.shape[1] / by.sum(dim=1)
    return torch.where(unseen.any(dim=0), found, targets.double().mean())


def corrected_share(missed: Tensor, apart: Tensor) -> float:  # (S,), (S,)
    """The share of the corrected blend, from how far left-out observations lie from the process, and how far the corrected blend lies
    from it there: the most probable one of a regression whose prior is a normal distribution."""
    if not len(missed):
        return _CORRECTED
    precision = missed.square().mean() / _CORRECTED_WIDTH**2
    share = (apart @ missed + _CORRECTED * precision) / (apart.square().sum() + precision).clamp(min=1e-12)
    return float(share.clamp(0.0, _MOST_CORRECTED))
