"""Do explanations say what is true of the networks? Asked where the true effect of every change is known.

    python scripts/evaluate_explanations.py --tables DIR --journal var/explanations.jsonl
    python scripts/evaluate_explanations.py --journal var/explanations.jsonl --report    the tables of what is there

Cells of NAS-Bench-201 are explained by adaptations to a few observations, and compared with the published values of all cells: what
each swap of an operation does, what a part is worth, and how fast the true value falls as the parts that are said to matter most
are taken away (deletion) or comes back as they are put in first (insertion; after Petsiuk et al., BMVC 2018). In the benchmark
that ships, only swaps between measured cells are. A linear regression on one-hot operations, fitted to the same observations, and random
numbers are explained in the same way. What is done is kept in the journal, and not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from tqdm import tqdm

from predictor import AdaptedPredictor, Architecture, MetaPredictor, SupportSet, shipped_champion
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.registry import read_all
from predictor.contest.report import table
from predictor.explain.gradients import GradientConfig, GradientExplanation, explain_gradients
from predictor.explain.parts import Parts
from predictor.explain.reading import decision_names, parts_of
from predictor.explain.shapley import ShapleyConfig, explain_shapley
from predictor.explain.summary import summarise
from predictor.explain.swaps import SwapExplanation, explain_swaps
from predictor.search_spaces.base import SearchSpace

TABLES = ("measured_cells", "nb201_accuracy")
TASKS = ("nasbench201/cifar100/accuracy", "nasbench201/cifar10/accuracy", "nasbench201/digits/accuracy")
SIZES = (20, 50, 200)
RIDGES = tuple(10.0**power for power in range(-2, 4))
SWAP_METHODS = ("swaps", "average effects", "linear regression", "random")
PART_METHODS = ("swaps (worth)", "shapley", "integrated gradients", "linear regression", "random")
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """How much is explained in each draw."""

    num_swapped: int = 30  # cells all of whose swaps are compared
    num_shared: int = 8  # cells whose parts are compared
    num_variants: int = 16
    num_averaged: int = 50  # cells that average effects are over


class Truth:
    """The published values as a forecaster: of a network the mean over its notations; NaN where it was not measured."""

    def __init__(self, measured: BenchmarkTask) -> None:
        found: dict[str, list[float]] = {}
        for one, value in zip(measured.architectures, measured.values.tolist(), strict=True):
            found.setdefault(one.hash, []).append(value)
        self._values = {key: float(np.mean(values)) for key, values in found.items()}

    def mean(self, architectures: Sequence[Architecture]) -> Scores:
        return np.array([self._values.get(one.hash, np.nan) for one in architectures])

    def difference_std(self, architecture: Architecture, others: Sequence[Architecture]) -> Scores:
        return np.zeros(len(others))


class Forecasts:
    """An adaptation as a forecaster, which computes each network once."""

    def __init__(self, adapted: AdaptedPredictor) -> None:
        self.adapted = adapted
        self._known: dict[str, float] = {}

    def mean(self, architectures: Sequence[Architecture]) -> Scores:
        missing = [one for one in architectures if one.hash not in self._known]
        if missing:
            found = self.adapted.predict(missing).mean.tolist()
            self._known.update((one.hash, value) for one, value in zip(missing, found, strict=True))
        return np.array([self._known[one.hash] for one in architectures])

    def difference_std(self, architecture: Architecture, others: Sequence[Architecture]) -> Scores:
        return self.adapted.difference_std(architecture, others)


class Linear:
    """Ridge regression on the decisions' one-hots, its penalty by leave-one-out."""

    def __init__(self, space: SearchSpace, support: SupportSet) -> None:
        self._space = space
        self._fitted = RidgeCV(RIDGES).fit(space.features_of_all(support.architectures), support.targets)

    def mean(self, architectures: Sequence[Architecture]) -> Scores:
        return np.asarray(self._fitted.predict(self._space.features_of_all(architectures)), dtype=np.float64)

    def difference_std(self, architecture: Architecture, others: Sequence[Architecture]) -> Scores:
        return np.full(len(others), np.nan)


