"""Searches whose every evaluation is a real training, beside each other at equal cost, on images that no forecast knows.

Cells of NAS-Bench-201 are trained for a few epochs on a part of an image data set. Random search, regularised evolution and Bayesian
search with the shipped champion each do as many trainings, and use as many processor seconds for them; a search with forecasts knows
no measurement of this data set but its own. The best of each by validation accuracy is trained again with other seeds and
scored on test images that nothing was chosen by.

    python scripts/compare_training.py --data fashion_mnist.npz --budget 25 --seconds 150 --seeds 5
    python scripts/compare_training.py --report

Every training is a line of `trainings.jsonl` in `--folder`, by architecture, recipe and seed: none is done twice, and a run stops and goes
on anywhere. `--tables DIR` adds a search that hears published tables of the space, too.
"""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from tqdm import tqdm

from predictor import MetaPredictor, PredictorError
from predictor.benchmarks.registry import read_all
from predictor.champion import shipped_champion
from predictor.contest.trained_report import trained_report
from predictor.contest.trained_searches import (
    SEARCHING_SEED,
    Courses,
    Spending,
    TrainedContestant,
    TrainedSearches,
    check_unseen,
    measuring_contestants,
    own_contestants,
)
from predictor.contest.training_journal import JournaledTraining, TrainedOnce, TrainingJournal
from predictor.errors import BenchmarkError
from predictor.evaluate.data_sources import load_dataset
from predictor.evaluate.examples import SplitDataset
from predictor.evaluate.network import NetworkConfig
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.training_evaluator import TrainingEvaluator
from predictor.search_spaces.registry import search_space

SPACE = "nasbench201"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="an .npz file (x_train, y_train, x_test, y_test) or a data set's name")
    parser.add_argument("--folder", type=Path, default=Path("var/trained_searches"), help="where lines are kept")
    parser.add_argument("--images", type=int, default=4_000, help="to train on")
    parser.add_argument("--validation-images", type=int, default=2_000)
    parser.add_argument("--test-images", type=int, default=4_000)
    parser.add_argument("--resolution", type=int, default=14, help="images are scaled to it; 0: left as they are")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=8, help="of the stem")
    parser.add_argument("--cells", type=int, default=1, help="in each of three stages")
    parser.add_argument("--budget", type=int, default=25, help="trainings that every search does at least")
    parser.add_argument("--seconds", type=float, default=0.0, help="processor seconds that they take at least")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each contestant")
    parser.add_argument("--retrainings", type=int, default=3, help="of each winner, with other seeds")
    parser.add_argument("--contestants", nargs="+", default=["*"], help="only those whose name fits a pattern")
    parser.add_argument("--tables", type=Path, help="folder of published tables, for one more search")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="train nothing; print tables of what is there")
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Raises BenchmarkError where numbers mean nothing."""
    for name in ("seeds", "threads"):
        if getattr(args, name) < 1:
            raise BenchmarkError(f"expected --{name} to be at least 1, got {getattr(args, name)}")
    if args.retrainings < 0:
        raise BenchmarkError(f"expected --retrainings to be 0 or more, got {args.retrainings}")
    if args.data is None and not args.report:
        raise BenchmarkError("expected images to train on as --data FILE.npz, got none")


def part_of(whole: SplitDataset, args: argparse.Namespace) -> SplitDataset:
    """As many images as asked for in each part, as many of every class."""
    return SplitDataset.of(
        whole.name,
        whole.train.balanced(args.images),
        whole.test.balanced(args.test_images),
        whole.validation.balanced(args.validation_images),
    )


def evaluator_of(dataset: SplitDataset, args: argparse.Namespace) -> TrainingEvaluator:
    sizes = {"stem_channels": args.channels, "cells_per_stage": args.cells}
    network = NetworkConfig(dataset.image_shape, dataset.num_classes, sizes, args.resolution)
    recipe = Recipe(epochs=args.epochs, batch_size=args.batch_size)
    return TrainingEvaluator(search_space(SPACE), dataset, recipe, network, torch.device("cpu"))


def contestants(dataset: str, args: argparse.Namespace) -> list[TrainedContestant]:
    """Those that are asked for."""
    version = MetaPredictor.load(shipped_champion())
    check_unseen(version, dataset)
    shipped = read_all(None)
    published = read_all(args.tables) if args.tables else []
    if args.tables and len(published) == len(shipped):
        raise BenchmarkError(f"expected published tables in {args.tables}, found none")
    every = [*measuring_contestants(), *own_contestants(version, shipped, published)]
    wanted = [one for one in every if any(fnmatchcase(one.name, pattern) for pattern in args.contestants)]
    if not wanted:
        raise BenchmarkError(f"expected patterns of {', '.join(one.name for one in every)}, got {args.contestants}")
    return wanted


def compare(args: argparse.Namespace, spending: Spending, journal: TrainingJournal, courses: Courses) -> None:
    """Seed by seed, so that whatever is there at any moment compares everybody."""
    dataset = part_of(load_dataset(args.data), args)
    training = JournaledTraining(evaluator_of(dataset, args), journal)
    size = args.resolution or dataset.image_shape[1]
    about = (
        f"{dataset.name}: {args.images:,} images of {size} × {size}, {args.epochs} epochs, "
        f"{args.channels} channels, {args.cells} cell(s) a stage"
    )
    searches = TrainedSearches(training, courses, about)
    everybody = contestants(dataset.name, args)
    waiting = [(one, seed) for seed in range(args.seeds) for one in everybody]
    bar = tqdm(waiting, unit="search", disable=None, mininterval=1)

    def on_training(name: str, seed: int, row: TrainedOnce) -> None:
        shown = "failed" if row.validation_percent is None else f"{row.validation_percent:.2f} %"
        bar.set_postfix_str(f"{name}, seed {seed}: {shown}, {len(journal)} trainings")

    for one, seed in bar:
        course = searches.course(one, spending, seed, on_training)
        for winner in searches.winners(course, spending):
            for number in range(1, args.retrainings + 1):
                on_training(f"winner of {one.name}", seed, training.trained(winner, SEARCHING_SEED + number))


def main() -> int:
    args = arguments()
    torch.set_num_threads(max(args.threads, 1))
    try:
        check(args)
        spending = Spending(args.budget, args.seconds)
        journal, courses = TrainingJournal(args.folder / "trainings.jsonl"), Courses(args.folder / "searches.jsonl")
        if not args.report:
            compare(args, spending, journal, courses)
        text = trained_report(courses, journal, spending)
    except PredictorError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 2
    print(text or f"no searches of {args.budget} trainings and {args.seconds:g} seconds in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
