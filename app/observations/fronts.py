"""The measured Pareto front of several tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.observations import repository
from app.observations.schemas import ParetoArchitecture, ParetoOut, ParetoTask, ParetoValue
from app.observations.summaries import mean_and_std
from app.tables import TaskRecord
from app.tasks import service as tasks
from app.validation import invalid_content

MAX_TASKS = 8


def pareto(session: Session, names: Sequence[str]) -> ParetoOut:
    """The architectures measured in all of the tasks that no other of them beats, the best in the first task first.

    Raises:
        NotFoundError: if there is no such task.
        InvalidContentError: if the tasks are too few or too many, repeated, or of several search spaces.
    """
    records = _checked(session, names)
    fidelities = [repository.final_fidelity(session, record) for record in records]
    means = [
        repository.final_means(session, record, fidelity) for record, fidelity in zip(records, fidelities, strict=True)
    ]
    measured = sorted(set.intersection(*map(set, means)))
    points = np.array([[mean[one] for mean in means] for one in measured]).reshape(len(measured), len(records))
    signs = np.array([-1.0 if record.direction == "maximize" else 1.0 for record in records])
    order = non_dominated(points * signs)
    ids = [measured[index] for index in order]
    aims = list(zip(records, fidelities, strict=True))
    return ParetoOut(
        tasks=[
            ParetoTask(task=record.name, direction=record.direction, unit=record.unit, fidelity=fidelity)
            for record, fidelity in aims
        ],
        num_measured=len(measured),
        items=_items(session, aims, ids),
    )


def non_dominated(points: NDArray[np.float64]) -> list[int]:
    """The rows of (N, M) costs that no other row beats, the cheapest in the first column first. Rows that are equal are all
    kept: none beats the other."""
    waiting = np.lexsort(points.T[::-1])  # none is beaten by one that comes later
    front: list[int] = []
    while len(waiting):
        first = points[waiting[0]]
        is_equal = (points[waiting] == first).all(axis=1)
        front += waiting[is_equal].tolist()
        is_beaten = (points[waiting] >= first).all(axis=1)
        waiting = waiting[~is_beaten]
    return front


def _checked(session: Session, names: Sequence[str]) -> list[TaskRecord]:
    if not 2 <= len(names) <= MAX_TASKS:
        raise _refused(f"expected 2 to {MAX_TASKS} tasks, got {len(names)}")
    records = [tasks.find(session, name.strip()) for name in names]
    if len({record.id for record in records}) < len(records):
        raise _refused(f"expected different tasks, got {', '.join(names)}")
    spaces = sorted({record.search_space for record in records})
    if len(spaces) > 1:
        raise _refused(f"expected tasks of one search space, got tasks of {' and '.join(spaces)}")
    return records


def _refused(message: str) -> Exception:
    return invalid_content([{"location": ["query", "tasks"], "message": message}])


def _items(
    session: Session, aims: Sequence[tuple[TaskRecord, float | None]], ids: Sequence[str]
) -> list[ParetoArchitecture]:
    values = [repository.final_values(session, record, fidelity, ids) for record, fidelity in aims]
    genotypes = repository.genotypes(session, aims[0][0].search_space, ids)
    return [
        ParetoArchitecture(
            architecture_id=id_,
            genotype=genotypes.get(id_),
            values=[_value(record, found[id_]) for (record, _), found in zip(aims, values, strict=True)],
        )
        for id_ in ids
    ]


def _value(record: TaskRecord, values: Sequence[float]) -> ParetoValue:
    mean, std = mean_and_std(values)
    return ParetoValue(task=record.name, mean=mean, std=std, count=len(values))
