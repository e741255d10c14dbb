"""The metrics that published tables report, named alike in every table. Accuracies are in percent."""

from __future__ import annotations

from predictor.tasks import Metric

ACCURACY = Metric("accuracy", "%", "maximize")
VALIDATION_ACCURACY = Metric("val_accuracy", "%", "maximize")
MEAN_IOU = Metric("mean_iou", "%", "maximize")
AUC = Metric("auc", "%", "maximize")
SSIM = Metric("ssim", "ratio", "maximize")
LOSS_NATS = Metric("loss_nats", "nats", "minimize")
LATENCY = Metric("latency_ms", "ms", "minimize")
ENERGY = Metric("energy_mj", "mJ", "minimize")
TRAINING_ENERGY = Metric("training_energy_kwh", "kWh", "minimize")
TRAIN_TIME = Metric("train_time_s", "s", "minimize")
THROUGHPUT = Metric("throughput", "images/s", "maximize")
