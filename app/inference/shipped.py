"""The evaluated architectures that come with the program, in the form in which a client would post them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import predictor
from app.inference.errors import translated


@dataclass(frozen=True)
class ShippedContents:
    """A task and its observations as request bodies. Client keys begin with `shipped:`."""

    task: dict[str, Any]
    observations: list[dict[str, Any]]


def shipped_task_names() -> list[str]:
    """The names of those tasks, without reading their observations."""
    return [_name(task) for task in predictor.SHIPPED_TASKS]


def shipped_contents() -> list[ShippedContents]:
    """Every task of the shipped benchmark."""
    with translated():
        return [_contents(one) for one in predictor.shipped_tasks()]


def _name(task: predictor.Task) -> str:
    return task.name.replace("/", ".")


def _short(cell: str) -> str:
    """A cell's text is too long for a client key."""
    return hashlib.blake2s(cell.encode(), digest_size=12).hexdigest()


def _contents(one: predictor.ShippedTask) -> ShippedContents:
    task, metric = one.task, one.task.metric
    rows = zip(one.cells, one.values, one.seeds, one.fidelities, one.costs, strict=True)
    return ShippedContents(
        {
            "name": _name(task),
            "search_space": task.search_space,
            "dataset": task.dataset,
            "metric": {"name": metric.name, "unit": metric.unit, "direction": metric.direction},
            "device": task.device,
            "max_fidelity": one.max_fidelity,
            "metadata": {"source": "really trained by scripts/measure_cells.py; comes with Archcast"},
        },
        [
            {
                "architecture": cell,
                "value": value,
                "seed": seed,
                "fidelity": fidelity,
                "cost": cost,
                "client_key": f"shipped:{_short(cell)}:{seed}:{fidelity:g}",
            }
            for cell, value, seed, fidelity, cost in rows
        ],
    )
