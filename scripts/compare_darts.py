"""Differentiable search against random search of equal cost: what guards against skip connections do, and what is found.

    python scripts/compare_darts.py --space nasbench201 --journal var/darts/nasbench201.jsonl --epochs 40 --seeds 0 1 2 3 4
    python scripts/compare_darts.py --journal var/darts/*.jsonl --report

Each finished search is appended to the journal, so the script can be stopped and started at any moment. All methods
decide by halves of the training images: differentiable ones train weights on one and the architecture on the other, random search trains
candidates on one and picks the best on the other, until it has used the processor's seconds that first-order search took. What is
found is then trained from scratch on all training images and tested on the test images, which nothing was chosen by.

One first-order search answers for two rows: as it ends, and as early stopping by curvature would have ended it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from predictor.architecture import Architecture
from predictor.evaluate.datasets import IMAGE_DATASETS, ImageDataset
from predictor.evaluate.supernet.bilevel_loop import BilevelLoop
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.parameters import skip_share
from predictor.evaluate.supernet.retraining import Retraining, RetrainingConfig
from predictor.evaluate.supernet.stack import StackConfig, cell_space
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import search_space

FIRST, SECOND, STOPPED, PARTIAL = "DARTS, first order", "DARTS, second order", "DARTS-ES", "PC-DARTS"
RANDOM = "random search, seconds of first order"
METHODS = (RANDOM, FIRST, SECOND, STOPPED, PARTIAL)
Row = dict[str, Any]


@dataclass(frozen=True)
class Contest:
    """What is searched, and how large everything is."""

    space: SearchSpace
    dataset: ImageDataset
    config: DartsConfig
    partial_channels: int
    retrainings: int
    stopping: EarlyStopping

    def configured(self, method: str, seed: int) -> DartsConfig:
        """The settings of a differentiable search."""
        config = replace(self.config, seed=seed, order="second" if method == SECOND else "first")
        if method != PARTIAL:
            return config
        stack = replace(config.stack, partial_channels=self.partial_channels)
        return replace(config, stack=stack, normalises_edges=True, warmup_epochs=config.epochs // 3)

    def accuracies(self, architecture: Architecture, seed: int) -> list[float]:
        """Trained from scratch on all training images, tested."""
        return [self._trained(architecture, self.dataset, 100 * seed + number) for number in range(self.retrainings)]

    def _trained(self, architecture: Architecture, dataset: ImageDataset, seed: int) -> float:
        retraining = Retraining(self.space, architecture, dataset, self.config.stack, self.config.retraining, seed)
        retraining.run()
        return float(retraining.history[-1]["accuracy_percent"])

    def row(self, method: str, seed: int, architecture: Architecture, seconds: float, **more: object) -> Row:
        """One line of the journal."""
        cells = cell_space(self.space)
        return {
            "space": self.space.name,
            "dataset": self.dataset.name,
            "epochs": self.config.epochs,
            "method": method,
            "seed": seed,
            "genotype": self.space.format(architecture),
            "skip_share": skip_share(cells.cells, cells.selection_of(architecture)),
            "accuracy_percent": self.accuracies(architecture, seed),
            "search_seconds": seconds,
            **more,
        }

    def differentiable(self, method: str, seed: int) -> list[Row]:
        """A search; of first order also as early stopping would have ended it."""
        loop = BilevelLoop(self.space, self.dataset, self.configured(method, seed))
        seconds, curved = [0.0], [0.0]
        eigenvalues: list[float] = []
        last = time.process_time()

        def on_epoch(_record: Row) -> bool:
            nonlocal last
            searched = time.process_time()
            eigenvalues.append(loop.eigenvalue(self.stopping.iterations) if method == FIRST else 0.0)
            seconds.append(seconds[-1] + searched - last)
            curved.append(curved[-1] + time.process_time() - searched)
            last = time.process_time()
            return True

        loop.run(on_epoch)
        found = [self.space.parse(record["genotype"]) for record in loop.history]
        course = {
            "skip_shares": [record["skip_share"] for record in loop.history],
            "mixture_accuracies": [record["validation_accuracy_percent"] for record in loop.history],
        }
        if method != FIRST:
            return [self.row(method, seed, found[-1], seconds[-1], **course)]
        course["eigenvalues"] = eigenvalues
        end, chosen = self._stopped(eigenvalues)
        return [
            self.row(FIRST, seed, found[-1], seconds[-1], **course),
            self.row(STOPPED, seed, found[chosen], seconds[end + 1] + curved[end + 1], end=end, chosen=chosen),
        ]

    def _stopped(self, eigenvalues: list[float]) -> tuple[int, int]:
        """The epoch that the search would have ended in, and the one whose architecture it would have taken."""
        for end in range(len(eigenvalues)):
            chosen = self.stopping.goes_back_to(eigenvalues[: end + 1])
            if chosen is not None:
                return end, chosen
        return len(eigenvalues) - 1, len(eigenvalues) - 1

    def random(self, seed: int, seconds: float) -> list[Row]:
        """Candidates on one half, the best on the other, until the time is used up."""
        data, rng = self.dataset, np.random.default_rng(seed)
        order = torch.from_numpy(rng.permutation(len(data.train_images)))
        one, other = order[: len(order) // 2], order[len(order) // 2 :]
        halved = replace(
            data, train_images=data.train_images[one], train_labels=data.train_labels[one],
            test_images=data.train_images[other], test_labels=data.train_labels[other],
        )  # fmt: skip
        best, best_accuracy, tried, start = None, -1.0, 0, time.process_time()
        while best is None or time.process_time() - start < seconds:
            candidate = self.space.sample(rng)
            accuracy = self._trained(candidate, halved, seed)
            tried += 1
            if accuracy > best_accuracy:
                best, best_accuracy = candidate, accuracy
        return [self.row(RANDOM, seed, best, time.process_time() - start, tried=tried)]


def read(paths: list[Path]) -> list[Row]:
    """All finished searches."""
    return [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]


def compare(contest: Contest, journal: Path, seeds: list[int]) -> None:
    """Runs what is left."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    planned = [(method, seed) for seed in seeds for method in (FIRST, PARTIAL, RANDOM)]
    planned += [(SECOND, seed) for seed in seeds]  # the dearest last
    for method, seed in tqdm(planned, desc=contest.space.name, mininterval=5):
        done = {(row["method"], row["seed"]): row for row in read([journal])}
        if (method, seed) in done:
            continue
        if method == RANDOM:
            rows = contest.random(seed, done[FIRST, seed]["search_seconds"])
        else:
            rows = contest.differentiable(method, seed)
        with journal.open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))