@dataclass(frozen=True)
class Draw:
    """One task, number of observations and seed."""

    measured: BenchmarkTask
    truth: Truth
    support: SupportSet
    forecasts: Forecasts
    rng: np.random.Generator
    setting: Setting

    @classmethod
    def of(cls, measured: BenchmarkTask, meta: MetaPredictor, size: int, seed: int, setting: Setting) -> Draw:
        rng = np.random.default_rng([seed, size])
        rows = rng.permutation(len(measured))[:size].tolist()
        known = tuple(measured.architectures[row] for row in rows)
        support = SupportSet(known, tuple(measured.values[rows].tolist()), (1,) * size)
        adapted = meta.adapt(measured.task, measured.space, support)
        return cls(measured, Truth(measured), support, Forecasts(adapted), rng, setting)

    def cells(self, count: int) -> list[Parts[Any]]:
        """Random measured ones."""
        rows = self.rng.permutation(len(self.measured))[:count].tolist()
        return [parts_of(self.measured.space, self.measured.architectures[row]) for row in rows]

    @property
    def is_whole(self) -> bool:
        """Whether every cell of the space was measured."""
        return len(self.measured) == self.measured.space.size()


def swap_rows(draw: Draw) -> dict[str, dict[str, float]]:
    """For each method its scores over all swaps of some cells."""
    cells, space = draw.cells(draw.setting.num_swapped), draw.measured.space
    linear = Linear(space, draw.support)
    averages = {
        (one.group, one.label): one.effect
        for one in summarise(space, draw.forecasts, draw.rng, draw.setting.num_averaged).effects
    }
    true, errors, said = [], [], dict[str, list[float]]()
    for parts in cells:
        known = explain_swaps(parts, draw.truth)
        own = explain_swaps(parts, draw.forecasts)
        true += _effects(known)
        errors += [np.nan if one.std_error is None else one.std_error for part in own.parts for one in part.swaps]
        said.setdefault("swaps", []).extend(_effects(own))
        said.setdefault("linear regression", []).extend(_effects(explain_swaps(parts, linear)))
        said.setdefault("average effects", []).extend(
            averages.get((part.part.name, one.label), 0.0) - averages.get((part.part.name, part.part.chosen), 0.0)
            for part in own.parts
            for one in part.swaps
        )
    truth = np.array(true)
    is_known = np.isfinite(truth)
    said["random"] = (draw.rng.permutation(np.resize(truth[is_known], len(truth)))).tolist()
    rows = {name: _agreement(np.array(values)[is_known], truth[is_known]) for name, values in said.items()}
    inside = np.abs(np.array(said["swaps"]) - truth) <= 1.645 * np.array(errors)
    rows["swaps"]["inside"] = float(inside[is_known & np.isfinite(errors)].mean())
    return rows


def _effects(explained: SwapExplanation) -> list[float]:
    return [one.effect for part in explained.parts for one in part.swaps]


def _agreement(said: Scores, true: Scores) -> dict[str, float]:
    """Rank correlation, agreement of signs where anything changes, and mean absolute error."""
    changes = true != 0.0
    return {
        "rho": float(spearmanr(said, true).statistic) if np.ptp(said) > 0.0 else 0.0,
        "sign": float((np.sign(said[changes]) == np.sign(true[changes])).mean()),
        "error": float(np.abs(said - true).mean()),
        "count": float(len(true)),
    }


