"""Leave-outs: which tasks must not be seen by what answers a protocol's cases, by patterns on task names (fnmatch).

- `champion`, what the version that ships has not seen.
- `p1_*`: six folds, each without one data set or device per table, all of its metrics at once. The same data set or device under
  another table's name goes with it (Cora is in NAS-Bench-Graph and in GraphGym, a Titan RTX in three spaces). Fold 2 has no
  accuracy on CIFAR-10 of NAS-Bench-201's cells, attacked or clean; fold 1 none on subsets of ImageNet-32 either.
- `p2_*`: a whole search space, by its name. NAS-Bench-201 and TransNAS-Bench-101's micro space write the same cells (the latter
  without pooling), so what leaves out one of them is trained on the other's tasks; `p2s_cells` leaves out both.
- `p3_*`: devices. HELP's split (Lee et al., NeurIPS 2021), in NAS-Bench-201 and in FBNet, and NASFLAT's splits of FBNet's devices
  (Akhauri & Abdelfattah, "On Latency Predictors for Neural Architecture Search", MLSys 2024; device lists as in the authors'
  code). In the asked space only the split's own devices are trained on; in other spaces all but the hardware that is asked about.
  Nothing of HW-NAS-Bench is trained on, less what HELP republished of it.

Our own benchmark's digits is left out of every one.

A training leaves out one or several of these at once: what leaves out two spaces that have little to say of each other serves both,
has less to learn from than either case allows, and costs half. `p3_devices` leaves out what any of P3 leaves out and serves them
all: which devices may be learned from besides is up to the case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from types import MappingProxyType

from predictor.benchmarks.help import FBNET_DEVICES, NASBENCH201_DEVICES, OFA_DEVICES
from predictor.errors import BenchmarkError

ALWAYS_LEFT_OUT = ("*/digits/*",)
CHAMPION = "champion"
"""The training of the version that ships."""


def matches(task_name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits."""
    return any(fnmatchcase(task_name, pattern) for pattern in patterns)


_FOLDS: Mapping[str, tuple[str, ...]] = {
    "p1_f0": (
        *("nasbench201/cifar100/*", "*/cora/*", "*/cora_*", "graphgym*/tu_bzr_*", "graphgym*/scalefree_*"),
        *("graph/imagenet50c_*", "mnasnet/*/a100", "*/latency_ms/2080ti_*"),
    ),
    "p1_f1": (
        *("nasbench201/imagenet16_120/*", "nasbench201/imagenet32_subset_*", "*/citeseer/*", "*/citeseer_*"),
        *("graphgym*/tu_cox2_*", "graphgym*/smallworld_*", "graph/imagenet10c_*", "mnasnet/*/3090", "*/titan_rtx_*"),
    ),
    "p1_f2": (
        *("nasbench201/cifar10/accuracy*", "*/pubmed/*", "graphgym*/coauthorphysics_*", "graphgym*/tu_dd_*"),
        *("graphgym*/ogbg_*", "graph/cityscapes*", "mnasnet/*/tpuv2", "*/titanxp*"),
    ),
    "p1_f3": (
        *("*/cs/*", "graphgym*/coauthorcs_*", "graphgym*/tu_enzymes_*", "graph/hmdb51*", "mnasnet/*/tpuv3", "*/v100_*"),
    ),
    "p1_f4": (
        *("transnas_micro/taskonomy_jigsaw/*", "*/photo/*", "graphgym*/amazonphoto_*", "graphgym*/tu_imdb_*"),
        "mnasnet/*/zcu102",
    ),
    "p1_f5": (
        *("transnas_micro/taskonomy_autoencoder/*", "*/computers/*", "graphgym*/amazoncomputers_*"),
        *("graphgym*/tu_proteins_*", "mnasnet/*/vck190"),
    ),
}

_SPACES: Mapping[str, tuple[str, ...]] = {
    "p2_nasbench201": ("nasbench201/*",),
    "p2_transnas_micro": ("transnas_micro/*",),
    "p2s_cells": ("nasbench201/*", "transnas_micro/*"),
    "p2_nasbench101": ("nasbench101/*",),
    "p2_nasbench_macro": ("nasbench_macro/*",),
    "p2_nasbench_graph": ("nasbench_graph/*",),
    "p2_mnasnet": ("mnasnet/*",),
    "p2_fbnet": ("fbnet/*",),
    "p2_autoformer": ("autoformer/*",),
}

