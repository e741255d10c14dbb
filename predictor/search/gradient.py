"""Gradient ascent in the forecast: relax the decisions, ascend, decode (Luo et al., "Neural Architecture Optimization", NeurIPS 2018).

An architecture and those one decision away are the corners of a simplex on which the forecast is smooth. Exponentiated gradient
steps (Kivinen & Warmuth, Information and Computation 1997) go up on it; where the weight gathers, the relaxation is decoded to
the heaviest corners, their exact forecasts are compared, and the best is the next start, until none is better. Works on every
search space. Forecasters that know no slopes are asked for the forecasts of all corners instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import SearchError
from predictor.search.base import DifferentiableForecaster, Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.measured import Measured
from predictor.search.remembering import RememberingStrategy
from predictor.search.selection import SelectionSettings, Selector
from predictor.search.settings import setting

Array = NDArray[np.float64]
_STAYING = 0.5  # weight of the start itself before the first step
_LARGEST_STEP = 3.0  # in logarithms of weights


@dataclass(frozen=True)
class GradientSettings(SelectionSettings):
    """How far ascents go, and from where."""

    num_starts: int = setting(2, "Ascents of a round from the best measured, and as many from random ones.", low=1)
    num_moves: int = setting(6, "Decoded moves of an ascent at most.", low=1)
    num_steps: int = setting(3, "Gradient steps before each decoding.", low=1)
    num_corners: int = setting(64, "Neighbours that are relaxed at once; random ones where there are more.", low=2)
    num_decoded: int = setting(6, "Heaviest corners whose exact forecasts are compared.", low=1)


class GradientSearch(RememberingStrategy):
    """Every round ascends the current forecast; nothing but the history is kept from one to the next."""

    name = "gradient"
    description = (
        "Follows the slope of the forecast from good architectures to better ones, and measures where it leads."
    )
    source = "Luo et al., Neural Architecture Optimization, NeurIPS 2018"
    settings_type = GradientSettings
    takes_several_objectives = True
    needs_forecaster = True

    def __init__(self, problem: SearchProblem, settings: GradientSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._given = settings
        self._measured = Measured(problem, self._history)
        self._selector = Selector(problem, settings, self._measured)

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        if forecaster is None:
            raise SearchError(f"{self.name}: expected a forecaster, got none")
        visited: dict[str, Architecture] = {}
        for start in self._starts():
            shares = self._rng.dirichlet(np.ones(len(self.problem.objectives)))  # of several objectives, as in ParEGO
            visited.update((one.hash, one) for one in self._ascended(start, forecaster, shares))
        new = [one for one in visited.values() if self._measured.is_new(one)]
        chosen = self._selector.chosen(new, forecaster, count, self._rng)
        return [Proposal(one, origin="up the slope of the forecast") for one in chosen]

    def _starts(self) -> list[Architecture]:
        best = [one.architecture for one in self._measured.ranked[: self._given.num_starts]]
        drawn = (self._fresh.draw(self._rng) for _ in range(self._given.num_starts))
        return [*best, *(one for one in drawn if one is not None)]

    def _ascended(self, start: Architecture, forecaster: Forecaster, shares: Array) -> list[Architecture]:
        """All that was decoded on the way up, the start included."""
        seen = [start]
        reached, goodness = start, float(self._goodness([start], forecaster, shares)[0])
        for _ in range(self._given.num_moves):
            corners = self._corners(reached)
            if not corners:
                break
            decoded = [corners[row] for row in self._heaviest(reached, corners, forecaster, shares)]
            seen += decoded
            values = self._goodness(decoded, forecaster, shares)
            if values.max() <= goodness:
                break
            reached, goodness = decoded[int(values.argmax())], float(values.max())
        return seen

    def _corners(self, architecture: Architecture) -> list[Architecture]:
        found = self.problem.space.neighbours(architecture)
        if len(found) <= self._given.num_corners:
            return found
        rows = self._rng.permutation(len(found))[: self._given.num_corners]
        return [found[row] for row in sorted(rows.tolist())]

    def _heaviest(
        self, start: Architecture, corners: Sequence[Architecture], forecaster: Forecaster, shares: Array
    ) -> list[int]:
        if isinstance(forecaster, DifferentiableForecaster):
            weights = self._climbed(start, corners, forecaster, shares)
        else:
            weights = self._goodness(corners, forecaster, shares)
        order = np.argsort(-weights, kind="stable")
        return [int(row) for row in order[: self._given.num_decoded]]

    def _climbed(
        self, start: Architecture, corners: Sequence[Architecture], forecaster: DifferentiableForecaster, shares: Array
    ) -> Array:  # (Q,)
        """Weights of the corners after gradient steps on the simplex of them and the start."""
        relaxation = forecaster.relaxation(start, corners)
        weights = np.full(len(corners), (1.0 - _STAYING) / len(corners))
        staying = _STAYING
        for _ in range(self._given.num_steps):
            _, slopes = relaxation(weights)
            slope = shares @ (slopes / np.maximum(np.abs(slopes).max(axis=1, keepdims=True), 1e-12))
            grown = weights * np.exp(_LARGEST_STEP * slope / self._given.num_steps)
            total = staying + grown.sum()
            weights, staying = grown / total, staying / total
        return weights

    def _goodness(self, architectures: Sequence[Architecture], forecaster: Forecaster, shares: Array) -> Array:
        """Weighted sum of the objectives' forecasts, each in units of its own uncertainty; infeasible ones lose."""
        total = np.zeros(len(architectures))
        pairs = zip(self.problem.objectives, forecaster.predict(architectures), shares.tolist(), strict=True)
        for metric, forecast, share in pairs:
            total += (
                share
                * metric.sign
                * forecast.mean
                / (max(float(forecast.std.mean()), 1e-12) if len(shares) > 1 else 1.0)
            )
        return np.where(forecaster.feasibility(architectures) >= 0.5, total, -np.inf)

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        pass  # the forecaster learns; the rest is in the history

    def _own_state(self) -> State:
        return {}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        pass  # the history is all there is
