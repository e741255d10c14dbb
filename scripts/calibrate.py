"""Learns a model version's priors, interval widths and metrics anew, without touching what was meta-trained.

    python scripts/calibrate.py --tables ../shared/data --version predictor/champion
    python scripts/calibrate.py --tables ../shared/data --version predictor/champion --universal-mean

To be run after the residual process or the calibration changed. The version keeps its name, since that is made from the weights;
priors come from the tasks that it was meta-trained on, widths from the manifest's validation tasks, metrics from these and from its test
tasks. The second learns the universal mean anew before that, from the tasks that the version was meta-trained on; the version gets another name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from tqdm import tqdm

from predictor import MetaPredictor, checkpoint
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.pools import task_pools
from predictor.benchmarks.registry import read_all
from predictor.contest.contestants import sources_of
from predictor.meta.episodes import TaskPool
from predictor.meta_training import calibrated, priors_of, summary, with_manifest, with_universal_mean
from predictor.scoring import score_episodes
from predictor.tasks import MeasuredTask

SIZES = (0, 10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--version", type=Path, required=True, help="folder of the version, which is changed in place")
    parser.add_argument("--universal-mean", action="store_true", help="learn the universal mean anew, too")
    parser.add_argument("--max-architectures", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    meta = MetaPredictor.load(args.version)
    tasks = {one.task.name: one for one in read_all(args.tables, max_architectures_per_task=args.max_architectures)}
    parts, pools = kept_out(meta, tasks), trained_on(meta, tasks)
    if args.universal_mean:
        with tqdm(total=1.0, desc="universal mean", bar_format="{l_bar}{bar}", file=sys.stdout) as bar:
            meta = with_universal_mean(meta, pools, on_progress=lambda done: bar.update(done - bar.n) and None)
    meta = with_manifest(meta, {"priors": priors_of(pools)})
    with tqdm(total=1.0, desc="calibration", bar_format="{l_bar}{bar}", file=sys.stdout) as bar:
        sources = sources_of([tasks[name] for name in meta.manifest["trained_on"] if name in tasks])
        meta = calibrated(
            meta, parts["validation"], on_progress=lambda done: bar.update(done - bar.n) and None, sources=sources
        )
    if meta.manifest.get("leave_out") is None:  # what a leave-out training left out is scored by the contest
        metrics = {part: summary(score_episodes(meta, known, SIZES, num_repeats=2)) for part, known in parts.items()}
        meta = with_manifest(meta, {"metrics": metrics})
    checkpoint.write(args.version, meta.to_bytes(), meta.manifest)
    print(f"widths and metrics of version {meta.version} written to {args.version}", flush=True)


def trained_on(meta: MetaPredictor, tasks: Mapping[str, BenchmarkTask]) -> list[TaskPool]:
    """The tasks that the manifest says it was trained on, all of which must be there."""
    if missing := [name for name in meta.manifest["trained_on"] if name not in tasks]:
        sys.exit(f"expected tables of all tasks that the version was trained on, got none of {missing[0]}")
    return task_pools([tasks[name] for name in meta.manifest["trained_on"]])


def kept_out(meta: MetaPredictor, tasks: Mapping[str, BenchmarkTask]) -> dict[str, list[MeasuredTask]]:
    """The tasks that the manifest says were kept out, in its two parts."""
    named = meta.manifest["kept_out"]
    return {part: sources_of([tasks[name] for name in named[part] if name in tasks]) for part in ("validation", "test")}


if __name__ == "__main__":
    main()
