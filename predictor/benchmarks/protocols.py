"""What forecasts are judged on, as data: which task is asked about, and what must not have been seen before.

A case names the task, what is left out for it (see `leave_out`) and the training whose version may answer it; what is left out is
not among the source tasks of any contestant. Few trainings serve many cases, and some leave out more than the case asks for.

- P0, the version that ships, on what it was not trained on; our own benchmark alone is enough for a part of it. As for a user,
  everything is known that was measured on other data sets than the asked one, the version's training or not.
- P1, new task in a known space.
- P2, new space; P2S asks again where another space writes the same cells, with that one left out too.
- P3, new device.
- P4, published numbers of observations, on all other architectures of the table.
- P5, learning curves: lower fidelities of every asked architecture are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType

from predictor.benchmarks.leave_out import (
    CHAMPION,
    DEVICES_OF_SPACE,
    HELP_ASKED,
    NASFLAT_SPLITS,
    left_out_of,
    matches,
    training_for,
)
from predictor.errors import BenchmarkError

SIZES = (0, 5, 10, 20, 50, 100, 200)
EVERYTHING = ("*",)
"""The patterns of a case that is answered from its support set alone."""

_FEW_DESIGNS = (0, 5, 10, 20, 50)  # of the 96 of GraphGym's second round


@dataclass(frozen=True)
class Case:
    """One task that is asked about, and what must not have been seen.

    `training` is None where nothing but the support set may be used. `num_query` None means as many as the run asks for.
    `fidelities` are what is known of every architecture besides. `groups` are what averages are taken over.
    """

    name: str
    task: str
    training: str | None
    left_out: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: tuple[int, ...] = SIZES
    num_query: int | None = None
    fidelities: tuple[str, ...] = ()

    def leaves_out(self, task_name: str) -> bool:
        """Whether that task may take no part in what answers this case."""
        return task_name == self.task or matches(task_name, self.left_out)


@dataclass(frozen=True)
class Protocol:
    """A list of cases with a title."""

    name: str
    title: str
    cases: tuple[Case, ...]


def _case(task: str, leave_out: str, *groups: str, sizes: tuple[int, ...] = SIZES) -> Case:
    return Case(task, task, training_for(leave_out), left_out_of(leave_out), groups, sizes)


_SYNTHETIC = tuple(
    [f"{feature}_to_graph_path_len" for feature in ("node_clustering_coefficient", "node_const", "node_onehot", "node_pagerank")]
    + ["node_clustering_coefficient_to_node_pagerank", "node_pagerank_to_node_clustering_coefficient"]
    + [f"{feature}_to_node_{label}" for feature in ("node_const", "node_onehot") for label in ("clustering_coefficient", "pagerank")]
)  # fmt: skip
_GRAPHGYM = {
    "p1_f0": ("cora_node", "tu_bzr_graph", *(f"scalefree_{pair}" for pair in _SYNTHETIC)),
    "p1_f1": ("citeseer_node", "tu_cox2_graph", *(f"smallworld_{pair}" for pair in _SYNTHETIC)),
    "p1_f2": ("coauthorphysics_node", "tu_dd_graph"),
    "p1_f3": ("coauthorcs_node", "tu_enzymes_graph"),
    "p1_f4": ("amazonphoto_node", "tu_imdb_graph"),
    "p1_f5": ("amazoncomputers_node", "tu_proteins_graph"),
}
"""The 32 tasks of its second round, whose 96 designs are the same on each."""

ROBUSTNESS_SETTINGS = ("accuracy_under_fgsm_eps4", "accuracy_under_pgd_eps1")


def _shipped() -> Protocol:
    metrics = ("accuracy", "latency_ms/cpu", "train_seconds/cpu")
    published = ("accuracy", "latency_ms/edgegpu", "energy_mj/edgegpu")
    asked = [("digits", metric, "our own benchmark") for metric in metrics]
    asked += [("cifar100", metric, "NAS-Bench-201") for metric in published]
    cases = [
        replace(_case(f"nasbench201/{dataset}/{metric}", CHAMPION, group), left_out=(f"*/{dataset}/*",))
        for dataset, metric, group in asked
    ]
    return Protocol("P0", "the version that ships, on what it was not trained on", tuple(cases))


def _new_task() -> Protocol:
    listed = {
        "NAS-Bench-201": {
            "p1_f0": ["nasbench201/cifar100/accuracy"],
            "p1_f1": ["nasbench201/imagenet16_120/accuracy"],
            "p1_f2": [f"nasbench201/cifar10/{setting}" for setting in ROBUSTNESS_SETTINGS],
        },
        "TransNAS micro": {
            "p1_f4": ["transnas_micro/taskonomy_jigsaw/val_accuracy"],
            "p1_f5": ["transnas_micro/taskonomy_autoencoder/ssim"],
        },
        "NAS-Bench-Graph": {
            f"p1_f{fold}": [f"nasbench_graph/{dataset}/accuracy"]
            for fold, dataset in enumerate(("cora", "citeseer", "pubmed", "cs", "photo", "computers"))
        },
        "NAS-Bench-MR": {
            "p1_f0": ["graph/imagenet50c_1000img/accuracy", "graph/imagenet50c_100img/accuracy"],
            "p1_f1": ["graph/imagenet10c_1000img/accuracy", "graph/imagenet10c_100img/accuracy"],
            "p1_f2": ["graph/cityscapes/mean_iou", "graph/cityscapes_4x_down/mean_iou"],
            "p1_f3": ["graph/hmdb51/accuracy", "graph/hmdb51_pretrained/accuracy"],
        },
        "MnasNet devices": {
            **{
                f"p1_f{fold}": [f"mnasnet/imagenet/throughput/{device}"]
                for fold, device in enumerate(("a100", "3090", "tpuv2", "tpuv3"))
            },
            "p1_f4": ["mnasnet/imagenet/throughput/zcu102", "mnasnet/imagenet/latency_ms/zcu102"],
            "p1_f5": ["mnasnet/imagenet/throughput/vck190", "mnasnet/imagenet/latency_ms/vck190"],
        },
        "OFA devices": {
            f"p1_f{fold}": [f"ofa_mobilenetv3/imagenet/latency_ms/{gpu}_{size}" for size in (1, 32, 64)]
            for fold, gpu in enumerate(("2080ti", "titan_rtx", "titanxp", "v100"))
        },
    }
    cases = [
        _case(task, fold, group) for group, folds in listed.items() for fold, tasks in folds.items() for task in tasks
    ]
    cases += [
        _case(f"graphgym_round2/{dataset}/accuracy", fold, "GraphGym", sizes=_FEW_DESIGNS)
        for fold, datasets in _GRAPHGYM.items()
        for dataset in datasets
    ]
    return Protocol("P1", "new task, known space", tuple(cases))


_NASBENCH201_ACCURACIES = tuple(
    f"nasbench201/{dataset}/accuracy" for dataset in ("cifar10", "cifar100", "imagenet16_120", "digits")
)
_TRANSNAS_TASKS = tuple(
    f"transnas_micro/taskonomy_{name}"
    for name in (
        *("class_scene/val_accuracy", "class_object/val_accuracy", "jigsaw/val_accuracy"),
        *("segmentsemantic/pixel_accuracy", "autoencoder/ssim"),
    )
)
_FBNET_ASKED = ("1080ti_1", "titan_rtx_64", "gold_6226", "pixel2", "raspi4", "fpga")


def _new_space() -> Protocol:
    listed: dict[tuple[str, str], tuple[str, ...]] = {
        ("p2_nasbench201", "NAS-Bench-201"): _NASBENCH201_ACCURACIES,
        ("p2_nasbench101", "NAS-Bench-101"): ("nasbench101/cifar10/val_accuracy",),
        ("p2_transnas_micro", "TransNAS micro"): _TRANSNAS_TASKS,
        ("p2_nasbench_macro", "NAS-Bench-Macro"): ("nasbench_macro/cifar10/accuracy",),
        ("p2_nasbench_graph", "NAS-Bench-Graph"): tuple(
            f"nasbench_graph/{dataset}/accuracy"
            for dataset in ("cora", "citeseer", "pubmed", "cs", "photo", "computers")
        ),
        ("p2_mnasnet", "MnasNet"): (
            *("mnasnet/imagenet/val_accuracy", "mnasnet/imagenet/throughput/a100"),
            "mnasnet/imagenet/latency_ms/zcu102",
        ),
        ("p2_fbnet", "FBNet"): tuple(f"fbnet/imagenet/latency_ms/{device}" for device in _FBNET_ASKED),
        ("p2_autoformer", "AutoFormer"): (
            *(f"autoformer/imagenet/supernet_accuracy_{sub_space}" for sub_space in ("tiny", "small", "base")),
            "autoformer/imagenet_c_gaussian1/supernet_accuracy_tiny",
        ),
    }
    cases = [_case(task, leave_out, group) for (leave_out, group), tasks in listed.items() for task in tasks]
    return Protocol("P2", "new space", tuple(cases))


def _new_cells() -> Protocol:
    cases = [_case(task, "p2s_cells", "NAS-Bench-201") for task in _NASBENCH201_ACCURACIES]
    cases += [_case(task, "p2s_cells", "TransNAS micro") for task in _TRANSNAS_TASKS]
    return Protocol("P2S", "new space, and no other that writes the same cells", tuple(cases))


def _new_device() -> Protocol:
    groups: dict[tuple[str, str], list[str]] = {}
    for space, devices in HELP_ASKED.items():
        for device in devices:
            groups.setdefault(("p3_help", f"{space}/{_dataset_of(space)}/latency_ms/{device}"), []).append(
                f"HELP {space}"
            )
    for split, (_, devices) in NASFLAT_SPLITS.items():
        leave_out = "p3_help" if split == "FD" else f"p3_{split.lower()}"
        for device in devices:
            groups.setdefault((leave_out, f"fbnet/imagenet/latency_ms/{device}"), []).append(f"NASFLAT {split}")
    cases = [
        Case(f"{leave_out}:{task}", task, training_for(leave_out), left_out_of(leave_out), tuple(names))
        for (leave_out, task), names in groups.items()
    ]
    return Protocol("P3", "new device", tuple(cases))


def _dataset_of(space: str) -> str:
    return DEVICES_OF_SPACE[space][0]


_PUBLISHED = (
    ("nasbench201/cifar10/accuracy", (78, 156, 469), ("p2_nasbench201",)),
    ("nasbench101/cifar10/val_accuracy", (172, 424), ("p2_nasbench101",)),
)
ALL_OTHERS = 1_000_000
"""As a number of asked architectures: every one that is not in the support set."""


def _published_tables() -> Protocol:
    cases = []
    for task, sizes, with_others in _PUBLISHED:
        cases.append(Case(f"{task}:alone", task, None, EVERYTHING, (f"{task}, alone",), sizes, ALL_OTHERS))
        cases += [
            Case(
                *(f"{task}:{leave_out}", task, training_for(leave_out), left_out_of(leave_out)),
                *((f"{task}, {leave_out}",), sizes, ALL_OTHERS),
            )
            for leave_out in with_others
        ]
    return Protocol("P4", "published tables", tuple(cases))


def _learning_curves() -> Protocol:
    def cut(task: str, leave_out: str, *epochs: int, prefix: str) -> Case:
        fidelities = tuple(f"{prefix}_{number}_epochs" for number in epochs)
        name = f"{task}:to_{epochs[-1]}_epochs"
        training, left_out = training_for(leave_out), left_out_of(leave_out)
        return Case(name, task, training, left_out, (name,), fidelities=fidelities)

    nasbench201 = [("cifar10", "p2_nasbench201"), ("cifar100", "p1_f0"), ("imagenet16_120", "p1_f1")]
    cases = [
        cut(f"nasbench201/{dataset}/accuracy", training, 12, prefix="accuracy") for dataset, training in nasbench201
    ]
    cases += [
        cut("nasbench101/cifar10/val_accuracy", "p2_nasbench101", *epochs, prefix="val_accuracy")
        for epochs in ((4,), (4, 12), (4, 12, 36))
    ]
    cases += [cut("nasbench201/digits/accuracy", CHAMPION, *epochs, prefix="accuracy") for epochs in ((1,), (1, 3))]
    return Protocol("P5", "learning curves", tuple(cases))


@cache
def protocols() -> Mapping[str, Protocol]:
    """Every protocol by its name."""
    found = (
        _shipped(),
        _new_task(),
        _new_space(),
        _new_cells(),
        _new_device(),
        _published_tables(),
        _learning_curves(),
    )
    return MappingProxyType({one.name: one for one in found})


def protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        BenchmarkError: if there is none.
    """
    if name not in protocols():
        raise BenchmarkError(f"expected one of the protocols {', '.join(protocols())}, got {name!r}")
    return protocols()[name]
