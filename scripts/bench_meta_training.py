"""Speed of the two meta-training engines on the same episodes, by device and number of episodes at once.

    python scripts/bench_meta_training.py                              CPU, and CUDA where there is a device
    python scripts/bench_meta_training.py --devices cpu --threads 2 --tasks 8 64

Tells how far the engines' outer gradients are apart, and what share they use of what the device does in one large product of matrices
in the same run (float32). Operations are those of matrix products, forward and backward, as PyTorch counts them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from predictor.benchmarks.pools import task_pools
from predictor.benchmarks.registry import read_all
from predictor.contest.report import table
from predictor.meta.episodes import EpisodeBatch, TaskPool, draw
from predictor.meta.outer_loop import Engine, MetaLearnerState, OuterLoopConfig, batch_loss, inner_engine
from predictor.surrogate.surrogate import SurrogateConfig

ENGINES: tuple[Engine, ...] = ("batched", "learn2learn")
_PRODUCT = {"cpu": 1_024, "cuda": 8_192}  # rows of the matrices that tell what a device can do
_PRODUCTS = 10


@dataclass(frozen=True)
class Speed:
    """One engine on one device."""

    device: str
    engine: Engine
    tasks: int
    rates: tuple[float, ...]  # episodes per second, of every repeat
    operations: float  # per episode

    @property
    def rate(self) -> float:
        """The median."""
        return float(np.median(self.rates))


def done(device: str) -> float:
    """The time at which everything that was asked of the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def gradients(state: MetaLearnerState) -> torch.Tensor:
    """All outer gradients in one vector."""
    found = [value.grad.flatten() for _, value in state.named() if value.grad is not None]
    return torch.cat([one.cpu() for one in found])


def limit(device: str) -> float:
    """Operations per second of one large product of matrices."""
    size = _PRODUCT[torch.device(device).type]
    matrix = torch.randn(size, size, device=device)
    best = np.inf
    for _ in range(_PRODUCTS):
        start = done(device)
        matrix @ matrix
        best = min(best, done(device) - start)
    return float(2 * size**3 / best)


def descend(state: MetaLearnerState, batch: EpisodeBatch, config: OuterLoopConfig, engine: Engine) -> None:
    """One outer step's gradients."""
    state.surrogate.zero_grad()
    state.log_step_sizes.grad = None
    loss, _ = batch_loss(state.surrogate, state.log_step_sizes, batch, config, inner_engine(engine))
    loss.backward()


def measured(
    pools: Sequence[TaskPool], device: str, tasks: int, args: argparse.Namespace, bar: tqdm[None]
) -> tuple[list[Speed], float]:
    """Both engines on the same episodes in turn, so that a drift of the machine's speed hits both; and how far their outer
    gradients are apart, as a share."""
    config = OuterLoopConfig()
    state = MetaLearnerState.fresh(SurrogateConfig(), config.inner, seed=0)
    state.surrogate.to(device)
    spent: dict[Engine, list[float]] = {engine: [] for engine in ENGINES}
    found: dict[Engine, torch.Tensor] = {}
    operations: dict[Engine, float] = {}
    for number in range(args.repeats + 1):
        drawn = [pools[place % len(pools)] for place in range(tasks)]
        batch = draw(drawn, args.support, args.query, np.random.default_rng(number)).to(torch.device(device))
        for engine in ENGINES:
            bar.set_description(f"{device}, {engine}, {tasks} episodes")
            if number == 0:  # pays for imports, and is counted instead of timed
                with FlopCounterMode(display=False) as counter:
                    descend(state, batch, config, engine)
                operations[engine] = counter.get_total_flops() / tasks
            else:
                start = done(device)
                descend(state, batch, config, engine)
                spent[engine].append(done(device) - start)
            found[engine] = gradients(state).clone()
            bar.update()
    apart = float((found["batched"] - found["learn2learn"]).norm() / found["learn2learn"].norm())
    speeds = [
        Speed(device, engine, tasks, tuple(tasks / one for one in spent[engine]), operations[engine])
        for engine in ENGINES
    ]
    return speeds, apart


def report(speeds: Sequence[Speed], limits: dict[str, float]) -> str:
    """One row for each; the first one is what the others are told as multiples of."""
    rows = [
        [
            one.device,
            one.engine,
            str(one.tasks),
            f"{one.rate:.1f} ({min(one.rates):.1f}–{max(one.rates):.1f})",
            f"{one.rate / speeds[0].rate:.2f}",
            f"{one.rate * one.operations / 1e9:,.0f}",
            f"{one.rate * one.operations / limits[one.device]:.3f}",
        ]
        for one in speeds
    ]
    header = ["device", "engine", "episodes at once", "episodes per second", "of the first row", "GFLOP/s"]
    return table([*header, "of one large product"], rows)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="+", help="default: cpu, and cuda where there is a device")
    parser.add_argument("--tasks", type=int, nargs="+", default=[8], help="episodes per meta-batch")
    parser.add_argument("--support", type=int, default=16)
    parser.add_argument("--query", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    args = parser.parse_args(given)
    args.devices = args.devices or ["cpu", *["cuda"] * torch.cuda.is_available()]
    for name in args.devices:
        if name.split(":")[0] not in _PRODUCT or (name.startswith("cuda") and not torch.cuda.is_available()):
            parser.error(f"--devices: expected cpu or, where there is a GPU, cuda or cuda:N, got {name!r}")
    return args


def main(given: Sequence[str] | None = None) -> None:
    args = arguments(given)
    torch.set_num_threads(args.threads)
    pools = task_pools(read_all(None, max_architectures_per_task=200))
    limits = {device: limit(device) for device in args.devices}
    speeds, apart = [], 0.0
    total = len(args.devices) * len(args.tasks) * len(ENGINES) * (args.repeats + 1)
    with tqdm(total=total, unit=" steps", disable=None, file=sys.stderr) as bar:
        for device in args.devices:
            for tasks in args.tasks:
                found, far = measured(pools, device, tasks, args, bar)
                speeds += found
                apart = max(apart, far)
    print(f"episodes of {args.support} + {args.query} cells, {args.threads} thread(s)\n")
    print(report(speeds, limits))
    print(f"\nrelative difference of the outer gradients between engines (float32): {apart:.1e} at most")


if __name__ == "__main__":
    main()
