"""NAS-Bench-101 cells on CIFAR-10 at 4, 12, 36 and 108 epochs (Ying et al., ICML 2019)."""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, FidelityColumn, MetricColumn
from predictor.benchmarks.metrics import TRAIN_TIME, VALIDATION_ACCURACY
from predictor.search_spaces.registry import search_space


def cell_notation(adjacency: str, operations: str) -> str:
    """The space's notation from the two JSON columns that tables of this space publish."""
    return f'{{"matrix":{adjacency},"ops":{operations}}}'


NB101 = ColumnBenchmark(
    "nb101_cifar10_30k",
    "nb101_cifar10_30k.parquet",
    partial(search_space, "nasbench101"),
    (
        MetricColumn(
            "cifar10_val_acc_pct_108ep",
            "cifar10",
            VALIDATION_ACCURACY,
            fidelities=tuple(
                FidelityColumn(f"val_accuracy_{epochs}_epochs", f"cifar10_val_acc_pct_{epochs}ep", float(epochs))
                for epochs in (4, 12, 36)
            ),
            max_fidelity=108.0,
            params_column="params_m",
        ),
        MetricColumn("train_time_s_108ep", "cifar10", TRAIN_TIME, "tpu_v2", params_column="params_m"),
    ),
    ("adjacency_json", "ops_json"),
    to_notation=cell_notation,
)
