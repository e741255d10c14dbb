"""Fine-tuning: everything the database holds goes to the predictor, a judged candidate comes back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import predictor
from app.database import Database
from app.errors import InvalidContentError
from app.inference import records
from app.inference.errors import translated
from app.inference.records import History
from app.inference.versions import Versions
from predictor import FineTuneConfig, LoggedCase, MeasuredTask, SupportSet

_MAX_LOGGED_CASES = 500


class FineTuneStoppedError(Exception):
    """Fine-tuning ended because it was asked to; nothing was changed."""


@dataclass(frozen=True)
class Candidate:
    """What fine-tuning made, and how it compares with the champion that it started from."""

    id: str
    parent_id: str
    weights: bytes
    manifest: dict[str, Any]
    comparison: dict[str, Any]
    is_better: bool
    reason: str


def checked_config(settings: Mapping[str, Any]) -> FineTuneConfig:
    """How long and on what fine-tuning runs.

    Raises:
        InvalidContentError: if a setting is unknown or has the wrong type.
    """
    defaults = FineTuneConfig()
    known = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(FineTuneConfig)}
    for name, value in settings.items():
        if name not in known:
            raise _refused(name, f"expected settings among {', '.join(known)}, got {name!r:.80}")
        if not _fits(value, known[name]):
            raise _refused(name, f"expected {name} to be of type {type(known[name]).__name__}, got {value!r:.80}")
    with translated():
        try:
            return FineTuneConfig(**settings)
        except ValueError as error:
            raise _refused("settings", str(error)) from error


def default_settings() -> dict[str, Any]:
    """The settings of fine-tuning that a request may change, with their values."""
    return dataclasses.asdict(FineTuneConfig())


def fine_tune(
    database: Database,
    versions: Versions,
    settings: Mapping[str, Any],
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
) -> Candidate:
    """Continues meta-training from the champion on all tasks and judges the result. Opens no transaction while it trains.

    Raises:
        NotReadyError: if there is no champion yet.
        InvalidContentError: if a setting is wrong.
        FineTuneStoppedError: if `should_stop` answered True.
    """
    config = checked_config(settings)
    champion = versions.champion()
    on_progress(0.0, "reading observations")
    tasks, logged = training_data(database)
    with translated():
        try:
            result = predictor.fine_tune(champion, tasks, logged, config, on_progress, should_stop)
        except predictor.Cancelled as cancelled:
            raise FineTuneStoppedError from cancelled
        made = predictor.MetaPredictor.from_bytes(result.weights, result.manifest)
    return Candidate(
        id=made.version,
        parent_id=champion.version,
        weights=result.weights,
        manifest=_finite(result.manifest),
        comparison=_finite(result.comparison),
        is_better=result.is_better,
        reason=result.reason,
    )


def training_data(database: Database) -> tuple[list[MeasuredTask], list[LoggedCase]]:
    """Every task that may be learned from with its current observations, and the predictions that were logged before their observation came."""
    with database.read() as session:
        histories: dict[int, History] = {}
        for task_id in records.learned_task_ids(session):
            histories[task_id] = records.read_history(session, records.task_context(session, str(task_id)))
        judged = records.judged_predictions(session, _MAX_LOGGED_CASES)
    tasks = [
        MeasuredTask(history.context.task, history.context.space, SupportSet.of(history.current()))
        for history in histories.values()
    ]
    places = {task_id: place for place, task_id in enumerate(histories)}
    supports = {
        key: histories[key[0]].support_at(key[1]) for key in {(one.task_id, one.last_observation_id) for one in judged}
    }
    logged = [
        LoggedCase(
            places[one.task_id],
            supports[one.task_id, one.last_observation_id],
            histories[one.task_id].architectures[one.architecture_id],
            one.value,
        )
        for one in judged
    ]
    return tasks, logged


def _finite(value: Any) -> Any:
    """The document with null for numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(name): _finite(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _fits(value: object, default: object) -> bool:
    if isinstance(default, bool) or default is None:
        return isinstance(value, bool) if isinstance(default, bool) else True
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, type(default))


def _refused(name: str, message: str) -> InvalidContentError:
    return InvalidContentError(message, [{"location": ["body", "settings", name], "message": message}])
