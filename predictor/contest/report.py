"""Results as Markdown tables: means over tasks, single tasks, comparisons with the best peer, intervals.

Means over tasks (medians of scores without bound) are taken for each seed; a cell is their mean and standard deviation over
seeds. Where a contestant lacks
tasks that others have, its row says how many it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from predictor.contest.episodes import DIVERSE, OWN, RANDOM
from predictor.contest.ours import OURS
from predictor.contest.results import Result, unique

_MISSING = "–"
_ORDER = ("ours", "ablation", "curve", "source", "single-task", "ranking")
UNBOUNDED = frozenset({"nll", "width", "width_at_90"})
"""Scores of which one task can outweigh all others."""

_HEADINGS = {
    RANDOM: "Support sets chosen at random",
    OWN: "Support sets chosen at random, asked whatever is not in that very one",
    DIVERSE: "Support sets chosen to be diverse",
}
_FIELDS = {"kendall_tau": "Kendall τ", "spearman_rho": "Spearman ρ"}


@dataclass(frozen=True)
class Spread:
    """Mean over seeds and the standard deviation between them."""

    mean: float
    std: float  # NaN for one seed
    num_cases: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if math.isnan(self.std) else f"{self.mean:.3f} ± {self.std:.3f}"


def average(results: Iterable[Result], field: str) -> Spread | None:
    """Over cases for each seed, then over seeds; None where there is nothing. What is unbounded: the median over cases."""
    by_seed: dict[int, list[float]] = {}
    cases = set()
    for one in results:
        value = float(getattr(one, field))
        if math.isfinite(value):
            by_seed.setdefault(one.seed, []).append(value)
            cases.add(one.case)
    if not by_seed:
        return None
    middle = np.median if field in UNBOUNDED else np.mean
    means = [float(middle(values)) for values in by_seed.values()]
    return Spread(float(np.mean(means)), float(np.std(means, ddof=1)) if len(means) > 1 else math.nan, len(cases))


def sizes_in(results: Sequence[Result]) -> list[int]:
    """Numbers of observations, ascending."""
    return sorted({one.num_observations for one in results})


def contestants_in(results: Sequence[Result]) -> list[str]:
    """Ours first, then by kind."""
    kinds = {one.contestant: one.kind for one in results}
    return sorted(kinds, key=lambda name: (_ORDER.index(kinds[name]), name))


def in_group(results: Sequence[Result], group: str) -> list[Result]:
    """Results of that group's cases."""
    return [one for one in results if group in one.groups.split("|")]


def groups_in(results: Sequence[Result]) -> list[str]:
    """In order of appearance."""
    return list(dict.fromkeys(group for one in results for group in one.groups.split("|")))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(header), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score_table(results: Sequence[Result], field: str) -> str:
    """Contestants by number of observations."""
    sizes = sizes_in(results)
    most = {size: len({one.case for one in results if one.num_observations == size}) for size in sizes}
    rows = []
    for name in contestants_in(results):
        own = [one for one in results if one.contestant == name]
        spreads = [average([one for one in own if one.num_observations == size], field) for size in sizes]
        cells = [
            _MISSING
            if spread is None
            else f"{spread}" + (f" ({spread.num_cases} of {most[size]})" if spread.num_cases < most[size] else "")
            for size, spread in zip(sizes, spreads, strict=True)
        ]
        if set(cells) != {_MISSING}:
            rows.append([name, *cells])
    return table(["", *(f"at {size}" for size in sizes)], rows)


def _means(results: Sequence[Result], field: str) -> Mapping[tuple[str, int, str], float]:
    """By case, number of observations and contestant."""
    values: dict[tuple[str, int, str], list[float]] = {}
    for one in results:
        values.setdefault((one.case, one.num_observations, one.contestant), []).append(float(getattr(one, field)))
    return {key: float(np.mean(found)) for key, found in values.items()}


def best_peers(
    results: Sequence[Result], field: str, is_peer: Callable[[Result], bool]
) -> Mapping[tuple[str, int], tuple[str, float]]:
    """For every case and number of observations the peer that did best there, and how well."""
    best: dict[tuple[str, int], tuple[str, float]] = {}
    for (case, size, name), value in _means([one for one in results if is_peer(one)], field).items():
        if (case, size) not in best or value > best[case, size][1]:
            best[case, size] = (name, value)
    return best


