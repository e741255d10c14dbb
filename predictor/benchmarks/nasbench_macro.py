"""NAS-Bench-Macro: chains of eight layers on CIFAR-10, three seeds (Su et al., CVPR 2021)."""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, MetricColumn
from predictor.benchmarks.metrics import ACCURACY
from predictor.search_spaces.registry import search_space

NASBENCH_MACRO = ColumnBenchmark(
    "nasbench_macro",
    "nasbench_macro.parquet",
    partial(search_space, "nasbench_macro"),
    (
        MetricColumn(
            "cifar10_test_acc_pct_mean",
            "cifar10",
            ACCURACY,
            noise_columns=("cifar10_test_acc_pct_std",),
            params_column="params_m",
            flops_column="flops_m",
        ),
    ),
    ("arch",),
)
