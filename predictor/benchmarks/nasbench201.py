"""Tables of NAS-Bench-201 cells: accuracy, adversarial robustness, hardware cost, zero-cost proxies.

NAS-Bench-201: Dong & Yang, ICLR 2020. Robustness: Jung et al., ICLR 2023. HW-NAS-Bench: Li et al., ICLR 2021.
"""

from __future__ import annotations

from functools import partial

from predictor.benchmarks.column_benchmark import ColumnBenchmark, FidelityColumn, MetricColumn
from predictor.benchmarks.metrics import ACCURACY, ENERGY, LATENCY
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric

DATASETS = ("cifar10", "cifar100", "imagenet16_120")
_SPACE = partial(search_space, "nasbench201")


def _accuracy_column(dataset: str) -> MetricColumn:
    """200 epochs, mean over seeds. NASLib's `*_oneseed` columns are left alone: they are not what their name says."""
    return MetricColumn(
        f"{dataset}_test_acc_pct_200ep",
        dataset,
        ACCURACY,
        fidelities=(
            FidelityColumn("accuracy_12_epochs", f"{dataset}_test_acc_pct_12ep", 12.0),
            FidelityColumn("val_accuracy_12_epochs", f"{dataset}_val_acc_pct_12ep", 12.0),
        ),
        max_fidelity=200.0,
        params_column=f"{dataset}_params_m",
        flops_column=f"{dataset}_flops_m_naslib",
    )


NB201_ACCURACY = ColumnBenchmark(
    "nb201_accuracy",
    "nb201_accuracy.parquet",
    _SPACE,
    tuple(map(_accuracy_column, DATASETS)),
    ("arch_str",),
)

_ATTACKS = {
    "apgd_ce": ("0p1", "0p5", "1", "2", "3", "4", "8"),
    "fgsm": ("0p1", "0p5", "1", "2", "3", "4", "5", "6", "7", "8", "255"),
    "pgd": ("0p1", "0p5", "1", "2", "3", "4", "8"),
}
_LEAST_ROBUST_SPREAD_PERCENT = 1.0


def _robustness_column(attack: str, epsilon: str) -> MetricColumn:
    """Strong attacks leave next to nothing of any network; such a column ranks noise and is no task."""
    return MetricColumn(
        f"cifar10_{attack}_acc_pct_linf_eps{epsilon}_255",
        "cifar10",
        Metric(f"accuracy_under_{attack}_eps{epsilon}", "%", "maximize"),
        least_spread=_LEAST_ROBUST_SPREAD_PERCENT,
    )


NB201_ROBUSTNESS = ColumnBenchmark(
    "nb201_robustness_cifar10",
    "nb201_robustness_cifar10.parquet",
    _SPACE,
    tuple(_robustness_column(attack, epsilon) for attack, epsilons in _ATTACKS.items() for epsilon in epsilons),
    ("arch_str",),
)

_LATENCY_DEVICES = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
_ENERGY_DEVICES = ("edgegpu", "eyeriss", "fpga")
_NOT_MEASURABLE = -1.0

NB201_HARDWARE = ColumnBenchmark(
    "nb201_hwnasbench",
    "nb201_hwnasbench.parquet",
    _SPACE,
    tuple(
        MetricColumn(f"{dataset}_{device}_{metric.name}", dataset, metric, device, missing=_NOT_MEASURABLE)
        for dataset in DATASETS
        for metric, devices in ((LATENCY, _LATENCY_DEVICES), (ENERGY, _ENERGY_DEVICES))
        for device in devices
    ),
    ("arch_str",),
)

_FAILED_PROXY = -1e8
_CIFAR10_PROXIES = (
    "epe_nas", "fisher", "flops", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "params", "plain", "snip",
    "synflow", "zen",
)  # fmt: skip
_PROXIES = {"cifar10": _CIFAR10_PROXIES, "cifar100": ("zen",), "imagenet16_120": _CIFAR10_PROXIES}

NB201_ZERO_COST = ColumnBenchmark(
    "nb201_zero_cost_proxies",
    "nb201_zero_cost_proxies.parquet",
    _SPACE,
    tuple(
        MetricColumn(
            f"{dataset}_zc_{proxy}", dataset, Metric(f"zero_cost_{proxy}", "score", "maximize"), missing=_FAILED_PROXY
        )
        for dataset, proxies in _PROXIES.items()
        for proxy in proxies
    ),
    ("arch_str",),
    measured=False,
)