def wins_table(
    results: Sequence[Result], is_peer: Callable[[Result], bool], field: str = "kendall_tau", ours: str = OURS
) -> str:
    """How often we are better than the peer that is best on that very task, by how much on average, and the worst gap."""
    own, peers = _means([one for one in results if one.contestant == ours], field), best_peers(results, field, is_peer)
    rows = []
    for size in sizes_in(results):
        gaps = {
            case: value - peers[case, size][1]
            for (case, number, _), value in own.items()
            if number == size and (case, size) in peers
        }
        if gaps:
            worst = min(gaps, key=lambda case: gaps[case])
            share = 100.0 * float(np.mean([gap > 0.0 for gap in gaps.values()]))
            rows.append(
                [
                    str(size),
                    f"{share:.0f} % of {len(gaps)}",
                    f"{np.mean(list(gaps.values())):+.3f}",
                    f"{gaps[worst]:+.3f} ({worst}, {peers[worst, size][0]})",
                ]
            )
    return table(["observations", "better than the best peer", "mean gap", "worst gap"], rows)


def coverage_table(results: Sequence[Result]) -> str:
    """Share inside the 90 % interval / its width / its width if scaled to hold exactly 90 %, in standard deviations."""
    return _table_of(results, ("coverage", "width", "width_at_90"))


def warnings_table(results: Sequence[Result]) -> str:
    """Spearman's ρ with absolute errors: of predicted standard deviations / of out-of-distribution scores."""
    return _table_of(results, ("std_error_rho", "ood_error_rho"))


def seconds_table(results: Sequence[Result]) -> str:
    """Seconds to adapt / to forecast all that was asked."""
    return _table_of(results, ("seconds_to_adapt", "seconds_to_forecast"))


def _table_of(results: Sequence[Result], fields: Sequence[str]) -> str:
    """Contestants by number of observations, several means in a cell; a contestant of which none is told has no row."""
    sizes, rows = sizes_in(results), []
    for name in contestants_in(results):
        cells = []
        for size in sizes:
            own = [one for one in results if (one.contestant, one.num_observations) == (name, size)]
            spreads = [average(own, field) for field in fields]
            told = [f"{one.mean:.2f}" if one else _MISSING for one in spreads]
            cells.append(" / ".join(told) if any(spreads) else _MISSING)
        if set(cells) != {_MISSING}:
            rows.append([name, *cells])
    return table(["", *(f"at {size}" for size in sizes)], rows)


def is_single_task(result: Result) -> bool:
    """Whether that contestant knows nothing but the support set."""
    return result.kind == "single-task"


def is_any_peer(result: Result) -> bool:
    """Whether it is neither ours nor a part of ours."""
    return result.kind not in ("ours", "ablation")


def protocol_report(results: Sequence[Result], title: str) -> str:
    """All tables of one protocol; each way of choosing supports by itself."""
    blocks = [f"## {title}"]
    for selection in unique(results, "selection"):
        chosen = [one for one in results if one.selection == selection]
        blocks.append(f"### {_HEADINGS.get(selection, selection)}")
        for field, name in _FIELDS.items():
            blocks += [f"#### {name}, mean over {len(unique(chosen, 'case'))} tasks", score_table(chosen, field)]
        blocks += ["#### Against the best single-task peer (Kendall τ)", wins_table(chosen, is_single_task)]
        blocks += ["#### Against the best of all peers (Kendall τ)", wins_table(chosen, is_any_peer)]
        blocks += ["#### Inside the 90 % interval / its width / its width at exactly 90 %", coverage_table(chosen)]
        blocks += ["#### Spearman ρ with absolute errors: of the standard deviation / of the out-of-distribution score"]
        blocks += [warnings_table(chosen)]
        for field, name in (
            ("nll", "Negative log likelihood, median over tasks"),
            ("regret_top1", "Regret of the first choice"),
        ):
            blocks += [f"#### {name}", score_table(chosen, field)]
        blocks += ["#### Regret of the best of ten first choices", score_table(chosen, "regret_top10")]
        blocks += ["#### Seconds to adapt / to forecast", seconds_table(chosen)]
        for group in groups_in(chosen):
            blocks += _group_blocks(in_group(chosen, group), group)
    return "\n\n".join(blocks) + "\n"


def _group_blocks(results: Sequence[Result], group: str) -> list[str]:
    cases = unique(results, "case")
    blocks = []
    if len(cases) > 1:
        for field, name in _FIELDS.items():
            blocks += [f"#### {group}: {name}, mean over {len(cases)} tasks", score_table(results, field)]
    for case in cases:
        own = [one for one in results if one.case == case]
        blocks += [f"**{case}**, Kendall τ", score_table(own, "kendall_tau")]
    return blocks
