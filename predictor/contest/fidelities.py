"""What a published table knows of smaller budgets, as a search of several fidelities meets it.

A rung is answered from the highest level of the table up to it, and costs that level's epochs. Nothing is gone on from: whoever climbs
is trained anew and paid for anew, as those tables were made (each budget of NAS-Bench-101 and NAS-Bench-201 has a schedule of its own).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from predictor.benchmarks.base import BenchmarkTask
from predictor.errors import BenchmarkError
from predictor.search.base import Outcome, Proposal
from predictor.search.driving import TableLookUp
from predictor.tasks import Observation, SupportSet

_CLOSE = 1e-9
_FIRST_AT_LEAST = 27  # on the lowest rung of a bracket, as the strategies have it where nothing else is told
_LAST_AT_LEAST = 4  # of a bracket of two rungs, so that one is not one architecture's luck
_FILTERED = 500  # candidates that newcomers are the best forecast of; as many as guided searches look at


@dataclass(frozen=True)
class Level:
    """A budget of the table."""

    epochs: float
    share: float  # of the full budget
    look_up: TableLookUp


@dataclass(frozen=True)
class FidelityTable:
    """Values of a table at all its budgets, the smallest first and the full one last."""

    levels: tuple[Level, ...]

    @classmethod
    def of(cls, table: BenchmarkTask, full: TableLookUp) -> FidelityTable:
        """The levels on which the task's own metric was measured. Without a full budget on their scale none of them is known to be
        so small a share, and there is the full one alone."""
        most = table.max_fidelity
        if most is None:
            return cls((Level(1.0, 1.0, full),))
        lower: dict[float, Level] = {}
        for name, epochs in table.fidelity_levels.items():
            if name.startswith(f"{table.task.metric.name}_") and epochs < most:
                lower.setdefault(epochs, Level(epochs, epochs / most, _look_up(table, name)))
        return cls((*(lower[epochs] for epochs in sorted(lower)), Level(most, 1.0, full)))

    def __call__(self, proposal: Proposal) -> Outcome:
        """The value on the proposal's rung.

        Raises:
            BenchmarkError: if the table knows no budget as small.
        """
        return self._level(proposal.fidelity).look_up(proposal)

    def cost(self, fidelity: float) -> float:
        """Epochs of a rung as a share of those of a full training.

        Raises:
            BenchmarkError: if the table knows no budget as small.
        """
        return self._level(fidelity).share

    def refusal(self, strategy: str) -> str | None:
        """Why a strategy of several fidelities has nothing to do here; None if it has."""
        if len(self.levels) > 1:
            return None
        return f"{strategy}: expected a table that knows smaller budgets of the task's metric, got the full one alone"

    def rungs(self, with_first: bool) -> Mapping[str, object]:
        """Settings whose ladder is that of the table: as steep as its flattest step, from its smallest budget on; with_first: also
        how many a bracket begins with."""
        steps = [above.epochs / below.epochs for below, above in zip(self.levels, self.levels[1:], strict=False)]
        eta = max(int(min(steps, default=2.0) + _CLOSE), 2)
        settings: dict[str, object] = {"eta": eta, "min_fidelity": self.levels[0].share, "num_filtered": _FILTERED}
        return settings | ({"num_first": max(_FIRST_AT_LEAST, _LAST_AT_LEAST * eta)} if with_first else {})

    def _level(self, fidelity: float) -> Level:
        known = [one for one in self.levels if one.share <= fidelity + _CLOSE]
        if not known:
            raise BenchmarkError(
                f"expected a fidelity of at least {self.levels[0].share:.3g}, the smallest of the table, got {fidelity:.3g}"
            )
        return known[-1]


def _look_up(table: BenchmarkTask, name: str) -> TableLookUp:
    pairs = zip(table.architectures, table.fidelities[name], strict=True)
    measured = SupportSet.of(
        Observation(architecture, float(value)) for architecture, value in pairs if np.isfinite(value)
    )
    return TableLookUp.of(measured)