def report(rows: list[Row]) -> None:
    """One table for each space and data set."""
    groups: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row["space"], row["dataset"]][row["method"]].append(row)
    for (space, dataset), methods in groups.items():
        print(f"**{space} on {dataset}**\n")
        print("| | searches | retrained accuracy, % | lowest | skip connections, share | processor seconds |")
        print("| --- | --- | --- | --- | --- | --- |")
        for method in METHODS:
            if method in methods:
                print(_line(method, methods[method]))
        print()


def _line(method: str, rows: list[Row]) -> str:
    accuracy = [float(np.mean(row["accuracy_percent"])) for row in rows]
    skips = [row["skip_share"] for row in rows]
    seconds = [row["search_seconds"] for row in rows]
    spread = f" ± {np.std(accuracy, ddof=1):.2f}" if len(rows) > 1 else ""
    return (
        f"| {method} | {len(rows)} | {np.mean(accuracy):.2f}{spread} | {min(accuracy):.2f} | {np.mean(skips):.2f} | "
        f"{np.mean(seconds):.0f} |"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", type=Path, nargs="+", required=True)
    parser.add_argument("--report", action="store_true", help="print the tables of the journals and stop")
    parser.add_argument("--space", default="nasbench201")
    parser.add_argument("--data", default="digits", choices=sorted(IMAGE_DATASETS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--architecture-rate", type=float, default=0.02)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--partial-channels", type=int, default=4)
    parser.add_argument("--retraining-epochs", type=int, default=9)
    parser.add_argument("--retrainings", type=int, default=2, help="seeds that each find is trained with")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    if args.report:
        report(read(args.journal))
        return
    config = DartsConfig(
        epochs=args.epochs,
        architecture_rate=args.architecture_rate,
        stack=StackConfig(args.channels, 1, args.stages),
        retraining=RetrainingConfig(args.retraining_epochs),
    )
    stopping = EarlyStopping(window=3, distance=4, first_epoch=3, iterations=5)
    space, dataset = search_space(args.space), IMAGE_DATASETS[args.data]()
    contest = Contest(space, dataset, config, args.partial_channels, args.retrainings, stopping)
    compare(contest, args.journal[0], args.seeds)


if __name__ == "__main__":
    main()
