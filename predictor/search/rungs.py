"""Rungs of fidelities, and who climbs: the arithmetic of successive halving (Jamieson & Talwalkar, AISTATS 2016)."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_CLOSE = 1e-9


def ladder(eta: int, min_fidelity: float) -> tuple[float, ...]:
    """Fidelities 1, 1/eta, 1/eta² … down to the lowest that is no less than `min_fidelity`, the lowest first."""
    num_steps = math.floor(-math.log(min_fidelity) / math.log(eta) + _CLOSE)
    return tuple(float(eta) ** -step for step in range(num_steps, -1, -1))


def promotable(merits: Mapping[str, tuple[float, ...]], promoted: Collection[str], eta: int) -> list[str]:
    """Those among the best 1/eta of a rung that have not climbed yet, the best first (Li et al., "A System for Massively
    Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2); of equals the one that came first."""
    best = sorted(merits, key=lambda name: merits[name], reverse=True)[: len(merits) // eta]
    return [name for name in best if name not in promoted]


@dataclass(frozen=True)
class Bracket:
    """A tournament: so many at its lowest fidelity, 1/eta of them on each rung above."""

    fidelities: tuple[float, ...]  # the lowest first
    sizes: tuple[int, ...]

    @property
    def cost(self) -> float:
        """In full evaluations."""
        return sum(size * fidelity for size, fidelity in zip(self.sizes, self.fidelities, strict=True))


def bracket(eta: int, fidelities: tuple[float, ...], num_first: int) -> Bracket:
    """From so many on the first rung; at least one reaches the last."""
    return Bracket(fidelities, tuple(max(num_first // eta**rung, 1) for rung in range(len(fidelities))))


def hyperband(eta: int, min_fidelity: float) -> tuple[Bracket, ...]:
    """Brackets from the boldest, which begins lowest, to plain evaluation at full fidelity; all cost about the same (Li et al.,
    "Hyperband", JMLR 2018, algorithm 1)."""
    fidelities = ladder(eta, min_fidelity)
    most = len(fidelities) - 1
    return tuple(
        bracket(eta, fidelities[most - lowest :], math.ceil((most + 1) / (lowest + 1) * eta**lowest))
        for lowest in range(most, -1, -1)
    )
