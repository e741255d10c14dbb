"""Every reader on a tiny table in the published form."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictor.benchmarks.base import ArchitecturePool, BenchmarkTask, Selection
from predictor.benchmarks.registry import benchmarks
from predictor.errors import BenchmarkError

NUM_TASKS = {
    "nb201_accuracy": 3,
    "nb201_robustness_cifar10": 23,
    "nb201_hwnasbench": 27,
    "nb201_zero_cost_proxies": 27,
    "nb201_metad2a_imagenet_subset_tasks": 1,
    "nb101_cifar10_30k": 2,
    "ecnas_nb101_4v5v_energy": 6,
    "transnas_micro": 10,
    "nasbench_macro": 1,
    "nasbench_graph": 18,
    "help_nasbench201_latency": 27,
    "help_fbnet_latency": 27,
    "help_ofa_latency": 12,
    "accel_nasbench": 10,
    "autoformer_imagenet_3k": 4,
    "graphgym_design_space": 3,
    "hat_transformer_latency": 8,
    "nasbench_mr": 8,
    "nasbench_nlp_ptb": 1,
    "measured_cells": 6,
}


def read(name: str, folder: Any) -> dict[str, BenchmarkTask]:
    return {task.task.name: task for task in benchmarks()[name].read(folder)}


def test_every_table_of_the_registry_has_a_tiny_one() -> None:
    assert set(NUM_TASKS) == set(benchmarks())


@pytest.mark.parametrize("name", NUM_TASKS)
def test_a_table_in_its_published_form_becomes_tasks_with_architectures_and_finite_values(name, write_table) -> None:
    tasks = benchmarks()[name].read(write_table(name))

    assert len(tasks) == NUM_TASKS[name]
    assert len({task.task.name for task in tasks}) == len(tasks)
    for task in tasks:
        assert len(task.architectures) == len(task.values) == len(task) > 0
        assert np.isfinite(task.values).all()
        assert task.group == name
        assert task.task.search_space == task.space.name


@pytest.mark.parametrize("name", NUM_TASKS)
def test_a_missing_file_is_named_with_what_was_found_instead(name, tmp_path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")

    with pytest.raises(BenchmarkError, match=rf"expected the file {benchmarks()[name].file_name} in .*other\.parquet"):
        benchmarks()[name].read(tmp_path)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("nb201_accuracy", "cifar100_test_acc_pct_200ep"),
        ("nb201_robustness_cifar10", "arch_str"),
        ("nb201_hwnasbench", "cifar10_fpga_energy_mj"),
        ("nb201_zero_cost_proxies", "cifar10_zc_snip"),
        ("nb201_metad2a_imagenet_subset_tasks", "val_acc_pct"),
        ("nb101_cifar10_30k", "ops_json"),
        ("ecnas_nb101_4v5v_energy", "total_energy_kwh"),
        ("transnas_micro", "autoencoder_val_ssim"),
        ("nasbench_macro", "cifar10_test_acc_pct_std"),
        ("nasbench_graph", "link"),
        ("help_nasbench201_latency", "latency_ms__pixel3"),
        ("help_fbnet_latency", "arch"),
        ("help_ofa_latency", "latency_ms__v100_64"),
        ("accel_nasbench", "tpuv2_throughput_img_s"),
        ("autoformer_imagenet_3k", "space"),
        ("graphgym_design_space", "l_mp"),
        ("hat_transformer_latency", "decoder_layer_num"),
        ("nasbench_mr", "arch_code"),
        ("nasbench_nlp_ptb", "recipe_json"),
        ("measured_cells", "fidelity_epochs"),
    ],
)
def test_a_missing_column_is_named_with_the_columns_that_are_there(name, column, write_table) -> None:
    folder = write_table(name, **{column: None})

    with pytest.raises(BenchmarkError, match=f"expected a column '{column}', found the columns "):
        benchmarks()[name].read(folder)


def test_text_where_numbers_belong_is_an_error(write_table) -> None:
    folder = write_table("nasbench_macro", cifar10_test_acc_pct_mean=["90", "93"])

    with pytest.raises(BenchmarkError, match="expected numbers in column 'cifar10_test_acc_pct_mean', found string"):
        benchmarks()["nasbench_macro"].read(folder)


def test_a_file_that_is_no_parquet_is_an_error(tmp_path) -> None:
    (tmp_path / "nasbench_macro.parquet").write_text("arch,accuracy\n")

    with pytest.raises(BenchmarkError, match=r"expected nasbench_macro\.parquet to be a Parquet file"):
        benchmarks()["nasbench_macro"].read(tmp_path)


def test_notation_that_the_space_cannot_read_names_table_and_row(write_table) -> None:
    [task] = benchmarks()["nasbench_macro"].read(write_table("nasbench_macro", arch=["02012100", "9"]))

    with pytest.raises(BenchmarkError, match=r"nasbench_macro: expected an architecture of nasbench_macro in row 1"):
        _ = task.architectures


def test_rows_without_a_value_are_left_out(write_table) -> None:
    folder = write_table("nasbench_macro", cifar10_test_acc_pct_mean=[None, 93.0])

    [task] = benchmarks()["nasbench_macro"].read(folder)

    assert task.notations == ("22222222",)
    assert task.rows.tolist() == [1]
    assert task.noise_std is not None
    assert task.noise_std.tolist() == [0.1]


def test_a_column_without_any_value_is_an_error(write_table) -> None:
    folder = write_table("nasbench_macro", cifar10_test_acc_pct_mean=[float("nan"), float("nan")])

    with pytest.raises(BenchmarkError, match="expected measured values of nasbench_macro/cifar10/accuracy, found none"):
        benchmarks()["nasbench_macro"].read(folder)


def test_latencies_that_were_not_measurable_are_left_out(write_table) -> None:
    tasks = read("nb201_hwnasbench", write_table("nb201_hwnasbench"))

    assert tasks["nasbench201/cifar10/latency_ms/edgetpu"].values.tolist() == [0.9, 0.2]
    assert tasks["nasbench201/cifar10/latency_ms/fpga"].values.tolist() == [9.0, 3.0, 1.0]


def test_proxies_that_failed_are_left_out(write_table) -> None:
    tasks = read("nb201_zero_cost_proxies", write_table("nb201_zero_cost_proxies"))

    assert tasks["nasbench201/cifar100/zero_cost_zen"].values.tolist() == [9.0, 8.0]
    assert tasks["nasbench201/cifar10/zero_cost_snip"].values.tolist() == [2.0]


def test_attacks_that_leave_nothing_of_any_network_are_no_tasks(write_table) -> None:
    tasks = read("nb201_robustness_cifar10", write_table("nb201_robustness_cifar10"))

    assert "nasbench201/cifar10/accuracy_under_pgd_eps4" in tasks
    assert "nasbench201/cifar10/accuracy_under_pgd_eps8" not in tasks


def test_fidelities_params_and_flops_come_with_their_rows(write_table) -> None:
    task = read("nb201_accuracy", write_table("nb201_accuracy"))["nasbench201/cifar10/accuracy"]

    assert task.fidelities["accuracy_12_epochs"].tolist() == [85.0, 70.0, 40.0]
    assert np.isnan(task.fidelities["val_accuracy_12_epochs"][2])
    assert task.fidelity_levels == {"accuracy_12_epochs": 12.0, "val_accuracy_12_epochs": 12.0}
    assert task.max_fidelity == 200.0
    assert task.params is not None
    assert task.flops is not None
    assert task.params.tolist() == pytest.approx([1.5e6, 0.3e6, 0.07e6])
    assert task.flops.tolist() == pytest.approx([200e6, 40e6, 8e6])
    assert all(architecture.global_attributes == () for architecture in task.architectures)


def test_subsets_with_few_architectures_are_no_tasks(write_table) -> None:
    tasks = read("nb201_metad2a_imagenet_subset_tasks", write_table("nb201_metad2a_imagenet_subset_tasks"))

    assert list(tasks) == ["nasbench201/imagenet32_subset_7/val_accuracy"]


def test_repeated_trainings_become_one_value_with_its_spread(write_table) -> None:
    tasks = read("ecnas_nb101_4v5v_energy", write_table("ecnas_nb101_4v5v_energy"))
    early = tasks["nasbench101/cifar10/accuracy_at_4_epochs"]

    assert early.values.tolist() == [52.0, 40.0]
    assert early.noise_std is not None
    assert early.noise_std[0] == pytest.approx(2.0)  # of 50, 52, 54
    assert np.isnan(early.noise_std[1])
    assert tasks["nasbench101/cifar10/training_energy_kwh_at_108_epochs/quadro_rtx_6000"].values.tolist() == [0.5]


def test_seconds_become_milliseconds_and_accuracies_stay_in_percent(write_table) -> None:
    tasks = read("nasbench_graph", write_table("nasbench_graph"))

    assert tasks["nasbench_graph/cora/latency_ms/gpu"].values.tolist() == pytest.approx([4.0, 6.0])
    assert tasks["nasbench_graph/cora/accuracy"].values.tolist() == [78.0, 80.0]


def test_sub_spaces_with_supernets_of_their_own_are_tasks_of_their_own(write_table) -> None:
    tasks = read("autoformer_imagenet_3k", write_table("autoformer_imagenet_3k"))

    assert {name: len(task) for name, task in tasks.items()} == {
        "autoformer/imagenet/supernet_accuracy_tiny": 2,
        "autoformer/imagenet/supernet_accuracy_small": 1,
        "autoformer/imagenet/supernet_accuracy_base": 1,
        "autoformer/imagenet_c_gaussian1/supernet_accuracy_tiny": 2,
    }


def test_fractions_become_percent(write_table) -> None:
    tasks = read("graphgym_design_space", write_table("graphgym_design_space"))
    accuracy = tasks["graphgym_round1/cora_node/accuracy"]

    assert accuracy.values[:2].tolist() == pytest.approx([50.0, 51.0])
    assert accuracy.noise_std is not None
    assert accuracy.noise_std[0] == pytest.approx(1.0)
    assert tasks["graphgym_round2/tu_bzr_graph/auc"].values[0] == pytest.approx(90.0)


def test_spreads_of_independent_parts_add_in_quadrature(write_table) -> None:
    tasks = read("hat_transformer_latency", write_table("hat_transformer_latency"))
    task = tasks["hat_transformer/wmt14ende/latency_ms/xeon"]

    assert task.values.tolist() == [50.0, 200.0]
    assert task.noise_std is not None
    assert task.noise_std.tolist() == pytest.approx([0.5, 5.0])  # 3-4-5 triangles


def test_a_recipe_becomes_the_graph_that_it_describes(write_table) -> None:
    [task] = benchmarks()["nasbench_nlp_ptb"].read(write_table("nasbench_nlp_ptb"))
    [architecture] = task.architectures
    kinds = sorted(operation.kind for operation in architecture.operations)

    assert task.values.tolist() == [4.6]
    # x, h_prev_0, linear, sigmoid, 1 - gate, two products, their sum, h_new_0; the unused tanh is gone
    assert kinds == ["activation", "activation", "add", "input", "input", "linear", "multiply", "multiply", "output"]
    assert "tanh" not in task.notations[0]


def test_a_recipe_with_an_unknown_operation_is_an_error(write_table) -> None:
    recipe = json.dumps({"h_new_0": {"op": "softmax", "input": ["x"]}})
    folder = write_table("nasbench_nlp_ptb", recipe_json=[recipe, None, None])

    with pytest.raises(BenchmarkError, match=r"expected h_new_0 to have an operation out of linear, .*softmax"):
        benchmarks()["nasbench_nlp_ptb"].read(folder)


def test_a_multi_resolution_code_becomes_branches_that_add_up_their_neighbours(write_table) -> None:
    task = benchmarks()["nasbench_mr"].read(write_table("nasbench_mr"))[0]
    first, second = task.architectures
    branches = [operation for operation in first.operations if operation.get("depth") is not None]

    assert len(branches) == 1 + 2 + 3 + 4
    assert [operation.get("repeats") for operation in branches if operation.get("channels") == 48] == [2]
    assert (
        sum(operation.kind == "add" for operation in first.operations) == 2 + 3
    )  # branches with two neighbours or more
    assert first.hash != second.hash


@pytest.mark.parametrize(
    "code", ["128_128", "16_32-1_2_2_48-2_2_1_1_16_32-1_3_1_1_1_16_16_16-1_4_1_2_3_4_16_16_16_16-64"]
)
def test_a_malformed_code_is_an_error(code, write_table) -> None:
    with pytest.raises(BenchmarkError, match="nasbench_mr: expected "):
        benchmarks()["nasbench_mr"].read(write_table("nasbench_mr", arch_code=[code, code]))


def test_seeds_are_averaged_and_fewer_epochs_are_fidelities(write_table) -> None:
    tasks = read("measured_cells", write_table("measured_cells"))
    accuracy = tasks["nasbench201/digits/accuracy"]
    latency = tasks["nasbench201/digits/latency_ms/cpu"]
    by_cell = dict(zip(accuracy.notations, accuracy.values.tolist(), strict=True))

    assert sorted(by_cell.values()) == [10.0, 19.0, 29.0]  # 9 + mean of seeds 0, 1, 2; 10 + 9; 20 + 9
    assert accuracy.noise_std is not None
    assert np.nanmax(accuracy.noise_std) == pytest.approx(1.0)
    assert np.isnan(accuracy.noise_std).sum() == 2
    assert sorted(accuracy.fidelities["accuracy_1_epochs"].tolist()) == [2.0, 11.0, 21.0]
    assert accuracy.fidelity_levels == {"accuracy_1_epochs": 1.0, "accuracy_3_epochs": 3.0}
    assert accuracy.max_fidelity == 9.0
    assert latency.task.metric.direction == "minimize"


def test_architectures_are_parsed_once_for_all_tasks_of_a_table(write_table) -> None:
    tasks = benchmarks()["nb201_accuracy"].read(write_table("nb201_accuracy"), pool=ArchitecturePool())

    assert all(a is b for a, b in zip(tasks[0].architectures, tasks[1].architectures, strict=True))


def test_a_selection_keeps_so_many_rows_and_depends_on_its_seed_alone(write_table) -> None:
    folder = write_table("graphgym_design_space")

    first, again, other = (
        benchmarks()["graphgym_design_space"].read(folder, Selection(10, seed))[0] for seed in (0, 0, 1)
    )

    assert len(first) == 10
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()


def test_a_selection_of_nothing_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="expected at least 1 architecture per task, got 0"):
        Selection(0)
