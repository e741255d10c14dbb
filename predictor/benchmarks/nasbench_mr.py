"""NAS-Bench-MR: multi-resolution networks in nine settings (Ding et al., "Learning Versatile Neural Architectures by
Propagating Network Codes", ICLR 2022). The codes become graphs of the open `graph` space.

A code is `s1_s2-m_1_n_c-m_2_n_n_c_c-…-h`: widths of two strided convolutions, then four stages with 1 to 4 parallel
branches (m modules, and for every branch n residual blocks of width c), then the width of the head. Before each stage every
branch adds up its neighbours in resolution, and a new branch starts from the one above it (section 3 of the paper).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial

from predictor.architecture import Architecture, AttributeValue, Operation
from predictor.benchmarks.column_benchmark import ColumnBenchmark, MetricColumn
from predictor.benchmarks.metrics import ACCURACY, MEAN_IOU
from predictor.errors import BenchmarkError
from predictor.search_spaces.registry import search_space

_NUM_STAGES = 4


@dataclass
class _Graph:
    """Nodes and edges while a code is being read."""

    operations: list[Operation] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)

    def node(self, kind: str, *sources: int, **attributes: AttributeValue) -> int:
        self.operations.append(Operation.of(kind, **attributes))
        self.edges += [(source, len(self.operations) - 1) for source in sources]
        return len(self.operations) - 1


def _numbers(part: str, code: str) -> list[int]:
    try:
        return [int(number) for number in part.split("_")]
    except ValueError:
        raise BenchmarkError(f"nasbench_mr: expected numbers parted by _ and -, got {code[:200]!r}") from None


def _stage(code: str, part: str, num_branches: int) -> tuple[int, list[int], list[int]]:
    """Modules, blocks and widths of one stage."""
    numbers = _numbers(part, code)
    if len(numbers) != 2 + 2 * num_branches or numbers[1] != num_branches:
        raise BenchmarkError(
            f"nasbench_mr: expected stage {num_branches} as modules_{num_branches}_blocks…_widths…, got {part!r} in {code[:200]!r}"
        )
    return numbers[0], numbers[2 : 2 + num_branches], numbers[2 + num_branches :]


def _add_stage(graph: _Graph, above: list[int], modules: int, blocks: list[int], widths: list[int]) -> list[int]:
    """The last node of every branch; `above` are those of the stage before."""
    fused: list[int] = []
    for branch, width in enumerate(widths):
        sources = above[max(branch - 1, 0) : branch + 2] if branch < len(above) else []
        if len(sources) > 1:
            fused.append(graph.node("add", *sources, channels=width))
        elif sources:
            fused.append(graph.node("conv", *sources, kernel_size=3, stride=1, channels=width))
        else:
            fused.append(graph.node("conv", fused[-1], kernel_size=3, stride=2, channels=width))
    return [
        graph.node("conv", source, kernel_size=3, stride=1, channels=width, repeats=count, depth=modules)
        for source, count, width in zip(fused, blocks, widths, strict=True)
    ]


def code_to_graph(code: str) -> Architecture:
    """The network of a published code, with one node for the residual blocks of a branch in a stage.

    Raises:
        BenchmarkError: if it is no such code.
    """
    parts = code.split("-")
    if len(parts) != _NUM_STAGES + 2:
        raise BenchmarkError(f"nasbench_mr: expected {_NUM_STAGES + 2} parts joined by -, got {code[:200]!r}")
    graph = _Graph()
    last = graph.node("input")
    for width in _numbers(parts[0], code):
        last = graph.node("conv", last, kernel_size=3, stride=2, channels=width)
    branches = [last]
    for number, part in enumerate(parts[1:-1], start=1):
        branches = _add_stage(graph, branches, *_stage(code, part, number))
    joined = graph.node("concat", *branches)
    head = graph.node("conv", joined, kernel_size=1, stride=1, channels=_numbers(parts[-1], code)[0])
    graph.node("output", head)
    return Architecture.build(graph.operations, graph.edges)


def _notation(code: str) -> str:
    return json.dumps(code_to_graph(code).to_json(), separators=(",", ":"))


_SETTINGS = (
    ("imagenet50c_1000img_top1_pct", "imagenet50c_1000img", ACCURACY),
    ("imagenet50c_100img_top1_pct", "imagenet50c_100img", ACCURACY),
    ("imagenet10c_1000img_top1_pct", "imagenet10c_1000img", ACCURACY),
    ("imagenet10c_100img_top1_pct", "imagenet10c_100img", ACCURACY),
    ("cityscapes_seg_mIoU_pct", "cityscapes", MEAN_IOU),
    ("cityscapes_seg_4xdown_mIoU_pct", "cityscapes_4x_down", MEAN_IOU),
    ("hmdb51_video_top1_pct", "hmdb51", ACCURACY),
    ("hmdb51_video_pretrained_top1_pct", "hmdb51_pretrained", ACCURACY),
)
"""One metric a setting; top-5, mean class and pixel accuracy of the same trainings would be the same task again."""

NASBENCH_MR = ColumnBenchmark(
    "nasbench_mr",
    "nasbench_mr.parquet",
    partial(search_space, "graph"),
    tuple(MetricColumn(column, dataset, metric, params_column="params_m") for column, dataset, metric in _SETTINGS),
    ("arch_code",),
    to_notation=_notation,
)
