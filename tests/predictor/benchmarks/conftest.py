"""Tiny tables in the published form (invented values), one writer a table, and the folder of the real ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictor.benchmarks.help import FBNET_DEVICES, NASBENCH201_DEVICES, OFA_DEVICES
from predictor.benchmarks.registry import benchmarks

Columns = dict[str, list[Any]]

CELLS = [
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
]
NB201_DATASETS = ("cifar10", "cifar100", "imagenet16_120")
ATTACKS = {
    "apgd_ce": ["0p1", "0p5", "1", "2", "3", "4", "8"],
    "fgsm": ["0p1", "0p5", "1", "2", "3", "4", "5", "6", "7", "8", "255"],
    "pgd": ["0p1", "0p5", "1", "2", "3", "4", "8"],
}
PROXIES = [
    "epe_nas",
    "fisher",
    "flops",
    "grad_norm",
    "grasp",
    "jacov",
    "l2_norm",
    "nwot",
    "params",
    "plain",
    "snip",
    "synflow",
    "zen",
]


def nb201_accuracy() -> Columns:
    columns: Columns = {"arch_str": list(CELLS)}
    for dataset in NB201_DATASETS:
        columns[f"{dataset}_test_acc_pct_200ep"] = [94.0, 80.0, 60.0]
        columns[f"{dataset}_test_acc_pct_12ep"] = [85.0, 70.0, 40.0]
        columns[f"{dataset}_val_acc_pct_12ep"] = [84.0, 71.0, None]
        columns[f"{dataset}_params_m"] = [1.5, 0.3, 0.07]
        columns[f"{dataset}_flops_m_naslib"] = [200.0, 40.0, 8.0]
    return columns


def nb201_robustness_cifar10() -> Columns:
    columns: Columns = {"arch_str": list(CELLS)}
    for attack, epsilons in ATTACKS.items():
        for epsilon in epsilons:
            hopeless = epsilon in ("8", "255") and attack != "fgsm"
            columns[f"cifar10_{attack}_acc_pct_linf_eps{epsilon}_255"] = (
                [0.0, 0.1, 0.0] if hopeless else [60.0, 50.0, 9.0]
            )
    return columns


def nb201_hwnasbench() -> Columns:
    columns: Columns = {"arch_str": list(CELLS)}
    for dataset in NB201_DATASETS:
        for device in ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga"):
            columns[f"{dataset}_{device}_latency_ms"] = [9.0, 3.0, 1.0]
        columns[f"{dataset}_edgetpu_latency_ms"] = [0.9, -1.0, 0.2]
        for device in ("edgegpu", "eyeriss", "fpga"):
            columns[f"{dataset}_{device}_energy_mj"] = [20.0, 10.0, 5.0]
    return columns


def nb201_zero_cost_proxies() -> Columns:
    columns: Columns = {"arch_str": list(CELLS), "cifar100_zc_zen": [9.0, 8.0, -1e8]}
    for dataset in ("cifar10", "imagenet16_120"):
        columns |= {f"{dataset}_zc_{proxy}": [2.0, None, -1e8] for proxy in PROXIES}
    return columns


def nb201_metad2a_imagenet_subset_tasks() -> Columns:
    return {
        "task_id": [7] * 5 + [8] * 2 + [9] * 5,
        "arch_str": [CELLS[0], CELLS[1], CELLS[2]] * 4,
        "val_acc_pct": [70.0, 71.0, 72.0, 73.0, 74.0, 80.0, 81.0, 60.0, 61.0, 62.0, 63.0, None],
    }


MATRIX = json.dumps([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
LONGER_MATRIX = json.dumps([[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
OPS = json.dumps(["input", "conv3x3-bn-relu", "output"])
LONGER_OPS = json.dumps(["input", "maxpool3x3", "conv1x1-bn-relu", "output"])


def nb101_cifar10_30k() -> Columns:
    return {
        "adjacency_json": [MATRIX, LONGER_MATRIX],
        "ops_json": [OPS, LONGER_OPS],
        "cifar10_val_acc_pct_4ep": [30.0, 25.0],
        "cifar10_val_acc_pct_12ep": [60.0, 55.0],
        "cifar10_val_acc_pct_36ep": [85.0, 80.0],
        "cifar10_val_acc_pct_108ep": [92.0, 90.0],
        "train_time_s_108ep": [1500.0, 900.0],
        "params_m": [5.0, 2.0],
    }


def ecnas_nb101_4v5v_energy() -> Columns:
    return {
        "module_hash": ["a", "a", "a", "b", "a"],
        "epochs": [4, 4, 4, 4, 108],
        "adjacency_json": [MATRIX, MATRIX, MATRIX, LONGER_MATRIX, MATRIX],
        "ops_json": [OPS, OPS, OPS, LONGER_OPS, OPS],
        "cifar10_test_acc_pct": [50.0, 52.0, 54.0, 40.0, 91.0],
        "train_time_s": [76.0, 77.0, 78.0, 60.0, 2000.0],
        "total_energy_kwh": [0.02, 0.02, 0.02, 0.015, 0.5],
        "params_m": [3.0, 3.0, 3.0, 2.0, 3.0],
    }


def transnas_micro() -> Columns:
    columns: Columns = {
        "arch_str": ["64-41414-1_02_333", "64-41414-3_33_333"],
        "class_scene_val_top1_pct": [50.0, 54.0],
        "class_object_val_top1_pct": [42.0, 45.0],
        "jigsaw_val_top1_pct": [90.0, 95.0],
        "segmentsemantic_val_pixel_acc_pct": [93.0, 94.0],
        "autoencoder_val_ssim": [0.4, 0.5],
    }
    for dataset in ("class_scene", "class_object", "jigsaw", "segmentsemantic", "autoencoder"):
        columns[f"{dataset}_params_m"] = [10.0, 40.0]
        columns[f"{dataset}_flops_m"] = [2000.0, 8000.0]
        columns[f"{dataset}_gpu_inference_ms"] = [12.0, 28.0]
    return columns


def nasbench_macro() -> Columns:
    return {
        "arch": ["02012100", "22222222"],
        "cifar10_test_acc_pct_mean": [90.0, 93.0],
        "cifar10_test_acc_pct_std": [0.2, 0.1],
        "params_m": [1.0, 2.9],
        "flops_m": [40.0, 105.0],
    }


def nasbench_graph() -> Columns:
    columns: Columns = {"link": ["0000", "0123"], "ops": ["gat-gat-gat-gat", "gcn-gin-fc-cheb"]}
    for dataset in ("cora", "citeseer", "pubmed", "cs", "photo", "computers"):
        columns[f"{dataset}_test_perf_pct"] = [78.0, 80.0]
        columns[f"{dataset}_val_perf_pct"] = [79.0, 81.0]
        columns[f"{dataset}_latency_s"] = [0.004, 0.006]
        columns[f"{dataset}_params_m"] = [1.0, 2.0]
    return columns


def help_nasbench201_latency() -> Columns:
    columns: Columns = {"arch": list(CELLS), "flops_M_nb201_cifar10": [220.0, 40.0, 8.0]}
    return columns | {f"latency_ms__{device}": [17.0, 9.0, 3.0] for device in NASBENCH201_DEVICES}


def help_fbnet_latency() -> Columns:
    columns: Columns = {"arch": [json.dumps([7] * 22), json.dumps([0] * 21 + [8])]}
    return columns | {f"latency_ms__{device}": [14.0, 9.0] for device in FBNET_DEVICES}


def help_ofa_latency() -> Columns:
    large = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": 224}
    small = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "r": 128}
    columns: Columns = {"arch": [json.dumps(large), json.dumps(small)]}
    return columns | {f"latency_ms__{device}": [27.0, 8.0] for device in OFA_DEVICES}


def accel_nasbench() -> Columns:
    columns: Columns = {
        "arch_str": [" ".join(["e6k3l1se0"] * 7), " ".join(["e4k5l2se1"] * 7)],
        "imagenet_val_top1_pct": [60.0, 66.0],
        "train_time_s": [2000.0, 3000.0],
        "macs_m": [300.0, 700.0],
        "params_m": [3.0, 7.0],
    }
    for device in ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190"):
        columns[f"{device}_throughput_img_s"] = [9000.0, None if device == "tpuv3" else 5000.0]
    return columns | {f"{device}_latency_ms": [5.0, 12.0] for device in ("zcu102", "vck190")}


def autoformer_imagenet_3k() -> Columns:
    def document(depth: int, width: int, heads: int) -> str:
        return json.dumps(
            {"depth": depth, "embed_dim": width, "mlp_ratio": [3.5] * depth, "num_heads": [heads] * depth}
        )

    return {
        "space": ["autoformer_tiny", "autoformer_tiny", "autoformer_small", "autoformer_base"],
        "arch_json": [document(12, 192, 3), document(14, 240, 4), document(13, 384, 6), document(16, 624, 10)],
        "imagenet_top1_pct_supernet": [74.5, 75.5, 81.0, 82.0],
        "imagenet_c_gaussian1_top1_pct": [65.0, 66.0, None, None],
        "params_m": [5.7, 8.0, 22.0, 73.0],
        "flops_m": [1300.0, 1900.0, 4800.0, 15000.0],
    }


def graphgym_design_space() -> Columns:
    rows = []
    for repeat in range(30):
        for grid, dataset, auc in (("design_v1_grid_round1", "Cora", None), ("design_v2_grid_round2", "TU_BZR", 0.9)):
            first = grid.endswith("round1")
            rows.append(
                {
                    "grid": grid,
                    "dataset": dataset,
                    "task": "node" if first else "graph",
                    "feature": None,
                    "label": None,
                    "batch": 32.0 if first else None,
                    "l_pre": 1 + repeat % 2,
                    "l_mp": 2 * (1 + repeat % 4),
                    "l_post": 2 + repeat % 2,
                    "stage": "skipsum",
                    "bn": "True" if first else None,
                    "act": "prelu" if first else None,
                    "drop": 0.3 if first else None,
                    "agg": "add",
                    "optim": "adam" if first else None,
                    "lr": 0.01 if first else None,
                    "epoch": 399,
                    "accuracy": 0.5 + repeat / 100,
                    "accuracy_std": 0.01,
                    "auc": auc,
                    "auc_std": None if auc is None else 0.02,
                    "params": 1.3e5,
                }
            )
    return {name: [row[name] for row in rows] for name in rows[0]}


def hat_transformer_latency() -> Columns:
    tables = (
        *("iwslt14deen_gpu_titanxp", "wmt14ende_cpu_raspberrypi", "wmt14ende_cpu_xeon", "wmt14ende_gpu_titanxp"),
        *("wmt14enfr_cpu_raspberrypi", "wmt14enfr_cpu_xeon", "wmt14enfr_gpu_titanxp", "wmt19ende_gpu_titanxp"),
    )
    return {
        "task_device": [table for table in tables for _ in range(2)],
        "encoder_embed_dim": [512, 640] * 8,
        "encoder_layer_num": [6, 6] * 8,
        "encoder_ffn_embed_dim_avg": [1024.0, 1962.6666666666667] * 8,
        "encoder_self_attention_heads_avg": [4.0, 6.333333333333333] * 8,
        "decoder_embed_dim": [512, 640] * 8,
        "decoder_layer_num": [1, 6] * 8,
        "decoder_ffn_embed_dim_avg": [1024.0, 1706.6666666666667] * 8,
        "decoder_self_attention_heads_avg": [4.0, 5.2] * 8,
        "decoder_ende_attention_heads_avg": [4.0, 5.5] * 8,
        "decoder_arbitrary_ende_attn_avg": [1.0, 1.5] * 8,
        "latency_ms__total": [50.0, 200.0] * 8,
        "latency_ms_std__encoder": [0.3, 3.0] * 8,
        "latency_ms_std__decoder": [0.4, 4.0] * 8,
    }


def nasbench_mr() -> Columns:
    columns: Columns = {
        "arch_code": [
            "16_32-1_1_2_48-2_2_1_1_16_32-1_3_1_1_1_16_16_16-1_4_1_2_3_4_16_16_16_16-64",
            "128_128-2_1_4_128-2_2_4_4_128_128-2_3_4_4_4_128_128_128-2_4_4_4_4_4_128_128_128_128-128",
        ],
        "params_m": [0.5, 28.0],
    }
    names = (
        *("imagenet50c_1000img_top1", "imagenet50c_100img_top1", "imagenet10c_1000img_top1", "imagenet10c_100img_top1"),
        *("cityscapes_seg_mIoU", "cityscapes_seg_4xdown_mIoU", "hmdb51_video_top1", "hmdb51_video_pretrained_top1"),
    )
    return columns | {f"{name}_pct": [50.0, 60.0] for name in names}


def nasbench_nlp_ptb() -> Columns:
    recipe = {
        "node_0": {"op": "linear", "input": ["x", "h_prev_0"]},
        "node_1": {"op": "activation_sigm", "input": ["node_0"]},
        "unused": {"op": "activation_tanh", "input": ["node_1"]},
        "h_new_0": {"op": "blend", "input": ["node_1", "node_0", "h_prev_0"]},
    }
    return {
        "ptb_loss_nats": [4.6, 5.0, None],
        "trainable_params_m": [6.0, 10.0, 8.0],
        "recipe_json": [json.dumps(recipe), None, json.dumps(recipe)],
    }


def measured_cells() -> Columns:
    rows = [
        (dataset, cell, seed, epochs)
        for dataset in ("digits", "photo_regions")
        for cell in range(3)
        for seed in range(3 if cell == 0 else 1)
        for epochs in (1, 3, 9)
    ]
    return {
        "dataset": [dataset for dataset, _, _, _ in rows],
        "cell": [CELLS[cell] for _, cell, _, _ in rows],
        "seed": [seed for _, _, seed, _ in rows],
        "fidelity_epochs": [epochs for _, _, _, epochs in rows],
        "accuracy_percent": [10.0 * cell + epochs + seed for _, cell, seed, epochs in rows],
        "train_seconds": [0.1 * epochs for _, _, _, epochs in rows],
        "latency_ms": [5.0 - cell for _, cell, _, _ in rows],
        "params": [27_000 - cell for _, cell, _, _ in rows],
        "flops": [238_400 - cell for _, cell, _, _ in rows],
    }


TINY_TABLES: dict[str, Callable[[], Columns]] = {
    writer.__name__: writer
    for writer in (
        nb201_accuracy,
        nb201_robustness_cifar10,
        nb201_hwnasbench,
        nb201_zero_cost_proxies,
        nb201_metad2a_imagenet_subset_tasks,
        nb101_cifar10_30k,
        ecnas_nb101_4v5v_energy,
        transnas_micro,
        nasbench_macro,
        nasbench_graph,
        help_nasbench201_latency,
        help_fbnet_latency,
        help_ofa_latency,
        accel_nasbench,
        autoformer_imagenet_3k,
        graphgym_design_space,
        hat_transformer_latency,
        nasbench_mr,
        nasbench_nlp_ptb,
        measured_cells,
    )
}

WriteTable = Callable[..., Path]


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Writes a tiny table, with columns replaced, or left out where the replacement is None; returns its folder."""

    def write(name: str, **replaced: list[Any] | None) -> Path:
        columns = TINY_TABLES[name]() | replaced
        kept = {column: cells for column, cells in columns.items() if cells is not None}
        pq.write_table(pa.table(kept), tmp_path / benchmarks()[name].file_name)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def published_folder() -> Path:
    """The folder of the real tables: ARCHCAST_BENCHMARK_DATA, or shared/data beside the repository."""
    beside = Path(__file__).parents[4] / "shared" / "data"
    folder = Path(os.environ.get("ARCHCAST_BENCHMARK_DATA", beside))
    if not any(folder.glob("*.parquet")):
        pytest.skip(f"the published tables are not in {folder}; set ARCHCAST_BENCHMARK_DATA to their folder")
    return folder
