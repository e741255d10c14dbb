"""Accel-NASBench: the MnasNet space on ImageNet and on accelerators (Ahmad et al., DAC 2024)."""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, MetricColumn
from predictor.benchmarks.metrics import LATENCY, THROUGHPUT, TRAIN_TIME, VALIDATION_ACCURACY
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric

_THROUGHPUT_DEVICES = ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")
_LATENCY_DEVICES = ("zcu102", "vck190")


def _column(column: str, metric: Metric, device: str | None = None) -> MetricColumn:
    return MetricColumn(column, "imagenet", metric, device, params_column="params_m", flops_column="macs_m")


ACCEL_NASBENCH = ColumnBenchmark(
    "accel_nasbench",
    "accel_nasbench.parquet",
    partial(search_space, "mnasnet"),
    (
        _column("imagenet_val_top1_pct", VALIDATION_ACCURACY),
        _column("train_time_s", TRAIN_TIME),
        *(_column(f"{device}_throughput_img_s", THROUGHPUT, device) for device in _THROUGHPUT_DEVICES),
        *(_column(f"{device}_latency_ms", LATENCY, device) for device in _LATENCY_DEVICES),
    ),
    ("arch_str",),
)