def part_rows(draw: Draw) -> dict[str, dict[str, float]]:
    """For each method its scores over the parts of some cells; only where every cell was measured."""
    scores: dict[str, list[Scores]] = {name: [] for name in PART_METHODS}
    shared, worths, areas = [], [], dict[str, list[float]]()
    coverages = []
    linear = Linear(draw.measured.space, draw.support)
    for parts in draw.cells(draw.setting.num_shared):
        seed = int(draw.rng.integers(2**31))
        true, worth = _shapley(parts, draw.truth, seed, draw), _worths(explain_swaps(parts, draw.truth))
        gradients = _gradients(parts, draw, seed)
        coverages.append(gradients.coverage)
        found = {
            "swaps (worth)": _worths(explain_swaps(parts, draw.forecasts)),
            "shapley": _shapley(parts, draw.forecasts, seed, draw),
            "integrated gradients": by_decision(parts, gradients),
            "linear regression": _shapley(parts, linear, seed, draw),
            "random": draw.rng.permutation(true),
        }
        shared.append(true)
        worths.append(worth)
        for name, values in found.items():
            scores[name].append(values)
            areas.setdefault(name, []).append(_area(parts, values, draw.truth, seed, draw.setting.num_variants))
    return _part_scores(scores, np.concatenate(shared), np.concatenate(worths), areas, float(np.mean(coverages)))


def _part_scores(
    scores: Mapping[str, Sequence[Scores]],
    shared: Scores,
    worths: Scores,
    areas: Mapping[str, Sequence[float]],
    coverage: float,
) -> dict[str, dict[str, float]]:
    rows = {}
    for name, values in scores.items():
        said = np.concatenate(values)
        rows[name] = _agreement(said, shared) | {"area": float(np.mean(areas[name]))}
        rows[name]["worth_rho"] = _agreement(said, worths)["rho"]
        rows[name]["worth_error"] = float(np.abs(said - worths).mean())
    rows["integrated gradients"]["coverage"] = coverage
    return rows


def _shapley(parts: Parts[Any], forecaster: Any, seed: int, draw: Draw) -> Scores:
    config = ShapleyConfig(num_variants=draw.setting.num_variants)
    values = explain_shapley(parts, forecaster, np.random.default_rng(seed), config).values
    return np.array([one.value for one in values])


def _worths(explained: SwapExplanation) -> Scores:
    return np.array([one.worth for one in explained.parts])


def _gradients(parts: Parts[Any], draw: Draw, seed: int) -> GradientExplanation:
    names, rng = decision_names(draw.measured.space), np.random.default_rng(seed)
    config = GradientConfig(num_steps=32, num_variants=draw.setting.num_variants)
    return explain_gradients(parts, draw.forecasts.adapted, names, rng, config)


def by_decision(parts: Parts[Any], explained: GradientExplanation) -> Scores:
    """What an edge of a cell gets: its operation's node, half of each edge at it, and the decision itself."""
    architecture, found = parts.architecture, []
    position = {node: place for place, node in enumerate(architecture.canonical_order)}
    node = 0
    for number, part in enumerate(parts.parts):
        value = explained.decisions[part.name]
        without = next(one for one in parts.choices(number) if one.label == "none")
        if part.chosen != "none" and without.architecture != architecture:  # cells number the nodes that remain so
            node += 1
            value += explained.nodes[position[node]].share
            value += sum(one.share for one in explained.edges if position[node] in (one.source, one.target)) / 2.0
        found.append(value)
    return np.array(found)


def _area(parts: Parts[Any], scores: Scores, truth: Truth, seed: int, num_variants: int) -> float:
    """Mean true value as the best parts are put in first, less that as they are taken away first."""
    order = np.argsort(-scores, kind="stable")
    put_in = np.zeros((len(order) + 1, len(order)), dtype=bool)
    for step, place in enumerate(order):
        put_in[step + 1 :, place] = True
    rng = np.random.default_rng(seed)
    areas = []
    for _ in range(num_variants):
        variant = parts.variant(rng)
        curves = [[parts.mixed(variant, kept.tolist()) for kept in sets] for sets in (put_in, ~put_in)]
        inserted, deleted = (truth.mean([one for one in curve if one is not None]).mean() for curve in curves)
        areas.append(float(inserted - deleted))
    return float(np.mean(areas))


