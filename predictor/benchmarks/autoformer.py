"""AutoFormer transformers on ImageNet with weights from their supernets (Chen et al., ICCV 2021; values published with
OoD-ViT-NAS, Ho et al., NeurIPS 2024).

Each of the three sub-spaces has a supernet of its own, so values of different sub-spaces are different tasks; accuracy on
images with Gaussian noise was published for the tiny one alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.table import PublishedTable
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric, Task

SUB_SPACES = ("tiny", "small", "base")
_COLUMNS = (
    ("imagenet_top1_pct_supernet", "imagenet", SUB_SPACES),
    ("imagenet_c_gaussian1_top1_pct", "imagenet_c_gaussian1", ("tiny",)),
)


class AutoFormerSupernets(Benchmark):
    """Clean accuracy for every sub-space, accuracy under noise for tiny."""

    name = "autoformer_imagenet_3k"
    file_name = "autoformer_imagenet_3k.parquet"

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = search_space("autoformer")
        documents = table.texts("arch_json")
        sub_space_of_row = np.array(table.texts("space"), dtype=object)
        params, flops = table.numbers("params_m") * 1e6, table.numbers("flops_m") * 1e6
        yield Contents(
            space,
            lambda row: str(documents[row]),
            tuple(
                Measurements(
                    Task(space.name, dataset, Metric(f"supernet_accuracy_{sub_space}", "%", "maximize")),
                    np.where(sub_space_of_row == f"autoformer_{sub_space}", table.numbers(column), np.nan),
                    params=params,
                    flops=flops,
                )
                for column, dataset, sub_spaces in _COLUMNS
                for sub_space in sub_spaces
            ),
        )
