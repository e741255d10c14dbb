"""Do out-of-distribution scores and spreads tell where forecasts go wrong? Asked where they should: far from what was measured.

    python scripts/evaluate_ood.py                   the shipped version on our own benchmark
    python scripts/evaluate_ood.py --tables DIR      and on published tables
    python scripts/evaluate_ood.py --tables DIR --figure var/ood.png

First, a part of a space is measured and all of it is asked about: fifths by out-of-distribution score, then rank correlations
with errors by task. Then a task of the space `graph` that measured graphs of one kind is asked about others. Errors and widths
are in standard deviations of all values of the asked task.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from predictor import Architecture, MetaPredictor, SupportSet, Task, search_space, shipped_champion
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.entrants import Tables
from predictor.contest.plots import plot_warnings
from predictor.contest.report import table
from predictor.contest.shifts import PARTS, Answers, buckets, draw_from_part, nonsense, told_apart

TASKS = (
    *("nasbench201/cifar10/accuracy", "nasbench201/cifar100/accuracy", "nasbench201/cifar100/latency_ms/edgegpu"),
    *("nasbench201/digits/accuracy", "nasbench101/cifar10/val_accuracy"),
)
"""Asked with a part of their space measured."""

GRAPH_TASKS: Mapping[str, tuple[str, ...]] = {
    "nasbench201/cifar10/accuracy": ("nasbench101/cifar10/val_accuracy", "nasbench_macro/cifar10/accuracy"),
    "nasbench201/digits/accuracy": (),
    "graph/hmdb51/accuracy": (),
}
"""Asked as tasks of the space of all graphs, and what other spaces' architectures reached on the same data set."""

SAMPLED_SPACES = ("fbnet", "autoformer", "nasbench_graph")
LIKE_MEASURED = "like those measured"


@dataclass(frozen=True)
class Setting:
    """How much is measured and asked, and by which version."""

    meta: MetaPredictor
    observations: int
    asked: int
    seeds: int
    strangers: int = 100  # graphs of each kind


def of_parts(measured: BenchmarkTask, setting: Setting, step: Callable[[], None]) -> dict[str, list[Answers]]:
    """Answers of each seed, for every part of the space that is measured."""
    found: dict[str, list[Answers]] = {}
    spread = float(measured.values.std()) or 1.0
    for name, part in PARTS.items():
        for seed in range(setting.seeds):
            draw = draw_from_part(measured, part, setting.observations, setting.asked, seed)
            adapted = setting.meta.adapt(measured.task, measured.space, draw.support)
            found.setdefault(name, []).append(Answers.of(adapted.predict(draw.asked), spread, draw.truth))
            step()
    return found


def of_graphs(
    measured: BenchmarkTask, others: Sequence[BenchmarkTask], setting: Setting, step: Callable[[], None]
) -> dict[str, list[Answers]]:
    """Answers of each seed, for every kind of graph that a task of the space of all graphs is asked about."""
    found: dict[str, list[Answers]] = {}
    task = Task("graph", measured.task.dataset, measured.task.metric, measured.task.device)
    for seed in range(setting.seeds):
        rng = np.random.default_rng([seed, zlib.crc32(measured.task.name.encode())])
        draw = draw_from_part(measured, PARTS["the whole space"], setting.observations, setting.asked, seed)
        support = SupportSet(tuple(map(_plain, draw.support.architectures)), draw.support.values, draw.support.counts)
        adapted = setting.meta.adapt(task, search_space("graph"), support)
        spread = float(measured.values.std()) or 1.0
        asked = {LIKE_MEASURED: (draw.asked, draw.truth)} | _measured_elsewhere(others, setting.strangers, rng)
        asked |= {name: (graphs, None) for name, graphs in _strangers(draw.asked, setting.strangers, rng).items()}
        for name, (graphs, truth) in asked.items():
            predictions = adapted.predict(tuple(map(_plain, graphs)))
            found.setdefault(name, []).append(Answers.of(predictions, spread, truth))
        step()
    return found


def _plain(architecture: Architecture) -> Architecture:
    return replace(architecture, genotype=None)


def _measured_elsewhere(
    others: Sequence[BenchmarkTask], count: int, rng: np.random.Generator
) -> dict[str, tuple[Sequence[Architecture], np.ndarray | None]]:
    found: dict[str, tuple[Sequence[Architecture], np.ndarray | None]] = {}
    for other in others:
        rows = rng.permutation(len(other))[:count].tolist()
        found[other.task.search_space] = ([other.architectures[row] for row in rows], other.values[rows])
    return found


def _strangers(
    familiar: Sequence[Architecture], count: int, rng: np.random.Generator
) -> dict[str, tuple[Architecture, ...]]:
    sampled = {name: tuple(search_space(name).sample(rng) for _ in range(count)) for name in SAMPLED_SPACES}
    return sampled | nonsense(familiar, count, rng)


