"""The prequential record: how the forecasts that were really answered held against the values that came later."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sqlalchemy.orm import Session

from app.inference import kendall_tau
from app.tasks import service as tasks
from app.track_records import drift
from app.track_records.repository import Pair, pairs
from app.track_records.schemas import DriftOut, RecordOut, TaskRecordOut, VersionDrift

MAX_PAIRS = 2_000
"""The newest pairs of a task that are looked at: rank correlation compares each with each."""


def of_task(session: Session, task_name: str) -> TaskRecordOut:
    """How every version's forecasts of the task have held.

    Raises:
        NotFoundError: if there is no such task.
    """
    task = tasks.find(session, task_name)
    by_version: dict[str, list[Pair]] = {}
    for pair in pairs(session, task, MAX_PAIRS):
        by_version.setdefault(pair.model_version, []).append(pair)
    newest_first = sorted(by_version.items(), key=lambda item: -item[1][-1].observation_id)
    return TaskRecordOut(task=task.name, versions=[_record(version, found) for version, found in newest_first])


def drift_of_task(session: Session, task_name: str) -> DriftOut:
    """Where the running test of every version stands on the task.

    Raises:
        NotFoundError: if there is no such task.
    """
    task = tasks.find(session, task_name)
    return DriftOut(
        task=task.name,
        promised_miss_rate=drift.PROMISED,
        suspected_miss_rate=drift.SUSPECTED,
        threshold=drift.THRESHOLD,
        versions=[
            VersionDrift(
                model_version=one.model_version_id,
                num_pairs=one.num_pairs,
                miss_rate=one.num_misses / one.num_pairs if one.num_pairs else None,
                statistic=one.statistic,
                num_alarms=one.num_alarms,
                alarmed_at=one.alarmed_at,
                changed_at=one.changed_at,
            )
            for one in drift.of_task(session, task.id)
        ],
    )


def _record(version: str, found: Sequence[Pair]) -> RecordOut:
    values, means = np.array([one.value for one in found]), np.array([one.mean for one in found])
    stds = np.maximum([one.std for one in found], np.finfo(float).tiny)
    with np.errstate(over="ignore"):
        errors = (values - means) / stds
        nll = float(np.mean(0.5 * errors**2 + np.log(stds) + 0.5 * math.log(2.0 * math.pi)))
    return RecordOut(
        model_version=version,
        num_pairs=len(found),
        coverage=sum(one.is_covered for one in found) / len(found),
        nll=nll if math.isfinite(nll) else None,
        kendall_tau=kendall_tau(means, values) if len(found) > 1 else None,
        mean_absolute_error=float(np.mean(np.abs(values - means))),
    )
