"""Results of searches as Markdown tables and a picture: regret after so many evaluations, and the two bars.

Evaluations are full trainings; smaller budgets count as their share. Where not every search has trained anything in full yet there
is no regret to tell.

Notation: R searches of one searcher on one case (seeds), N evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.contest.plots import pyplot, save
from predictor.contest.report import table
from predictor.contest.search_results import SearchResult
from predictor.contest.searchers import EVOLUTION

CHECKPOINTS = (20, 50, 100, 200)
NEAR_OPTIMUM = 0.1
"""Metric units from the optimum that count as found."""

_BUDGET_OF_BAR = 100
_ORDER = ("ours", "measured", "peer")
_STYLES = {"ours": "-", "measured": ":", "peer": "--"}


@dataclass(frozen=True)
class Curve:
    """One searcher on one case: regret after every number of evaluations, for every seed; infinite before the first."""

    searcher: str
    kind: str
    regrets: NDArray[np.float64]  # (R, N)

    @property
    def mean(self) -> NDArray[np.float64]:  # (N,)
        """Over seeds."""
        return np.asarray(self.regrets.mean(axis=0))

    def at(self, num_evaluations: int) -> str:
        """Mean and standard deviation of the regret there."""
        if num_evaluations > self.regrets.shape[1]:
            return "–"
        column = self.regrets[:, num_evaluations - 1]
        if not np.isfinite(column).all():
            return "–"
        spread = f" ± {column.std(ddof=1):.2f}" if len(column) > 1 else ""
        return f"{column.mean():.2f}{spread}"

    def evaluations_to(self, regret: float) -> float:
        """The first number of evaluations at which the mean regret is no larger; infinite if it never is."""
        reached = np.flatnonzero(self.mean <= regret + 1e-9)
        return float(reached[0] + 1) if len(reached) else math.inf

    def found(self, within: float) -> str:
        """In how many searches the optimum is found, or nearly, before the bar's budget is spent."""
        column = self.regrets[:, min(_BUDGET_OF_BAR, self.regrets.shape[1]) - 1]
        return f"{int((column <= within + 1e-9).sum())} of {len(column)}"


def curves(results: Iterable[SearchResult]) -> list[Curve]:
    """Of one case: ours first, then by mean regret at the bar's budget."""
    by_name: dict[str, list[SearchResult]] = {}
    for one in results:
        by_name.setdefault(one.searcher, []).append(one)
    found = []
    for name, own in by_name.items():
        budget = min(one.budget for one in own)
        found.append(Curve(name, own[0].kind, np.stack([one.regrets(budget) for one in own])))
    last = {one.searcher: float(one.mean[min(_BUDGET_OF_BAR, len(one.mean)) - 1]) for one in found}
    return sorted(found, key=lambda one: (_ORDER.index(one.kind), last[one.searcher], one.searcher))


def case_table(results: Sequence[SearchResult]) -> str:
    """Regret at the checkpoints, how much sooner regularised evolution's regret is reached, and how often the optimum."""
    found = curves(results)
    goal = next((one.mean for one in found if one.searcher == EVOLUTION), None)
    header = ["", *(f"at {number}" for number in CHECKPOINTS), "evaluations to evolution's", "optimum in 100", "seeds"]
    return table(header, (_row(one, goal) for one in found))


def _row(curve: Curve, goal: NDArray[np.float64] | None) -> list[str]:
    sooner = "–"
    if goal is not None and len(goal) >= _BUDGET_OF_BAR:
        needed = curve.evaluations_to(float(goal[_BUDGET_OF_BAR - 1]))
        sooner = f"{needed:.0f} ({_BUDGET_OF_BAR / needed:.1f} ×)" if math.isfinite(needed) else "never"
    checkpoints = [curve.at(number) for number in CHECKPOINTS]
    return [curve.searcher, *checkpoints, sooner, curve.found(NEAR_OPTIMUM), str(len(curve.regrets))]


def search_report(results: Sequence[SearchResult], title: str) -> str:
    """All cases of one view, each with its table."""
    parts = [f"## {title}", "Regret in the metric's unit, mean ± standard deviation over seeds."]
    for case in dict.fromkeys(one.case for one in results):
        own = [one for one in results if one.case == case]
        parts += [f"**{case}** (best in the table: {own[0].optimum:.2f})", case_table(own)]
    return "\n\n".join(parts) + "\n"


def plot_searches(results: Sequence[SearchResult], title: str, path: Path, searchers: Sequence[str] = ()) -> None:
    """Mean regret against evaluations, one panel a case, written as PNG."""
    plotting = pyplot()
    cases = list(dict.fromkeys(one.case for one in results))
    columns = min(3, len(cases))
    rows = -(-len(cases) // columns)
    figure, axes = plotting.subplots(
        rows, columns, figsize=(5 * columns, 3.6 * rows), squeeze=False, layout="constrained"
    )
    names = [one.searcher for one in curves(results) if not searchers or one.searcher in searchers]
    colours = plotting.get_cmap("tab20")
    for panel, case in zip(axes.ravel(), cases, strict=False):
        for one in curves([one for one in results if one.case == case]):
            if one.searcher in names:
                colour = colours(names.index(one.searcher) % 20)
                at = np.arange(1, len(one.mean) + 1)
                shown = np.where(np.isfinite(one.mean), np.maximum(one.mean, 1e-3), np.nan)
                panel.plot(at, shown, _STYLES[one.kind], color=colour, label=one.searcher)
        panel.set(title=case, xlabel="full trainings", ylabel="regret", xscale="log", yscale="log")
        panel.grid(alpha=0.3)
    for panel in axes.ravel()[len(cases) :]:
        panel.set_visible(False)
    lines = {line.get_label(): line for panel in axes.ravel() for line in panel.get_lines()}
    figure.legend(lines.values(), lines.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    figure.suptitle(title)
    save(figure, path)
