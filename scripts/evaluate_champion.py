"""How the shipped champion forecasts tasks that were kept out of its training, beside what a user would pick instead.

Support and test architectures are the same for all contestants. Contestants: the champion; the same surrogate with random
initial parameters; the champion without its residual process; a Gaussian process and a random forest on one-hot decisions.

    python scripts/evaluate_champion.py                            tasks of the shipped benchmark that were kept out
    python scripts/evaluate_champion.py --tables ../shared/data    also the published ones that were kept out
"""

from __future__ import annotations

import argparse
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor
from tqdm import tqdm

from predictor import MetaPredictor, SupportSet, shipped_champion
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.registry import read_all
from predictor.meta.inner_loop import initial_log_step_sizes
from predictor.scoring import kendall_tau
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.residual_gp import GPInputs, ResidualGP
from predictor.surrogate.standardisation import Standardisation
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig

SIZES = (0, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Forecast:
    """Mean and the bounds of the 90 % interval; bounds are NaN where a contestant gives none."""

    mean: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class Contestant(ABC):
    """Learns from a support set and forecasts others."""

    needs_observations: bool

    @abstractmethod
    def forecast(self, task: BenchmarkTask, support: SupportSet, asked: list[int]) -> Forecast:
        """Forecasts of the architectures in those places of the task."""


class Adapted(Contestant):
    """A model version, through the same calls that the service makes; `keep_process` False leaves the residual process out."""

    needs_observations = False

    def __init__(self, meta: MetaPredictor, keep_process: bool = True) -> None:
        self._meta, self._keep_process = meta, keep_process

    def forecast(self, task: BenchmarkTask, support: SupportSet, asked: list[int]) -> Forecast:
        adapted = self._meta.adapt(task.task, task.space, support)
        if not self._keep_process:
            adapted = adapted.without_process()
        found = adapted.predict([task.architectures[place] for place in asked])
        return Forecast(found.mean, found.lower, found.upper)


class DecisionProcess(Contestant):
    """A Gaussian process on one-hot decisions, hyperparameters by marginal likelihood."""

    needs_observations = True

    def forecast(self, task: BenchmarkTask, support: SupportSet, asked: list[int]) -> Forecast:
        scale = Standardisation.fit(task.task, support.targets)
        inputs = _decision_inputs(task, support.architectures)
        targets = torch.from_numpy(scale.forward(support.targets))
        process = ResidualGP.fit(inputs, targets, torch.ones(len(support)))
        mean, std = process.predict(_decision_inputs(task, [task.architectures[place] for place in asked]))
        ends = [scale.inverse((mean + side * 1.645 * std).numpy()) for side in (-1, 1)]
        return Forecast(scale.inverse(mean.numpy()), np.minimum(*ends), np.maximum(*ends))


def _decision_inputs(task: BenchmarkTask, architectures) -> GPInputs:  # type: ignore[no-untyped-def]
    view = torch.tensor([task.space.features(one) for one in architectures], dtype=torch.float64)
    return GPInputs(torch.zeros(len(view), dtype=torch.float64), (view,))


class DecisionForest(Contestant):
    """A random forest on one-hot decisions."""

    needs_observations = True

    def forecast(self, task: BenchmarkTask, support: SupportSet, asked: list[int]) -> Forecast:
        forest = RandomForestRegressor(n_estimators=100, random_state=0)
        forest.fit([task.space.features(one) for one in support.architectures], support.targets)
        mean = forest.predict([task.space.features(task.architectures[place]) for place in asked])
        nothing = np.full(len(mean), np.nan)
        return Forecast(mean, nothing, nothing)


def untrained(champion: MetaPredictor) -> MetaPredictor:
    """The champion's surrogate with random initial parameters and step sizes."""
    encoder = EncoderConfig(**champion.manifest["surrogate"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        surrogate = Surrogate(SurrogateConfig(encoder))
    steps = initial_log_step_sizes(surrogate, champion.inner_config)
    return MetaPredictor(surrogate, steps, champion.default_reference, champion.manifest)


def contestants(champion: MetaPredictor) -> Mapping[str, Contestant]:
    return {
        "Archcast": Adapted(champion),
        "without meta-training": Adapted(untrained(champion)),
        "without the residual process": Adapted(champion, keep_process=False),
        "Gaussian process on decisions": DecisionProcess(),
        "random forest on decisions": DecisionForest(),
    }


def evaluate(
    task: BenchmarkTask, entrants: Mapping[str, Contestant], seeds: int, num_query: int, advance: Callable[[], None]
) -> list[dict[str, object]]:
    """One row per contestant, number of observations and seed."""
    rows: list[dict[str, object]] = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(task.values)).tolist()
        for size in SIZES:
            known, asked = order[:size], order[size : size + num_query]
            support = SupportSet(
                tuple(task.architectures[place] for place in known),
                tuple(float(task.values[place]) for place in known),
                (1,) * size,
            )
            truth = task.values[asked]
            for name, entrant in entrants.items():
                advance()
                if size == 0 and entrant.needs_observations:
                    continue
                start = time.perf_counter()
                found = entrant.forecast(task, support, asked)
                rows.append(
                    {
                        "task": task.task.name,
                        "contestant": name,
                        "observations": size,
                        "seed": seed,
                        "tau": kendall_tau(found.mean * task.task.metric.sign, truth * task.task.metric.sign),
                        "coverage": float(np.mean((found.lower <= truth) & (truth <= found.upper)))
                        if np.isfinite(found.lower).all()
                        else None,
                        "width": float(np.median(found.upper - found.lower))
                        if np.isfinite(found.lower).all()
                        else None,
                        "seconds": time.perf_counter() - start,
                    }
                )
    return rows


def markdown(rows: list[dict[str, object]], field: str) -> str:
    """One table per task: mean ± standard deviation over seeds."""
    blocks = []
    for task in dict.fromkeys(row["task"] for row in rows):
        lines = [
            f"**{task}**",
            "",
            "| | " + " | ".join(f"at {size}" for size in SIZES) + " |",
            "|---" * (len(SIZES) + 1) + "|",
        ]
        for name in dict.fromkeys(row["contestant"] for row in rows):
            cells = []
            for size in SIZES:
                values = [
                    row[field]
                    for row in rows
                    if (row["task"], row["contestant"], row["observations"]) == (task, name, size)
                    and row[field] is not None
                ]
                cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "–")  # type: ignore[arg-type]
            if set(cells) != {"–"}:
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--num-query", type=int, default=500)
    parser.add_argument("--tasks", nargs="*", help="only tasks whose name contains one of these")
    parser.add_argument("--output", type=Path, default=Path("var/evaluate_champion.json"))
    args = parser.parse_args()
    champion = MetaPredictor.load(shipped_champion())
    kept_out = set(champion.manifest["kept_out"]["test"])
    tasks = [
        one
        for one in read_all(args.tables, max_architectures_per_task=3000)
        if one.task.name in kept_out and (not args.tasks or any(part in one.task.name for part in args.tasks))
    ]
    entrants = contestants(champion)
    rows: list[dict[str, object]] = []
    with tqdm(total=len(tasks) * args.seeds * len(SIZES) * len(entrants), disable=None) as bar:
        for task in tasks:
            rows += evaluate(task, entrants, args.seeds, args.num_query, lambda: bar.update(1) and None)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"version": champion.version, "rows": rows}, indent=1))
    print(f"Kendall τ, version {champion.version}, {args.seeds} seeds\n\n{markdown(rows, 'tau')}")
    print(f"\nCoverage of the 90 % interval\n\n{markdown(rows, 'coverage')}")
    print(f"\nSeconds to adapt and forecast {args.num_query}\n\n{markdown(rows, 'seconds')}")


if __name__ == "__main__":
    main()