def records(
    measured: BenchmarkTask, meta: MetaPredictor, size: int, seed: int, setting: Setting
) -> list[dict[str, Any]]:
    """One line of the journal for each method."""
    draw = Draw.of(measured, meta, size, seed, setting)
    key = {"task": measured.task.name, "observations": size, "seed": seed}
    found = [{**key, "about": "swaps", "method": name, **row} for name, row in swap_rows(draw).items()]
    if draw.is_whole:
        found += [{**key, "about": "parts", "method": name, **row} for name, row in part_rows(draw).items()]
    return found


def report(lines: Sequence[Mapping[str, Any]]) -> str:
    """All tables as Markdown."""
    blocks = []
    for task in dict.fromkeys(one["task"] for one in lines):
        own = [one for one in lines if one["task"] == task]
        blocks.append(f"### {task}")
        fields = ("rho", "sign", "error", "inside")
        titles = ("Spearman ρ", "same sign", "mean absolute error", "inside the 90 % interval")
        blocks += [
            "Swaps of one operation, against their true effects",
            _rows(own, "swaps", SWAP_METHODS, fields, titles),
        ]
        if any(one["about"] == "parts" for one in own):
            fields = ("rho", "sign", "error", "worth_rho", "area", "coverage")
            titles = ("ρ, Shapley", "same sign", "error, Shapley", "ρ, worth", "insertion − deletion", "coverage")
            blocks += [
                "Parts, against true Shapley values and true worths",
                _rows(own, "parts", PART_METHODS, fields, titles),
            ]
    return "\n\n".join(blocks) + "\n"


def _rows(
    lines: Sequence[Mapping[str, Any]], about: str, methods: Sequence[str], fields: Sequence[str], titles: Sequence[str]
) -> str:
    rows = []
    for size in sorted({one["observations"] for one in lines}):
        for method in methods:
            own = [one for one in lines if (one["about"], one["method"], one["observations"]) == (about, method, size)]
            if own:
                cells = [_told([one[field] for one in own if field in one]) for field in fields]
                rows.append([str(size), method, str(len(own)), *cells])
    return table(["observations", "method", "seeds", *titles], rows)


def _told(values: Sequence[float]) -> str:
    finite = [value for value in values if np.isfinite(value)]
    if len(finite) < 2:
        return f"{finite[0]:.2f}" if finite else "–"
    return f"{np.mean(finite):.2f} ± {np.std(finite, ddof=1):.2f}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--journal", type=Path, required=True, help="what was done so far, one JSON document a line")
    parser.add_argument("--report", action="store_true", help="only print the tables")
    parser.add_argument("--version", type=Path, default=shipped_champion(), help="model version")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--swapped", type=int, default=Setting.num_swapped, help="cells whose swaps are compared")
    parser.add_argument("--shared", type=int, default=Setting.num_shared, help="cells whose parts are compared")
    return parser.parse_args()


def read_journal(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    if not args.report:
        _evaluate(args)
    print(report(read_journal(args.journal)))


def _evaluate(args: argparse.Namespace) -> None:
    names = TABLES if args.tables is not None else TABLES[:1]
    tables = {one.task.name: one for one in read_all(args.tables, names=names) if one.task.name in TASKS}
    meta, setting = MetaPredictor.load(args.version), Setting(args.swapped, args.shared)
    done = {(one["task"], one["observations"], one["seed"]) for one in read_journal(args.journal)}
    wanted = [
        (task, size, seed) for seed in range(args.seeds) for task in TASKS if task in tables for size in args.sizes
    ]
    args.journal.parent.mkdir(parents=True, exist_ok=True)
    for task, size, seed in tqdm(wanted, unit=" draws", disable=None):
        if (task, size, seed) not in done:
            found = records(tables[task], meta, size, seed, setting)
            with args.journal.open("a", encoding="utf-8") as journal:  # all lines of a draw, or none
                journal.write("".join(f"{json.dumps(line)}\n" for line in found))


if __name__ == "__main__":
    main()
