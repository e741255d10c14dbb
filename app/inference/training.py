"""Fine-tuning: everything the database holds goes to the predictor, a judged candidate comes back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import predictor
from app.database import Database
from app.errors import InvalidContentError
from app.inference import records
from app.inference.errors import translated
from app.inference.records import History
from app.inference.versions import Versions
from predictor import FineTuneCheckpoints, FineTuneConfig, LoggedCase, MeasuredTask

_MAX_LOGGED_CASES = 500
MAX_ID = 2**63 - 1


class FineTuneStoppedError(Exception):
    """Fine-tuning ended because it was asked to; nothing was changed."""


@dataclass(frozen=True)
class SavedFineTune:
    """How far an earlier attempt came, and the champion that it started from."""

    champion: str
    step: int
    content: bytes


@dataclass(frozen=True)
class FineTuneRequest:
    """What to fine-tune on, and where to keep how far it is."""

    settings: Mapping[str, Any]
    last_observation_id: int | None = None  # None: on all there is
    saved: SavedFineTune | None = None
    save: Callable[[SavedFineTune], None] = lambda _saved: None


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
    request: FineTuneRequest,
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
) -> Candidate:
    """Continues meta-training from the champion on all tasks and judges the result. Opens no transaction while it trains.

    Raises:
        NotReadyError: if there is no champion yet.
        InvalidContentError: if a setting is wrong.
        FineTuneStoppedError: if `should_stop` answered True.
    """
    config = checked_config(request.settings)
    saved = request.saved
    champion = versions.champion() if saved is None else versions.get(saved.champion)
    on_progress(0.0, "reading observations")
    tasks, logged = training_data(database, request.last_observation_id)
    checkpoints = FineTuneCheckpoints(
        lambda step, content: request.save(SavedFineTune(champion.version, step, content)),
        None if saved is None else saved.content,
    )
    with translated():
        try:
            result = predictor.fine_tune(champion, tasks, logged, config, on_progress, should_stop, checkpoints)
        except predictor.Cancelled as cancelled:
            raise FineTuneStoppedError from cancelled
        manifest = _finite({**result.manifest, "code_version": code_version()})
        made = predictor.MetaPredictor.from_bytes(result.weights, manifest)
    return Candidate(
        id=made.version,
        parent_id=champion.version,
        weights=result.weights,
        manifest=manifest,
        comparison=_finite(result.comparison),
        is_better=result.is_better,
        reason=result.reason,
    )


def compare(
    database: Database,
    versions: Versions,
    task_id: int,
    pair: tuple[str, str],
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Two model versions on what a task observed: on episodes of what fine-tuning keeps out of training, and on predictions
    that were logged before their observation came.

    Raises:
        NotFoundError: if there is no such task or version.
        FineTuneStoppedError: if `should_stop` answered True.
    """
    first, second = (versions.get(version) for version in pair)
    tasks, logged = training_data(database, task_ids=[task_id])
    with translated():
        try:
            judged = predictor.compare(first, second, tasks, logged, on_progress, should_stop)
        except predictor.Cancelled as cancelled:
            raise FineTuneStoppedError from cancelled
    renamed = {"champion": "first", "candidate": "second"}
    compared: dict[str, Any] = _finite(judged.as_json())
    return {
        name: {renamed.get(member, member): value for member, value in one.items()} for name, one in compared.items()
    }


def code_version() -> str:
    """The version of the program that runs."""
    try:
        return version("archcast")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"


def training_data(
    database: Database, last_observation_id: int | None = None, task_ids: Sequence[int] | None = None
) -> tuple[list[MeasuredTask], list[LoggedCase]]:
    """Every task that may be learned from, or these, with its observations, and the predictions that were logged before their
    observation came: as they were when the observation of that id was the newest, or as they are now. Whoever reads it later
    reads the same."""
    newest = MAX_ID if last_observation_id is None else last_observation_id
    with database.read() as session:
        histories: dict[int, History] = {}
        for task_id in records.learned_task_ids(session) if task_ids is None else task_ids:
            histories[task_id] = records.read_history(session, records.task_context(session, str(task_id)))
        judged = records.judged_predictions(session, _MAX_LOGGED_CASES, newest, task_ids)
    known = {task_id: histories[task_id].support_at(newest) for task_id in sorted(histories)}
    tasks = [
        MeasuredTask(histories[task_id].context.task, histories[task_id].context.space, support)
        for task_id, support in known.items()
        if len(support)
    ]
    places = {task_id: place for place, task_id in enumerate(one for one, support in known.items() if len(support))}
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
        if one.task_id in places
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
