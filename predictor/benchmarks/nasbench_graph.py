"""NAS-Bench-Graph: graph neural networks on six data sets (Qin et al., NeurIPS 2022). Latencies are published in seconds."""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, MetricColumn
from predictor.benchmarks.metrics import ACCURACY, LATENCY, VALIDATION_ACCURACY
from predictor.search_spaces.registry import search_space

DATASETS = ("cora", "citeseer", "pubmed", "cs", "photo", "computers")


def _columns(dataset: str) -> tuple[MetricColumn, ...]:
    params = f"{dataset}_params_m"
    return (
        MetricColumn(f"{dataset}_test_perf_pct", dataset, ACCURACY, params_column=params),
        MetricColumn(f"{dataset}_val_perf_pct", dataset, VALIDATION_ACCURACY, params_column=params),
        MetricColumn(f"{dataset}_latency_s", dataset, LATENCY, "gpu", scale=1000.0, params_column=params),
    )


NASBENCH_GRAPH = ColumnBenchmark(
    "nasbench_graph",
    "nasbench_graph.parquet",
    partial(search_space, "nasbench_graph"),
    tuple(column for dataset in DATASETS for column in _columns(dataset)),
    ("link", "ops"),
    to_notation=lambda link, operations: f"{link}|{operations}",
)