def bucket_table(answers: Answers, by: str) -> str:
    """What was said in each fifth, and what came of it."""
    rows = [
        [
            f"{getattr(one, by).min():.2f} to {getattr(one, by).max():.2f}",
            str(len(one)),
            *(f"{value:.2f}" for value in (one.ood_score.mean(), one.error.mean(), np.median(one.width))),
            f"{one.inside.mean():.2f}",
        ]
        for one in buckets(answers, by)
    ]
    header = ["score" if by == "ood_score" else "standard deviation", "architectures", "mean score"]
    return table([*header, "mean absolute error", "median width", "inside the 90 % interval"], rows)


def warnings_by_task(found: Mapping[str, Mapping[str, Sequence[Answers]]]) -> str:
    """Rank correlations with the error, mean ± standard deviation over seeds: of the score / of the predicted spread."""
    rows = [
        [task, *(" / ".join(_spread([one.warning(by) for one in of]) for by in ("ood_score", "std")) for of in parts.values())]
        for task, parts in found.items()
    ]  # fmt: skip
    return table(["", *PARTS], rows)


def _spread(values: Sequence[float]) -> str:
    told = [value for value in values if np.isfinite(value)]
    return f"{np.mean(told):.2f} ± {np.std(told):.2f}" if told else "–"


def graph_table(found: Mapping[str, Sequence[Answers]]) -> str:
    """One row for each kind of graph."""
    familiar = Answers.joined(found[LIKE_MEASURED])
    rows = []
    for name, seeds in found.items():
        one = Answers.joined(seeds)
        apart = told_apart(one.ood_score, familiar.ood_score)
        numbers = (one.ood_score.mean(), apart, np.median(one.width), one.error.mean(), one.inside.mean())
        rows.append([name, str(len(one)), *(f"{value:.2f}" if np.isfinite(value) else "–" for value in numbers)])
    header = ["graphs", "how many", "mean score", "told apart", "median width", "mean absolute error"]
    return table([*header, "inside the 90 % interval"], rows)


def report(
    parts: Mapping[str, Mapping[str, Sequence[Answers]]], graphs: Mapping[str, Mapping[str, Sequence[Answers]]]
) -> str:
    """All tables as Markdown."""
    blocks = ["## A part of the space is measured, all of it is asked about"]
    for name in PARTS:
        joined = Answers.joined([one for of in parts.values() for one in of[name]])
        blocks += [f"### Measured: {name}", "By out-of-distribution score", bucket_table(joined, "ood_score")]
        blocks += ["By predicted standard deviation", bucket_table(joined, "std")]
    blocks += ["### Spearman ρ with absolute errors: of the score / of the predicted standard deviation"]
    blocks += [warnings_by_task(parts)]
    for task, found in graphs.items():
        blocks += [f"## Asked of {task} as a task on graphs", graph_table(found)]
    return "\n\n".join(blocks) + "\n"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument(
        "--version", type=Path, default=shipped_champion(), help="model version (default: the shipped one)"
    )
    parser.add_argument("--tasks", nargs="+", default=["*"], help="only those that fit one of these patterns")
    parser.add_argument("--observations", type=int, default=20)
    parser.add_argument("--asked", type=int, default=500, help="architectures asked about in each draw")
    parser.add_argument("--strangers", type=int, default=100, help="graphs of each other kind in each draw")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--figure", type=Path, help="draw errors by score there (PNG)")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    tables = Tables(args.tables).whole
    setting = Setting(MetaPredictor.load(args.version), args.observations, args.asked, args.seeds, args.strangers)

    def chosen(names: Sequence[str]) -> list[str]:
        return [name for name in names if name in tables and any(fnmatchcase(name, one) for one in args.tasks)]

    partly, as_graphs = chosen(TASKS), chosen(list(GRAPH_TASKS))
    with tqdm(total=(len(partly) * len(PARTS) + len(as_graphs)) * args.seeds, unit=" draws", disable=None) as bar:
        parts = {name: of_parts(tables[name], setting, bar.update) for name in partly}
        graphs = {}
        for name in as_graphs:
            others = [tables[other] for other in GRAPH_TASKS[name] if other in tables]
            graphs[name] = of_graphs(tables[name], others, setting, bar.update)
    if not parts and not graphs:
        raise SystemExit(f"expected tasks that fit {' '.join(args.tasks)}, the tables hold none")
    print(report(parts, graphs))
    if args.figure is not None:
        plot_warnings(
            {name: Answers.joined([one for of in parts.values() for one in of[name]]) for name in PARTS}, args.figure
        )
        print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
