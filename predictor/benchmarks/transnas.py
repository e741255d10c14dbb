"""TransNAS-Bench-101's micro space on five Taskonomy tasks (Duan et al., CVPR 2021).

Scales differ: four tasks are accuracies in percent, the autoencoder is a structural similarity between 0 and 1.
"""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, MetricColumn
from predictor.benchmarks.metrics import LATENCY, SSIM, VALIDATION_ACCURACY
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric

_QUALITY = (
    ("class_scene", "class_scene_val_top1_pct", VALIDATION_ACCURACY),
    ("class_object", "class_object_val_top1_pct", VALIDATION_ACCURACY),
    ("jigsaw", "jigsaw_val_top1_pct", VALIDATION_ACCURACY),
    ("segmentsemantic", "segmentsemantic_val_pixel_acc_pct", Metric("pixel_accuracy", "%", "maximize")),
    ("autoencoder", "autoencoder_val_ssim", SSIM),
)


def _column(dataset: str, column: str, metric: Metric, device: str | None = None) -> MetricColumn:
    return MetricColumn(
        column,
        f"taskonomy_{dataset}",
        metric,
        device,
        params_column=f"{dataset}_params_m",
        flops_column=f"{dataset}_flops_m",
    )


TRANSNAS_MICRO = ColumnBenchmark(
    "transnas_micro",
    "transnas_micro.parquet",
    partial(search_space, "transnas_micro"),
    (
        *(_column(*quality) for quality in _QUALITY),
        *(_column(dataset, f"{dataset}_gpu_inference_ms", LATENCY, "gpu") for dataset, _, _ in _QUALITY),
    ),
    ("arch_str",),
)
