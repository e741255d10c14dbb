"""First proposals for tasks of which nothing was measured: by descriptions of tasks, by zero-shot forecasts, at random.

    python scripts/compare_warm_start.py --tables DIR --versions var/leave_out

Every asked data set is left out: of meta-training (a version of the leave-out training answers), of what is heard, and of what task
likeness is learned from. A cell is the regret of the best of the first k proposals, in the metric's unit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from predictor import MetaPredictor, SupportSet
from predictor.architecture import Architecture
from predictor.benchmarks.dataset_facts import DATASET_FACTS
from predictor.benchmarks.protocols import Case, protocol
from predictor.contest.contestants import sources_of
from predictor.contest.entrants import Tables
from predictor.contest.report import table
from predictor.contest.search_cases import TASK, SearchedTask, search_cases, searched_task
from predictor.contest.versions import version_if_there
from predictor.warm_start import TaskAffinity, WarmStart

FIRST = (1, 5, 10, 20)
NUM_RANDOM = 200  # draws that the random row is the mean of


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of published tables")
    parser.add_argument("--versions", type=Path, default=Path("var/leave_out"), help="one model version per training")
    parser.add_argument("--cases", nargs="+", default=["*"], help="only cases whose name fits one of these patterns")
    return parser.parse_args()


def cases() -> list[Case]:
    """Searched tasks and those of NAS-Bench-MR, each with its data set left out."""
    return [*search_cases(TASK), *(one for one in protocol("P1").cases if "NAS-Bench-MR" in one.groups)]


def regrets(asked: SearchedTask, proposals: Sequence[Architecture]) -> list[float]:
    """Of the best of the first k."""
    value = {architecture.hash: one for architecture, one in asked.measured}
    sign = asked.table.task.metric.sign
    goodness = sign * np.array([value[one.hash] for one in proposals])
    return [float(sign * asked.optimum - goodness[:k].max()) for k in FIRST]


def at_random(asked: SearchedTask) -> list[float]:
    rng = np.random.default_rng(0)
    every = asked.measured.architectures
    draws = [rng.permutation(len(every))[: FIRST[-1]] for _ in range(NUM_RANDOM)]
    return np.mean([regrets(asked, [every[row] for row in rows]) for rows in draws], axis=0).tolist()


def best_forecast(asked: SearchedTask, version: MetaPredictor, with_related: bool) -> list[float]:
    """Zero-shot, of everything in the table; with related tasks all of them count alike."""
    task, space, every = asked.table.task, asked.problem.space, asked.measured.architectures
    related = version.related(task, space, asked.related) if with_related else None
    mean = version.adapt(task, space, SupportSet(), related).predict(every).mean
    order = np.argsort(-task.metric.sign * mean, kind="stable")[: FIRST[-1]]
    return regrets(asked, [every[row] for row in order])


def by_description(asked: SearchedTask, version: MetaPredictor, tables: Tables) -> list[float]:
    """A warm start; what it learns likeness from is a part of every other task."""
    allowed = [one for name, one in tables.parts.items() if not asked.case.leaves_out(name)]
    affinity = TaskAffinity.learned(sources_of(allowed), DATASET_FACTS)
    warm = WarmStart(version, tuple(asked.related), DATASET_FACTS, affinity)
    rng = np.random.default_rng(0)
    return regrets(asked, warm.propose(asked.table.task, asked.problem.space, FIRST[-1], rng))


def compared(asked: SearchedTask, version: MetaPredictor, tables: Tables) -> dict[str, list[float]]:
    return {
        "at random": at_random(asked),
        "zero-shot forecast": best_forecast(asked, version, with_related=False),
        "zero-shot forecast, related tasks alike": best_forecast(asked, version, with_related=True),
        "by description": by_description(asked, version, tables),
    }


def show(name: str, rows: dict[str, list[float]]) -> None:
    header = ["", *(f"first {k}" for k in FIRST)]
    text = table(header, ([way, *(f"{one:.2f}" for one in values)] for way, values in rows.items()))
    tqdm.write(f"\n**{name}**\n\n{text}")


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    tables = Tables(args.tables)
    wanted = [one for one in cases() if any(fnmatchcase(one.name, pattern) for pattern in args.cases)]
    for case in tqdm(wanted, unit="task", disable=None):
        asked, version = searched_task(TASK, case, tables.whole), version_if_there(case, args.versions, tqdm.write)
        if asked is not None and version is not None:
            show(case.name, compared(asked, version, tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
