"""Trains NAS-Bench-201 cells on small real data sets and writes what they reached: the benchmark that Archcast ships.

Each finished training is appended to a JSON-lines journal, so the script can be stopped and started at any moment and
several processes can share the work (`--shard 0/2` and `--shard 1/2`). `--finish` turns the journals into the Parquet
file under `predictor/benchmarks/data`.

    python scripts/measure_cells.py --journal var/measure_cells
    python scripts/measure_cells.py --journal var/measure_cells --finish
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm

from predictor.evaluate.datasets import IMAGE_DATASETS
from predictor.evaluate.training import TrainingConfig, train_and_measure

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def network_key(ops: tuple[str, ...]) -> str:
    nodes = ["x", "", "", ""]
    pairs = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    for target in (1, 2, 3):
        parts = [f"({nodes[s]}){op}" for (s, t), op in zip(pairs, ops) if t == target and op != "none" and nodes[s]]
        nodes[target] = "+".join(sorted(parts))
    return nodes[3]


def to_string(ops: tuple[str, ...]) -> str:
    a, b, c, d, e, f = ops
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def choose_cells(count: int) -> list[tuple[str, ...]]:
    every = list(itertools.product(OPERATIONS, repeat=6))
    random.Random(0).shuffle(every)
    seen, chosen = set(), []
    for ops in every:
        key = network_key(ops)
        if key and key not in seen:
            seen.add(key)
            chosen.append(ops)
    return chosen[:count]


def work(count: int, repeated: int) -> Iterator[tuple[str, tuple[str, ...], int]]:
    cells = choose_cells(count)
    for index, ops in enumerate(cells):
        for dataset in IMAGE_DATASETS:
            yield dataset, ops, 0
    for seed in (1, 2):
        for ops in cells[:repeated]:
            for dataset in IMAGE_DATASETS:
                yield dataset, ops, seed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--repeated", type=int, default=320)
    parser.add_argument("--shard", default="0/1")
    args = parser.parse_args()
    torch.set_num_threads(1)
    shard, shards = map(int, args.shard.split("/"))
    args.journal.mkdir(parents=True, exist_ok=True)
    done = set()
    for path in args.journal.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            done.add((row["dataset"], row["cell"], row["seed"]))
    todo = [w for i, w in enumerate(work(args.count, args.repeated)) if i // 2 % shards == shard]
    todo = [w for w in todo if (w[0], to_string(w[1]), w[2]) not in done]
    datasets = {name: load() for name, load in IMAGE_DATASETS.items()}
    config = TrainingConfig()
    with (args.journal / f"{shard}of{shards}.jsonl").open("a") as journal:
        for dataset, ops, seed in tqdm(todo, mininterval=10):
            m = train_and_measure(ops, datasets[dataset], seed, config)
            row = {"dataset": dataset, "cell": to_string(ops), "seed": seed, "fidelities": m.fidelities,
                   "accuracy_percent": m.accuracy_percent, "train_seconds": m.train_seconds, "latency_ms": m.latency_ms,
                   "params": m.params, "flops": m.flops}
            journal.write(json.dumps(row) + "\n")
            journal.flush()


if __name__ == "__main__":
    main()
