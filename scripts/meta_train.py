"""Meta-trains a surrogate on published tables and our own benchmark, and writes it as a model version.

    python scripts/meta_train.py --tables ../shared/data --output predictor/champion
    python scripts/meta_train.py --tables ../shared/data --leave-out p2_transnas_micro --output var/leave_out/p2_transnas_micro

The second is a leave-out training (`predictor/benchmarks/leave_out.py`) for `scripts/evaluate_predictor.py`: what it must not
see is kept out, from calibration too, and nothing else is. Stops and goes on at any moment: state is kept under `--state` every few minutes.
`VALIDATION` lists the tasks that calibration is learned from; what a training must not see is in its patterns, those of the
champion where none is named. Neither takes part in training.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from predictor import checkpoint
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.leave_out import CHAMPION, matches, trainings
from predictor.benchmarks.pools import task_pools
from predictor.benchmarks.registry import read_all
from predictor.meta.episodes import EpisodeConfig, EpisodeSampler
from predictor.meta.inner_loop import InnerLoopConfig
from predictor.meta.outer_loop import MetaLearnerState, OuterLoop, OuterLoopConfig, inner_engine
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import calibrated, finished, summary, with_manifest, with_universal_mean
from predictor.scoring import score_episodes
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import NUM_CONTEXT, SurrogateConfig
from predictor.tasks import MeasuredTask, SupportSet

VALIDATION = (  # calibration and progress figures come from these
    "transnas_micro/*jigsaw*",
    "nasbench_graph/pubmed/*",
    "nasbench201/cifar10/energy_mj/eyeriss",
    "ofa_mobilenetv3/*/v100_1",
    "fbnet/*/raspi4",
    "nasbench_macro/*",
    "mnasnet/*/vck190",
    "graphgym*/tu_bzr*",
)


def commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--leave-out", choices=list(trainings()), metavar="TRAINING", help="a leave-out training's name"
    )
    parser.add_argument(
        "--state", type=Path, help="default: var/meta_train, and a folder in it for a leave-out training"
    )
    parser.add_argument("--start", type=Path, help="a model version to go on from, instead of random parameters")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--until", type=int, help="stop after this step, to go on later (default: --steps)")
    parser.add_argument("--engine", choices=("batched", "learn2learn"), default="batched")
    parser.add_argument("--tasks-per-batch", type=int, default=8)
    parser.add_argument("--max-architectures", type=int, default=800)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--inner-steps", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--feature-dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.state = args.state or Path("var/meta_train") / (args.leave_out or "")
    return args


def kept_out_of(leave_out: str | None) -> tuple[str, ...]:
    """What takes no part in that training, the champion's if it has no name."""
    return trainings()[leave_out or CHAMPION]


def load_tasks(args: argparse.Namespace) -> dict[str, list[BenchmarkTask]]:
    bar = tqdm(desc="reading tables", file=sys.stdout)

    def progress(name: str, number: int, total: int) -> None:
        bar.total = total
        bar.set_postfix_str(name)
        bar.update(number - bar.n)

    tasks = read_all(args.tables, max_architectures_per_task=args.max_architectures, on_progress=progress)
    bar.close()
    kept_out = kept_out_of(args.leave_out)
    parts: dict[str, list[BenchmarkTask]] = {"train": [], "validation": [], "test": []}
    for task in tasks:
        name = task.task.name
        part = "test" if matches(name, kept_out) else "validation" if matches(name, VALIDATION) else "train"
        parts[part].append(task)
    return parts


def measured(tasks: list[BenchmarkTask]) -> list[MeasuredTask]:
    return [
        MeasuredTask(
            one.task,
            one.space,
            SupportSet(tuple(one.architectures), tuple(map(float, one.values)), (1,) * len(one.values)),
        )
        for one in tasks
    ]


