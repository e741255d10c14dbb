"""Differentiable search on real images: finds a cell architecture by gradient, trains it from scratch and writes what it reached.

    python scripts/darts.py --space nasbench201 --data digits --output var/darts/digits
    python scripts/darts.py --space darts --data ../shared/images/fashion_mnist_28_50k.npz --train-images 2000 --epochs 20 \\
        --channels 8 --stages 2 --partial-channels 4 --normalise-edges --warmup-epochs 6 --output var/darts/fashion

`--data` is a name (digits, photo_regions) or an `.npz` file with x_train, y_train, x_test, y_test. Stopped at any moment, the same
command goes on where it was. The output folder gets `genotype.txt`, `result.json` (history of search and retraining, accuracy on the
test images) and, while it runs, `checkpoint.safetensors`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from predictor.errors import PredictorError
from predictor.evaluate.data_sources import load_dataset
from predictor.evaluate.datasets import ImageDataset
from predictor.evaluate.supernet.checkpoint_files import checkpoint_file
from predictor.evaluate.supernet.config import DartsConfig, Order
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.images import for_search
from predictor.evaluate.supernet.retraining import RetrainingConfig
from predictor.evaluate.supernet.search import DartsProgress, DartsResult, DifferentiableSearch
from predictor.evaluate.supernet.stack import StackConfig
from predictor.search_spaces.registry import search_space

_DEFAULT = DartsConfig()


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="nasbench201")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--train-images", type=int, default=0, help="only so many of them; 0: all")
    parser.add_argument("--test-images", type=int, default=0, help="only so many of them; 0: all")
    parser.add_argument("--order", default=_DEFAULT.order, choices=Order.__args__)  # type: ignore[attr-defined]
    parser.add_argument("--epochs", type=int, default=_DEFAULT.epochs)
    parser.add_argument("--batch-size", type=int, default=_DEFAULT.batch_size)
    parser.add_argument("--architecture-rate", type=float, default=_DEFAULT.architecture_rate)
    parser.add_argument("--warmup-epochs", type=int, default=_DEFAULT.warmup_epochs)
    parser.add_argument("--partial-channels", type=int, default=1, help="PC-DARTS: one channel in so many is mixed")
    parser.add_argument("--normalise-edges", action="store_true", help="PC-DARTS: edges have weights of their own")
    parser.add_argument(
        "--early-stopping", action="store_true", help="DARTS-ES: stop before the loss bends too sharply"
    )
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells-per-stage", type=int, default=1)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--retraining-epochs", type=int, default=RetrainingConfig().epochs, help="0: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="", help="left out: CUDA when there is one")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(given)


def configured(args: argparse.Namespace) -> DartsConfig:
    """The settings of the search."""
    return DartsConfig(
        epochs=args.epochs,
        order=args.order,
        batch_size=args.batch_size,
        architecture_rate=args.architecture_rate,
        warmup_epochs=args.warmup_epochs,
        normalises_edges=args.normalise_edges,
        early_stopping=EarlyStopping() if args.early_stopping else None,
        stack=StackConfig(args.channels, args.cells_per_stage, args.stages, args.partial_channels),
        retraining=RetrainingConfig(args.retraining_epochs),
        seed=args.seed,
    )


def loaded(args: argparse.Namespace) -> ImageDataset:
    """The images, as many as asked for."""
    data = for_search(load_dataset(args.data))
    order = torch.randperm(len(data.train_images), generator=torch.Generator().manual_seed(0))  # files may be sorted
    train, test = order[: args.train_images or None], slice(args.test_images or None)
    return replace(
        data,
        train_images=data.train_images[train],
        train_labels=data.train_labels[train],
        test_images=data.test_images[test],
        test_labels=data.test_labels[test],
    )


def run(args: argparse.Namespace) -> DartsResult:
    """The search, from where it was left."""
    search = DifferentiableSearch(search_space(args.space), loaded(args), configured(args), args.device)
    path = args.output / "checkpoint.safetensors"
    with tqdm(total=100.0, bar_format="{l_bar}{bar}| {postfix}", file=sys.stderr) as bar:

        def report(progress: DartsProgress) -> bool:
            bar.set_description_str(f"{progress.stage}, epoch {progress.epoch} of {progress.num_epochs}")
            bar.set_postfix_str(f"training loss {progress.record['train_loss']:.3f}")
            bar.update(progress.percent - bar.n)
            return True

        result = search.run(report, checkpoint_file(path))
    path.unlink(missing_ok=True)
    return result


def write(folder: Path, result: DartsResult, config: DartsConfig) -> None:
    """What was found."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "genotype": result.architecture.genotype,
        "accuracy_percent": result.accuracy_percent,
        "went_back_to_epoch": None if result.went_back_to is None else result.went_back_to + 1,
        "history": result.history,
        "retraining": result.retraining,
        "config": asdict(config),
    }
    (folder / "result.json").write_text(json.dumps(document, indent=2) + "\n")
    (folder / "genotype.txt").write_text(f"{result.architecture.genotype}\n")


def main(given: Sequence[str] | None = None) -> None:
    args = arguments(given)
    torch.set_num_threads(args.threads)
    try:
        result = run(args)
        write(args.output, result, configured(args))
    except PredictorError as error:
        sys.exit(str(error))
    print(result.architecture.genotype)
    if result.accuracy_percent is not None:
        print(f"trained from scratch: {result.accuracy_percent:.2f} % of the test images")


if __name__ == "__main__":
    main()
