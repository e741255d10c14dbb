"""HELP's latencies on many devices, in three spaces (Lee et al., "HELP: Hardware-Adaptive Efficient Latency Prediction",
NeurIPS 2021).

Device names are HELP's and end in the batch size where there are several. Phone latencies are whole milliseconds, with many
ties; 341 cells have no path from input to output, and took next to no time on some devices. Four of the NAS-Bench-201
columns (eyeriss, fpga, pixel3, raspi4) are HW-NAS-Bench's own CIFAR-10 columns.
"""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, MetricColumn
from predictor.benchmarks.metrics import LATENCY
from predictor.search_spaces.registry import search_space

_SINGLE_DEVICES = (
    "essential_ph_1", "eyeriss", "fpga", "gold_6226", "gold_6240", "pixel2", "pixel3", "raspi4", "samsung_a50",
    "samsung_s7", "silver_4114", "silver_4210r",
)  # fmt: skip
_GPUS = ("1080ti", "2080ti", "titan_rtx", "titanx", "titanxp")


def _devices(*batch_sizes: int) -> tuple[str, ...]:
    return (*(f"{gpu}_{size}" for gpu in _GPUS for size in batch_sizes), *_SINGLE_DEVICES)


NASBENCH201_DEVICES = _devices(1, 32, 256)
FBNET_DEVICES = _devices(1, 32, 64)
OFA_DEVICES = tuple(f"{gpu}_{size}" for gpu in ("2080ti", "titan_rtx", "titan_xp", "v100") for size in (1, 32, 64))


def _columns(devices: tuple[str, ...], dataset: str, flops_column: str | None = None) -> tuple[MetricColumn, ...]:
    return tuple(
        MetricColumn(
            f"latency_ms__{device}", dataset, LATENCY, device.replace("titan_xp", "titanxp"), flops_column=flops_column
        )
        for device in devices
    )


HELP_NASBENCH201 = ColumnBenchmark(
    "help_nasbench201_latency",
    "help_nasbench201_latency.parquet",
    partial(search_space, "nasbench201"),
    _columns(NASBENCH201_DEVICES, "cifar10", "flops_M_nb201_cifar10"),
    ("arch",),
)

HELP_FBNET = ColumnBenchmark(
    "help_fbnet_latency",
    "help_fbnet_latency.parquet",
    partial(search_space, "fbnet"),
    _columns(FBNET_DEVICES, "imagenet"),
    ("arch",),
)

HELP_OFA = ColumnBenchmark(
    "help_ofa_latency",
    "help_ofa_latency.parquet",
    partial(search_space, "ofa_mobilenetv3"),
    _columns(OFA_DEVICES, "imagenet"),
    ("arch",),
)
