from __future__ import annotations

import pytest

from predictor.benchmarks import registry
from predictor.benchmarks.measured_cells import SHIPPED_TASKS, shipped_tasks
from predictor.benchmarks.registry import benchmark, read_all
from predictor.errors import BenchmarkError


def test_an_unknown_table_is_an_error_that_lists_the_known_ones(tmp_path) -> None:
    with pytest.raises(BenchmarkError, match=r"expected one of measured_cells, nb201_accuracy, .* got 'nb301'"):
        read_all(tmp_path, ["nb301"])


def test_without_names_the_tables_that_are_there_are_read(write_table) -> None:
    write_table("nasbench_macro")
    folder = write_table("transnas_micro")

    groups = {task.group for task in read_all(folder)} - {"measured_cells"}

    assert groups == {"nasbench_macro", "transnas_micro"}


def test_proxies_are_read_only_by_name(write_table) -> None:
    write_table("nasbench_macro")
    folder = write_table("nb201_zero_cost_proxies")

    assert "nb201_zero_cost_proxies" not in {task.group for task in read_all(folder)}
    assert {task.group for task in read_all(folder, ["nb201_zero_cost_proxies"])} == {"nb201_zero_cost_proxies"}


def test_a_folder_without_tables_is_an_error_when_nothing_is_shipped_either(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", tmp_path / "empty")

    with pytest.raises(BenchmarkError, match=r"expected published tables in .*, found none"):
        read_all(tmp_path)


def test_a_named_table_that_is_not_shipped_needs_a_folder() -> None:
    with pytest.raises(BenchmarkError, match=r"expected a folder that holds nasbench_macro\.parquet, got none"):
        read_all(None, ["nasbench_macro"])


def test_the_shipped_table_is_read_from_the_package_and_not_from_the_folder(write_table, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(registry, "SHIPPED_FOLDER", write_table("measured_cells"))

    tasks = read_all(None)

    assert {task.group for task in tasks} == {"measured_cells"}


def test_a_task_that_two_tables_hold_is_read_once_from_the_first(write_table) -> None:
    write_table("nb201_hwnasbench")
    folder = write_table("help_nasbench201_latency")

    tasks = {task.task.name: task for task in read_all(folder, ["nb201_hwnasbench", "help_nasbench201_latency"])}

    assert len(tasks) == 27 + 27 - 4
    assert tasks["nasbench201/cifar10/latency_ms/pixel3"].group == "help_nasbench201_latency"
    assert tasks["nasbench201/cifar100/latency_ms/pixel3"].group == "nb201_hwnasbench"


def test_tables_of_one_space_share_their_architectures(write_table) -> None:
    write_table("nb201_accuracy")
    folder = write_table("help_nasbench201_latency")

    tasks = read_all(folder, ["nb201_accuracy", "help_nasbench201_latency"])

    assert tasks[0].architectures[0] is tasks[-1].architectures[0]


def test_progress_is_reported_after_every_table(write_table) -> None:
    write_table("nasbench_macro")
    folder = write_table("transnas_micro")
    seen: list[tuple[str, int, int]] = []

    read_all(folder, ["nasbench_macro", "transnas_micro"], on_progress=lambda *event: seen.append(event))

    assert seen == [("transnas_micro", 1, 2), ("nasbench_macro", 2, 2)]


def test_a_benchmark_is_found_by_its_name() -> None:
    assert benchmark("nasbench_macro").file_name == "nasbench_macro.parquet"


def test_the_tasks_of_the_shipped_table_are_known_without_reading_it() -> None:
    assert [one.task for one in shipped_tasks()] == list(SHIPPED_TASKS)
