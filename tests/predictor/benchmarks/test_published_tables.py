"""Every reader on the real published tables, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from predictor.benchmarks.base import ArchitecturePool, BenchmarkTask
from predictor.benchmarks.registry import benchmarks, read_all

NUM_TASKS_AND_ROWS = {  # tasks, rows of the smallest and of the largest
    "nb201_accuracy": (3, 15_625, 15_625),
    "nb201_robustness_cifar10": (20, 15_625, 15_625),
    "nb201_hwnasbench": (27, 10_926, 15_625),
    "nb201_metad2a_imagenet_subset_tasks": (16, 5, 6),
    "nb201_zero_cost_proxies": (27, 9_444, 15_284),
    "nb101_cifar10_30k": (2, 30_001, 30_001),
    "ecnas_nb101_4v5v_energy": (12, 91, 2_532),
    "transnas_micro": (10, 4_096, 4_096),
    "nasbench_macro": (1, 6_561, 6_561),
    "nasbench_graph": (18, 26_206, 26_206),
    "help_nasbench201_latency": (27, 15_625, 15_625),
    "help_fbnet_latency": (27, 5_000, 5_000),
    "help_ofa_latency": (12, 5_000, 5_000),
    "accel_nasbench": (10, 5_094, 5_138),
    "autoformer_imagenet_3k": (4, 1_001, 1_001),
    "graphgym_design_space": (96, 77, 139),
    "hat_transformer_latency": (8, 2_000, 2_000),
    "nasbench_mr": (8, 2_507, 2_507),
    "nasbench_nlp_ptb": (1, 312, 312),
}


@pytest.fixture(scope="module")
def sampled(published_folder: Path) -> dict[str, BenchmarkTask]:
    """Every task of measurements, with 100 architectures each."""
    return {task.task.name: task for task in read_all(published_folder, max_architectures_per_task=100)}


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


@pytest.fixture(scope="module")
def pool() -> ArchitecturePool:
    """Shared, so that NAS-Bench-201's cells are parsed once for its six tables."""
    return ArchitecturePool()


@pytest.mark.parametrize("name", NUM_TASKS_AND_ROWS)
def test_a_published_table_gives_its_known_tasks_and_rows_and_all_architectures_parse(
    name, published_folder, pool
) -> None:
    tasks = benchmarks()[name].read(published_folder, pool=pool)

    counts = [len(task.architectures) for task in tasks]
    assert (len(tasks), min(counts), max(counts)) == NUM_TASKS_AND_ROWS[name]


def test_task_names_are_unique_and_short_enough_to_be_stored(sampled) -> None:
    assert all(len(name) <= 128 for name in sampled)
    assert len({name.replace("/", ".") for name in sampled}) == len(sampled)


def test_the_best_nasbench201_cells_have_their_known_accuracies(published_folder) -> None:
    best = {task.task.dataset: task.values.max() for task in benchmarks()["nb201_accuracy"].read(published_folder)}

    assert best["cifar10"] == pytest.approx(94.37, abs=0.005)
    assert best["cifar100"] == pytest.approx(73.51, abs=0.005)
    assert best["imagenet16_120"] == pytest.approx(47.31, abs=0.005)


def test_larger_nasbench201_cells_are_more_accurate_and_12_epochs_foretell_200(sampled) -> None:
    task = sampled["nasbench201/cifar100/accuracy"]

    assert task.params is not None
    assert rank_correlation(task.params, task.values) > 0.4
    assert rank_correlation(task.fidelities["accuracy_12_epochs"], task.values) > 0.6


def test_accuracies_are_maximised_in_percent_and_costs_are_minimised(sampled) -> None:
    for task in sampled.values():
        metric = task.task.metric
        if metric.family == "accuracy" and metric.unit == "%":
            assert metric.direction == "maximize"
            assert 0.0 <= task.values.min() <= task.values.max() <= 100.0
            assert task.values.max() > 1.0
        if metric.family in ("latency", "energy", "training_time", "loss"):
            assert metric.direction == "minimize"
            assert task.values.min() > 0.0


def test_latencies_and_energies_name_their_device(sampled) -> None:
    assert all(task.task.device for task in sampled.values() if task.task.metric.family in ("latency", "energy"))


def test_throughput_falls_where_latency_rises(sampled) -> None:
    throughput = sampled["mnasnet/imagenet/throughput/zcu102"]
    latency = sampled["mnasnet/imagenet/latency_ms/zcu102"]

    assert throughput.rows.tolist() == latency.rows.tolist()
    assert throughput.task.metric.direction == "maximize"
    assert rank_correlation(throughput.values, latency.values) < -0.5


def test_operations_cost_time_on_every_device_of_help(sampled) -> None:
    tasks = [task for task in sampled.values() if task.group == "help_nasbench201_latency"]

    for task in tasks:
        assert task.flops is not None
        assert rank_correlation(task.flops, task.values) > 0.2, task.task.name


def test_help_republished_the_cifar10_columns_of_hwnasbench(published_folder) -> None:
    by_name = [
        {
            task.task.name: dict(zip(task.notations, task.values.tolist(), strict=True))
            for task in benchmarks()[name].read(published_folder)
        }
        for name in ("help_nasbench201_latency", "nb201_hwnasbench")
    ]
    shared = set(by_name[0]) & set(by_name[1])

    assert {name.rpartition("/")[2] for name in shared} == {"eyeriss", "fpga", "pixel3", "raspi4"}
    for name in shared:
        assert by_name[0][name] == pytest.approx(by_name[1][name], abs=1e-4)


def test_every_reader_shares_one_architecture_between_its_tasks(sampled) -> None:
    cifar10, cifar100 = (sampled[f"nasbench201/{dataset}/accuracy"] for dataset in ("cifar10", "cifar100"))

    assert all(a is b for a, b in zip(cifar10.architectures, cifar100.architectures, strict=True))
