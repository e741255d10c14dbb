"""Learns a model version's interval widths and metrics anew, without touching what was meta-trained.

    python scripts/calibrate.py --tables ../shared/data --version predictor/champion

To be run after the residual process or the calibration changed. The version keeps its name, since that is made from the weights;
widths come from the manifest's validation tasks, metrics from these and from its test tasks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from predictor import MetaPredictor, checkpoint
from predictor.benchmarks.registry import read_all
from predictor.contest.contestants import sources_of
from predictor.meta_training import calibrated, summary, with_manifest
from predictor.scoring import score_episodes
from predictor.tasks import MeasuredTask

SIZES = (0, 10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--version", type=Path, required=True, help="folder of the version, which is changed in place")
    parser.add_argument("--max-architectures", type=int, default=800)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    meta = MetaPredictor.load(args.version)
    parts = kept_out(meta, args.tables, args.max_architectures)
    with tqdm(total=1.0, desc="calibration", bar_format="{l_bar}{bar}", file=sys.stdout) as bar:
        meta = calibrated(meta, parts["validation"], on_progress=lambda done: bar.update(done - bar.n) and None)
    metrics = {part: summary(score_episodes(meta, tasks, SIZES, num_repeats=2)) for part, tasks in parts.items()}
    meta = with_manifest(meta, {"metrics": metrics})
    checkpoint.write(args.version, meta.to_bytes(), meta.manifest)
    print(f"widths and metrics of version {meta.version} written to {args.version}", flush=True)


def kept_out(meta: MetaPredictor, tables: Path | None, max_architectures: int) -> dict[str, list[MeasuredTask]]:
    """The tasks that the manifest says were kept out, in its two parts."""
    tasks = {one.task.name: one for one in read_all(tables, max_architectures_per_task=max_architectures)}
    named = meta.manifest["kept_out"]
    return {part: sources_of([tasks[name] for name in named[part] if name in tasks]) for part in ("validation", "test")}


if __name__ == "__main__":
    main()