def started(
    parent: MetaPredictor | None, encoder_config: EncoderConfig, config: OuterLoopConfig, seed: int
) -> MetaLearnerState:
    if parent is None:
        return MetaLearnerState.fresh(SurrogateConfig(encoder_config), config.inner, seed)
    surrogate = copy.deepcopy(parent.surrogate).train().requires_grad_(True)
    return MetaLearnerState.starting_from(surrogate, parent.log_step_sizes)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    parts = load_tasks(args)
    print({part: len(tasks) for part, tasks in parts.items()}, flush=True)
    pools = task_pools(parts["train"])
    config = OuterLoopConfig(
        num_steps=args.steps,
        learning_rate=args.learning_rate,
        feature_dropout=args.feature_dropout,
        inner=InnerLoopConfig(num_steps=args.inner_steps),
    )
    parent = MetaPredictor.load(args.start) if args.start else None
    encoder_config = EncoderConfig(args.width, args.blocks, NUM_CONTEXT)
    if parent is not None:
        encoder_config, seen = EncoderConfig(**parent.manifest["surrogate"]), parent.manifest["trained_on"]
        if forbidden := [name for name in seen if matches(name, kept_out_of(args.leave_out))]:
            sys.exit(
                f"expected a version to start from that has not seen what is left out, got one trained on {forbidden[0]}"
            )
        config = replace(config, inner=parent.inner_config)
    state = started(parent, encoder_config, config, args.seed)
    state.surrogate.to(args.device)
    sampler = EpisodeSampler(pools, EpisodeConfig(args.tasks_per_batch))
    loop = OuterLoop(state, sampler, config, args.seed)
    args.state.mkdir(parents=True, exist_ok=True)
    saved, history_file = args.state / "state.safetensors", args.state / "history.json"
    history = json.loads(history_file.read_text()) if history_file.exists() else {"engines": {}, "seconds": 0.0}
    if saved.exists():
        loop.load_tensors(load_file(saved))
        print(f"going on from step {loop.step}", flush=True)
    until = min(args.until or args.steps, args.steps)
    bar = tqdm(total=until, initial=loop.step, desc="meta-training", mininterval=5, file=sys.stdout)
    recent, first, start, last_saved = [], loop.step, time.time(), time.time()

    def save() -> None:
        nonlocal start, first
        history["engines"][args.engine] = history["engines"].get(args.engine, 0) + loop.step - first
        history["seconds"] += time.time() - start
        start, first = time.time(), loop.step
        save_file(loop.tensors(), saved.with_suffix(".new"))
        saved.with_suffix(".new").replace(saved)
        history_file.write_text(json.dumps(history))

    def on_step(step: int, loss: float) -> bool:
        nonlocal last_saved
        recent.append(loss)
        bar.update(1)
        if step % 50 == 0:
            usable = [one for one in recent[-200:] if math.isfinite(one)]  # the others moved nothing
            bar.set_postfix_str(f"query loss {sum(usable) / max(len(usable), 1):.4f}")
        if time.time() - last_saved > 120:
            save()
            last_saved = time.time()
        return True

    loop.run(until, inner_engine(args.engine), on_step)
    bar.close()
    save()
    manifest = {
        "trained_on": sorted(one.task.name for one in parts["train"]),
        "kept_out": {part: sorted(one.task.name for one in parts[part]) for part in ("validation", "test")},
        "leave_out": args.leave_out,
        "commit": commit(),
        "torch": torch.__version__,
        "seed": args.seed,
        "feature_dropout": args.feature_dropout,
        "outer_steps": loop.step,
        "engines": history["engines"],
        "seconds": round(history["seconds"], 1),
        "device": args.device,
        "parent": parent.version if parent else None,
    }
    meta = finished(state, config.inner, encoder_config, pools, manifest)
    with tqdm(total=1.0, desc="universal mean", bar_format="{l_bar}{bar}", file=sys.stdout) as bar:
        meta = with_universal_mean(meta, pools, args.seed, on_progress=lambda done: bar.update(done - bar.n) and None)
    meta = calibrated(meta, measured(parts["validation"]), sources=measured(parts["train"]))
    if args.leave_out is None:  # what a leave-out training left out is scored by the contest
        metrics = {
            part: summary(score_episodes(meta, measured(parts[part]), (0, 10, 20, 50), num_repeats=2))
            for part in ("validation", "test")
        }
        meta = with_manifest(meta, {"metrics": metrics})
    checkpoint.write(args.output, meta.to_bytes(), meta.manifest)
    print(f"version {meta.version} written to {args.output}", flush=True)


if __name__ == "__main__":
    main()
