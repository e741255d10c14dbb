"""Trains NAS-Bench-201 cells on small real data sets and writes what they reached: the benchmark that Archcast ships.

Each finished training is appended to a JSON-lines journal, so the script can be stopped and started at any moment and
several processes can share the work (`--shard 0/2` and `--shard 1/2`). `--finish` turns the journals into the Parquet
file that `predictor.benchmarks` reads.

    python scripts/measure_cells.py --journal var/measure_cells
    python scripts/measure_cells.py --journal var/measure_cells --latencies      (once more, when the machine is quiet)
    python scripts/measure_cells.py --journal var/measure_cells --finish predictor/benchmarks/data/measured_cells.parquet
"""

from __future__ import annotations

import argparse
import json
import platform
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig
from predictor.evaluate.datasets import IMAGE_DATASETS
from predictor.evaluate.training import TrainingConfig, latency_ms, train_and_measure
from predictor.search_spaces.nasbench201 import NASBench201, edge_operations

LATENCIES, LATENCY_REPEATS = "latencies.json", 21
Training = tuple[str, str, int]  # data set, cell, seed


def chosen_cells(count: int) -> list[str]:
    """Different networks in a random order that is always the same; the one without any path is left out."""
    cells = list(NASBench201().enumerate())
    seen, chosen = set(), []
    random.Random(0).shuffle(cells)
    for cell in cells:
        if cell.edges and cell.hash not in seen:
            seen.add(cell.hash)
            chosen.append(str(cell.genotype))
    return chosen[:count]


def planned(count: int, repeated: int) -> Iterator[Training]:
    """Every cell once on every data set, then two more seeds for the first ones."""
    cells = chosen_cells(count)
    yield from ((dataset, cell, 0) for cell in cells for dataset in IMAGE_DATASETS)
    yield from ((dataset, cell, seed) for dataset in IMAGE_DATASETS for seed in (1, 2) for cell in cells[:repeated])


def journal_rows(journal: Path) -> list[dict[str, object]]:
    """Every finished training, the last one where a training stands twice; a line cut off by a kill is left out."""
    rows = {}
    for path in sorted(journal.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            rows[row["dataset"], row["cell"], row["seed"]] = row
    return list(rows.values())


def measure(journal: Path, trainings: list[Training], shard: str) -> None:
    """Trains what is left and appends each result to this shard's journal."""
    datasets = {name: load() for name, load in IMAGE_DATASETS.items()}
    path = journal / f"{shard.replace('/', 'of')}.jsonl"
    written = path.read_text() if path.exists() else ""
    with path.open("a") as file:
        if written and not written.endswith("\n"):  # cut off by a kill: what follows starts on a line of its own
            file.write("\n")
        for dataset, cell, seed in tqdm(trainings, desc="trainings", mininterval=5):
            measured = train_and_measure(edge_operations(cell), datasets[dataset], seed)
            file.write(json.dumps({"dataset": dataset, "cell": cell, "seed": seed, **asdict(measured)}) + "\n")
            file.flush()


def measure_latencies(journal: Path) -> None:
    """Measures the latency of every cell again, one after the other: during the trainings other work disturbed it."""
    datasets = {name: load() for name, load in IMAGE_DATASETS.items()}
    config = TrainingConfig()
    pairs = sorted({(str(row["dataset"]), str(row["cell"])) for row in journal_rows(journal)})
    with (journal / LATENCIES).open("w") as file:
        for dataset, cell in tqdm(pairs, desc="latencies", mininterval=5):
            images = datasets[dataset]
            network = CellNetwork(edge_operations(cell), CellNetworkConfig(images.image_shape[0], images.num_classes))
            batch = images.test_images[: config.latency_batch_size]
            row = {"dataset": dataset, "cell": cell, "latency_ms": latency_ms(network, batch, LATENCY_REPEATS)}
            file.write(json.dumps(row) + "\n")


def _measured_again(journal: Path) -> dict[tuple[str, str], float]:
    path = journal / LATENCIES
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(row["dataset"], row["cell"]): row["latency_ms"] for row in rows}


def finish(journal: Path, output: Path) -> None:
    """One row per training and fidelity, with how it came about in the file's own metadata."""
    columns: dict[str, list[object]] = {}
    latencies = _measured_again(journal)
    for row in sorted(journal_rows(journal), key=lambda r: (str(r["dataset"]), str(r["cell"]), r["seed"])):  # type: ignore[arg-type,return-value]
        for fidelity, accuracy, seconds in zip(
            row["fidelities"],
            row["accuracy_percent"],
            row["train_seconds"],
            strict=True,  # type: ignore[arg-type]
        ):
            record = {name: row[name] for name in ("dataset", "cell", "seed", "latency_ms", "params", "flops")}
            again = latencies.get((str(row["dataset"]), str(row["cell"])))
            record |= {"latency_ms": row["latency_ms"] if again is None else again}
            record |= {"fidelity_epochs": fidelity, "accuracy_percent": accuracy, "train_seconds": seconds}
            for name, value in record.items():
                columns.setdefault(name, []).append(value)
    types = {"dataset": pa.string(), "cell": pa.string(), "seed": pa.int16(), "fidelity_epochs": pa.int16()}
    types |= dict.fromkeys(("params", "flops"), pa.int64())
    table = pa.table({name: pa.array(values, types.get(name, pa.float32())) for name, values in columns.items()})
    provenance = {
        "command": "python scripts/measure_cells.py",
        "training": asdict(TrainingConfig()),
        "network": {key: value for key, value in asdict(CellNetworkConfig(0, 0)).items() if value},
        "datasets": "load_digits and load_sample_images of scikit-learn, as predictor/evaluate/datasets.py splits them",
        "machine": f"{platform.machine()}, one thread of a shared two-core virtual machine, torch {torch.__version__}",
        "latency": f"median of {LATENCY_REPEATS if latencies else TrainingConfig().latency_repeats} forward passes of 64",
        "caution": "seconds of training were measured beside other work on the same machine",
        "licence": "Apache-2.0",
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"archcast": json.dumps(provenance)}), output, compression="zstd")
    print(f"{table.num_rows} rows written to {output}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1500, help="different cells measured on every data set")
    parser.add_argument("--repeated", type=int, default=300, help="how many of them with three seeds")
    parser.add_argument("--shard", default="0/1", help="which share of the work this process does, as NUMBER/OF")
    parser.add_argument(
        "--latencies", action="store_true", help="measure the latencies of what was trained again and stop"
    )
    parser.add_argument("--finish", type=Path, metavar="PARQUET", help="write the journal's trainings and stop")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.journal.mkdir(parents=True, exist_ok=True)
    if args.finish:
        finish(args.journal, args.finish)
        return
    if args.latencies:
        measure_latencies(args.journal)
        return
    shard, shards = map(int, args.shard.split("/"))
    done = {(row["dataset"], row["cell"], row["seed"]) for row in journal_rows(args.journal)}
    mine = [
        training for number, training in enumerate(planned(args.count, args.repeated)) if number // 2 % shards == shard
    ]
    measure(args.journal, [training for training in mine if training not in done], args.shard)


if __name__ == "__main__":
    main()