_PHONES_AND_CPUS = ("silver_4114", "silver_4210r", "samsung_a50", "pixel3", "essential_ph_1", "samsung_s7")
_OTHERS = ("gold_6226", "fpga", "pixel2", "raspi4", "eyeriss")
HELP_TRAINED: Mapping[str, tuple[str, ...]] = {
    "nasbench201": ("1080ti_1", "1080ti_32", "1080ti_256", *_PHONES_AND_CPUS),
    "fbnet": ("1080ti_1", "1080ti_32", "1080ti_64", *_PHONES_AND_CPUS),
}
HELP_ASKED: Mapping[str, tuple[str, ...]] = {
    "nasbench201": ("titan_rtx_1", "titan_rtx_32", "titan_rtx_256", *_OTHERS),
    "fbnet": ("titan_rtx_1", "titan_rtx_32", "titan_rtx_64", *_OTHERS),
}
_GPUS = tuple(device for device in FBNET_DEVICES if device.endswith(("_1", "_32", "_64")) and "ph" not in device)
NASFLAT_SPLITS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "FD": (HELP_TRAINED["fbnet"], ("fpga", "raspi4", "eyeriss")),
    "FA": (_GPUS, ("gold_6226", "essential_ph_1", "samsung_s7", "pixel2")),
    "F1": (
        ("2080ti_1", "essential_ph_1", "silver_4114", "titan_rtx_1", "titan_rtx_32"),
        ("eyeriss", "fpga", "raspi4", "samsung_a50", "samsung_s7"),
    ),
    "F2": (
        ("essential_ph_1", "gold_6226", "gold_6240", "pixel3", "raspi4"),
        ("1080ti_1", "1080ti_32", "2080ti_32", "titan_rtx_1", "titanxp_1"),
    ),
    "F3": (
        ("essential_ph_1", "pixel2", "pixel3", "raspi4", "samsung_s7"),
        ("1080ti_1", "1080ti_32", "2080ti_1", "titan_rtx_1", "titan_rtx_32"),
    ),
    "F4": (
        (
            *("1080ti_64", "2080ti_1", "eyeriss", "gold_6226", "gold_6240", "raspi4", "samsung_s7", "silver_4210r"),
            *("titan_rtx_1", "titan_rtx_32"),
        ),
        ("1080ti_1", "pixel2", "essential_ph_1"),
    ),
}
"""Devices trained on and devices asked about. An earlier revision of the authors' code asked FD about titanx and gold_6240;
this is the later one, which is HELP's own."""

_HW_NAS_BENCH = (
    *("nasbench201/*/energy_mj/*", "nasbench201/cifar100/latency_ms/*", "nasbench201/imagenet16_120/latency_ms/*"),
    "nasbench201/cifar10/latency_ms/edge*",
)
DEVICES_OF_SPACE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "nasbench201": ("cifar10", NASBENCH201_DEVICES),
    "fbnet": ("imagenet", FBNET_DEVICES),
    "ofa_mobilenetv3": ("imagenet", tuple(device.replace("titan_xp", "titanxp") for device in OFA_DEVICES)),
}
_OTHER_NAMES = {"raspi4": ("hat_transformer/*/raspberrypi",), "titanxp": ("hat_transformer/*/titanxp",)}


def hardware(device: str) -> str:
    """The device without its batch size: 1080ti_32 and 1080ti_1 are one."""
    name, _, last = device.rpartition("_")
    return name if last in ("1", "32", "64", "256") and name != "essential_ph" else device


def _device_patterns(trained: Mapping[str, tuple[str, ...]], asked: Iterable[str]) -> tuple[str, ...]:
    """Everything but the trained devices in their spaces, the asked hardware in all others, and all of HW-NAS-Bench."""
    hidden = {hardware(device) for device in asked}
    patterns = [
        f"{space}/{dataset}/latency_ms/{device}"
        for space, (dataset, devices) in DEVICES_OF_SPACE.items()
        for device in devices
        if (device not in trained[space] if space in trained else hardware(device) in hidden)
    ]
    return (*patterns, *(name for one in sorted(hidden) for name in _OTHER_NAMES.get(one, ())), *_HW_NAS_BENCH)


def _device_leave_outs() -> dict[str, tuple[str, ...]]:
    asked = [device for devices in HELP_ASKED.values() for device in devices]
    found = {"p3_help": _device_patterns(HELP_TRAINED, asked)}
    for split, (trained, tested) in NASFLAT_SPLITS.items():
        if split != "FD":  # HELP's training serves it
            found[f"p3_{split.lower()}"] = _device_patterns({"fbnet": trained}, tested)
    return found


_TOGETHER: Mapping[str, tuple[str, ...]] = {
    "p1_f0_f3": ("p1_f0", "p1_f3"),
    "p1_f1_f4": ("p1_f1", "p1_f4"),
    "p1_f2_f5": ("p1_f2", "p1_f5"),
    "p2_nasbench101_fbnet": ("p2_nasbench101", "p2_fbnet"),
    "p2_nasbench_graph_mnasnet": ("p2_nasbench_graph", "p2_mnasnet"),
    "p2_nasbench_macro_autoformer": ("p2_nasbench_macro", "p2_autoformer"),
}


@cache
def leave_outs() -> Mapping[str, tuple[str, ...]]:
    """What must not be seen, by the name of a leave-out."""
    found = {CHAMPION: ("*/cifar100/*",), **_FOLDS, **_SPACES, **_device_leave_outs()}
    return MappingProxyType({name: (*patterns, *ALWAYS_LEFT_OUT) for name, patterns in found.items()})


@cache
def trainings() -> Mapping[str, tuple[str, ...]]:
    """What each training must not see, by its name: one leave-out, or several together."""
    found: dict[str, dict[str, None]] = {}
    for name, patterns in leave_outs().items():
        found.setdefault(training_for(name), {}).update(dict.fromkeys(patterns))
    return MappingProxyType({training: tuple(patterns) for training, patterns in found.items()})


def training_for(leave_out: str) -> str:
    """The name of the training that serves this leave-out."""
    if leave_out.startswith("p3_"):
        return "p3_devices"
    return next((training for training, names in _TOGETHER.items() if leave_out in names), leave_out)


def left_out_of(leave_out: str) -> tuple[str, ...]:
    """What must not be seen there.

    Raises:
        BenchmarkError: if there is no leave-out of that name.
    """
    if leave_out not in leave_outs():
        raise BenchmarkError(f"expected one of {', '.join(leave_outs())}, got {leave_out!r}")
    return leave_outs()[leave_out]
