"""GraphGym: designs of graph neural networks on many data sets (You et al., "Design Space for Graph Neural Networks",
NeurIPS 2020).

Its grids are of two kinds, and each becomes a declared space:
- round 1 drew designs at random from the full space of twelve decisions and then varied one of them (column `sample` says
  which), so about 100 rows per task, few of them shared between tasks;
- round 2 (with its link-prediction and OGB continuations) measured the same 96 designs of five decisions on every task, the
  other decisions fixed to what round 1 found best.
The attention grid has 6 to 18 rows a task and is left out. Widths were fitted to one budget of parameters, so they are no
decision. Accuracies and AUCs are published as fractions; here they are in percent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.metrics import ACCURACY, AUC
from predictor.benchmarks.table import PublishedTable, Values
from predictor.search_spaces.registry import declared_search_space
from predictor.tasks import Task

LEAST_ARCHITECTURES = 20
_METRICS = (("accuracy", ACCURACY), ("auc", AUC))


def _listed(name: str, type_name: str, *values: object) -> dict[str, object]:
    return {"name": name, "type": type_name, "values": list(values)}


_AGGREGATION = _listed("agg", "categorical", "add", "max", "mean")
ROUND1_DEFINITION: dict[str, Any] = {
    "version": 1,
    "description": "GraphGym's full design space: layers before, of and after message passing, and the training recipe.",
    "decisions": [
        _listed("l_pre", "ordinal", 1, 2, 3),
        _listed("l_mp", "ordinal", 2, 4, 6, 8),
        _listed("l_post", "ordinal", 1, 2, 3),
        _listed("stage", "categorical", "stack", "skipsum", "skipconcat"),
        _AGGREGATION,
        _listed("bn", "categorical", "True", "False"),
        _listed("act", "categorical", "relu", "prelu", "swish"),
        _listed("drop", "ordinal", 0.0, 0.3, 0.6),
        _listed("batch", "ordinal", 16, 32, 64),
        _listed("lr", "ordinal", 0.001, 0.01, 0.1),
        _listed("optim", "categorical", "sgd", "adam"),
        _listed("epoch", "ordinal", 99, 199, 399),
    ],
}
ROUND2_DEFINITION: dict[str, Any] = {
    "version": 1,
    "description": "GraphGym's condensed design space: 96 designs.",
    "decisions": [
        _listed("l_pre", "ordinal", 1, 2),
        _listed("l_mp", "ordinal", 2, 4, 6, 8),
        _listed("l_post", "ordinal", 2, 3),
        _listed("stage", "categorical", "skipsum", "skipconcat"),
        _AGGREGATION,
    ],
}
_TEXTS = frozenset({"stage", "agg", "bn", "act", "optim"})
_ROUNDS = (
    ("graphgym_round1", ROUND1_DEFINITION, ("design_v1_grid_round1",)),
    (
        "graphgym_round2",
        ROUND2_DEFINITION,
        ("design_v2_grid_round2", "design_v2link_grid_round2link", "design_v2ogb_grid_round2ogb"),
    ),
)


@dataclass(frozen=True)
class _Group:
    """The rows of one data set."""

    dataset: str
    rows: NDArray[np.bool_]  # (R,)


class GraphGym(Benchmark):
    """Accuracy on every data set, and AUC where it was published."""

    name = "graphgym_design_space"
    file_name = "graphgym_design_space.parquet"

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        grids = np.array(table.texts("grid"), dtype=object)
        for space_name, definition, own_grids in _ROUNDS:
            space = declared_search_space(space_name, definition)
            groups = _groups(table, np.isin(grids.astype(str), own_grids))
            yield Contents(
                space,
                _notation(table, [str(decision["name"]) for decision in definition["decisions"]]),
                tuple(one for group in groups for one in _measurements(table, space.name, group)),
                definition,
            )


def _groups(table: PublishedTable, own: NDArray[np.bool_]) -> list[_Group]:
    """Rows by data set, in order of appearance."""
    columns = (table.texts(name) for name in ("dataset", "task", "feature", "label"))
    keys = [_dataset(*cells) for cells in zip(*columns, strict=True)]
    return [
        _Group(key, own & np.array([other == key for other in keys]))
        for key in dict.fromkeys(key for key, is_own in zip(keys, own, strict=True) if is_own)
    ]


def _dataset(dataset: str | None, task: str | None, feature: str | None, label: str | None) -> str:
    """Synthetic graphs come with many pairs of node feature and label; the label tells whether nodes or graphs have it."""
    what = task if feature is None else f"{feature}_to_{label}"
    return f"{dataset}_{what}".lower()


def _measurements(table: PublishedTable, space_name: str, group: _Group) -> list[Measurements]:
    found = []
    for column, metric in _METRICS:
        values = np.where(group.rows, table.numbers(column) * 100.0, np.nan)
        if np.isfinite(values).sum() >= LEAST_ARCHITECTURES:
            noise_std = table.numbers(f"{column}_std") * 100.0
            params = table.numbers("params")
            found.append(Measurements(Task(space_name, group.dataset, metric), values, noise_std, params=params))
    return found


def _notation(table: PublishedTable, names: list[str]) -> Callable[[int], str]:
    columns = {name: table.texts(name) if name in _TEXTS else _rounded(table.numbers(name)) for name in names}

    @cache
    def notation(row: int) -> str:
        return json.dumps({name: column[row] for name, column in columns.items()})

    return notation


def _rounded(numbers: Values) -> list[float]:
    """Single-precision cells as the decimal numbers that they stand for."""
    return [round(float(number), 6) for number in numbers]
