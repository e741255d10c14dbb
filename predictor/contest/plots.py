"""Plots of results. The one place where matplotlib is imported, and only when a plot is drawn: it is an optional extra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from predictor.contest.report import average, contestants_in, sizes_in
from predictor.contest.results import Result
from predictor.contest.shifts import Answers, buckets

_NAMES = {"kendall_tau": "Kendall τ", "spearman_rho": "Spearman ρ", "coverage": "inside the 90 % interval"}
_STYLES = {"ours": "-", "ablation": "--", "curve": "-.", "source": "-.", "single-task": ":", "ranking": ":"}


def pyplot() -> Any:
    """matplotlib's, drawing without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot_against_observations(results: Sequence[Result], title: str, path: Path, field: str = "kendall_tau") -> None:
    """One line a contestant with a band of one standard deviation over seeds, written as PNG."""
    plotting = pyplot()
    figure, axes = plotting.subplots(figsize=(9, 5.5))
    kinds = {one.contestant: one.kind for one in results}
    colours = plotting.get_cmap("tab20")
    for number, name in enumerate(contestants_in(results)):
        own = [one for one in results if one.contestant == name]
        spreads = {size: average([one for one in own if one.num_observations == size], field) for size in sizes_in(own)}
        points = [(size, spread) for size, spread in spreads.items() if spread is not None]
        if not points:
            continue
        at = [size for size, _ in points]
        mean = [spread.mean for _, spread in points]
        band = [0.0 if math.isnan(spread.std) else spread.std for _, spread in points]
        style = {"color": colours(number % 20), "linestyle": _STYLES[kinds[name]]}
        axes.plot(at, mean, label=name, linewidth=2.2 if kinds[name] == "ours" else 1.2, marker=".", **style)
        lower, upper = ([m + side * b for m, b in zip(mean, band, strict=True)] for side in (-1, 1))
        axes.fill_between(at, lower, upper, color=style["color"], alpha=0.12, linewidth=0)
    axes.set_xscale("symlog", linthresh=5)
    axes.set_xticks(sizes_in(results), [str(size) for size in sizes_in(results)])
    axes.minorticks_off()
    axes.set(xlabel="observations", ylabel=_NAMES.get(field, field), title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, path)


def plot_warnings(answers: Mapping[str, Answers], path: Path) -> None:
    """Mean absolute error in each fifth by out-of-distribution score, and by predicted standard deviation; as PNG."""
    plotting = pyplot()
    figure, both = plotting.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axes, by, name in zip(
        both, ("ood_score", "std"), ("out-of-distribution score", "predicted standard deviation"), strict=True
    ):
        for measured, one in answers.items():
            parts = buckets(one, by)
            at = [float(getattr(part, by).mean()) for part in parts]
            axes.plot(at, [float(part.error.mean()) for part in parts], marker="o", label=f"measured: {measured}")
        axes.set(xlabel=f"{name}, mean of a fifth", ylabel="mean absolute error, standard deviations")
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
    both[1].set_xscale("log")
    both[0].legend(fontsize=7)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Writes it, and folders that are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140, bbox_inches="tight")
    pyplot().close(figure)
