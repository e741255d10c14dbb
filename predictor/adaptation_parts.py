"""What takes part in an adaptation, so that each part can be left out to tell what it adds.

Notation: S support architectures, F columns of a forest's row, P parameter tensors, K steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from predictor.encoding import NUM_GLOBAL_FEATURES
from predictor.surrogate.hyperparameters import GPInputs


@dataclass(frozen=True)
class Parts:
    """What takes part in an adaptation; less than everything tells what a part adds."""

    inner_loop: bool = True
    decisions: bool = True  # in the residual process
    graph_statistics: bool = (
        True  # neighbourhoods and counts, too, in the process: the surrogate reads what it always reads
    )
    universal_mean: bool = True
    warp: bool = True  # of measured values
    forests: bool = True

    def steps(self, log_step_sizes: Tensor) -> Tensor:
        """The inner loop's steps: all or none."""
        return log_step_sizes if self.inner_loop else log_step_sizes[:0]

    def seen(self, support: GPInputs) -> GPInputs:
        """The support set as the residual process sees it: a view of no columns takes no part."""
        embedding, statistics, neighbourhoods, decisions, *opinions, counts = support.views
        if not self.graph_statistics:
            statistics, neighbourhoods, counts = statistics[:, :0], neighbourhoods[:, :0], counts[:, :0]
        if not self.decisions:
            decisions = decisions[:, :0]
        views = (embedding, statistics, neighbourhoods, decisions, *opinions, counts)
        return GPInputs(support.means, views, support.contrasts)

    def shown(self, rows: Tensor, num_decisions: int) -> Tensor:  # (S, F)
        """The support set as forests see it: of a column that does not vary no tree asks."""
        until = NUM_GLOBAL_FEATURES + num_decisions
        shown = rows.clone()
        shown[:, :NUM_GLOBAL_FEATURES] *= float(self.graph_statistics)
        shown[:, NUM_GLOBAL_FEATURES:until] *= float(self.decisions)
        return shown


EVERYTHING = Parts()
