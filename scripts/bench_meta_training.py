"""Speed of the two meta-training engines on the same episodes, and how far their gradients are apart.

python scripts/bench_meta_training.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from predictor.benchmarks.pools import task_pools
from predictor.benchmarks.registry import read_all
from predictor.meta.episodes import draw
from predictor.meta.outer_loop import MetaLearnerState, OuterLoopConfig, batch_loss, inner_engine
from predictor.surrogate.surrogate import SurrogateConfig


def gradients(state: MetaLearnerState) -> torch.Tensor:
    """All outer gradients in one vector."""
    return torch.cat([value.grad.flatten() for _, value in state.named() if value.grad is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8, help="episodes per meta-batch")
    parser.add_argument("--support", type=int, default=16)
    parser.add_argument("--query", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pools = task_pools(read_all(None, max_architectures_per_task=200))
    config = OuterLoopConfig()
    state = MetaLearnerState.fresh(SurrogateConfig(), config.inner, seed=0)
    batches = [
        draw([pools[n % len(pools)] for n in range(args.tasks)], args.support, args.query, np.random.default_rng(seed))
        for seed in range(args.repeats + 1)
    ]
    seconds: dict[str, list[float]] = {"batched": [], "learn2learn": []}
    found: dict[str, torch.Tensor] = {}
    for number, batch in enumerate(batches):
        for name, spent in seconds.items():  # in turn, so that a drift of the machine's speed hits both
            state.surrogate.zero_grad()
            state.log_step_sizes.grad = None
            start = time.perf_counter()
            loss, _ = batch_loss(state.surrogate, state.log_step_sizes, batch, config, inner_engine(name))  # type: ignore[arg-type]
            loss.backward()
            if number:  # the first one pays for imports
                spent.append(time.perf_counter() - start)
            found[name] = gradients(state).clone()
    apart = float((found["batched"] - found["learn2learn"]).norm() / found["learn2learn"].norm())
    print(f"{args.tasks} episodes of {args.support} + {args.query} cells, {args.threads} thread(s)\n")
    print("| engine | episodes per second | min–max |\n|---|---|---|")
    for name, spent in seconds.items():
        rates = sorted(args.tasks / one for one in spent)
        print(f"| {name} | {rates[len(rates) // 2]:.1f} | {rates[0]:.1f}–{rates[-1]:.1f} |")
    ratio = np.median(seconds["learn2learn"]) / np.median(seconds["batched"])
    print(f"\nbatched is {ratio:.2f} times as fast; relative difference of the outer gradients (float32): {apart:.1e}")


if __name__ == "__main__":
    main()
