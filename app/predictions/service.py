"""Answers forecasts. What is remembered is answered at once; small requests share forward passes; large ones run in threads."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import orjson

from app import deadlines
from app.database import Database
from app.errors import AppError, InvalidContentError
from app.inference import (
    Forecast,
    Inference,
    ParsedArchitecture,
    ServedTask,
    parse_many,
    referenced_ids,
    referred_architectures,
)
from app.predictions.batching import MicroBatcher
from app.predictions.log import PredictionLog
from app.settings import Settings

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Outcome = tuple[ParsedArchitecture, Forecast] | AppError

_MAX_BATCHED = 16
_NUM_THREADS = 4
_PIECE = 512  # architectures


@dataclass(frozen=True)
class _Work:
    served: ServedTask
    notations: Sequence[object]
    project_id: int | None = None


class PredictionService:
    """One for an application. `answer` belongs to the event loop; `start` and `stop` enclose its life."""

    def __init__(self, settings: Settings, database: Database, inference: Inference) -> None:
        self._max_architectures = settings.max_predictions
        self._database = database
        self._inference = inference
        self._log = PredictionLog(settings, database)
        self._batcher: MicroBatcher[_Work, list[Outcome]] = MicroBatcher(
            self._computed_together, lambda work: len(work.notations)
        )
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="forecast")
        self._pieces = ThreadPoolExecutor(min(_NUM_THREADS, os.cpu_count() or 1), thread_name_prefix="forecast-piece")

    def start(self) -> None:
        """Begins to write the prediction log."""
        self._log.start()

    def stop(self) -> None:
        """Ends the threads and writes what is left of the log."""
        self._batcher.close()
        self._threads.shutdown()
        self._pieces.shutdown()
        self._log.stop()

    async def answer(self, task_name: str, document: object, project_id: int | None = None) -> bytes:
        """The reply to a request, as JSON, for a caller of the project (None: of all).

        Raises:
            InvalidContentError: if the document is no request for forecasts.
            NotFoundError: if no task has that name.
            NotReadyError: if there is no champion yet.
        """
        notations = self._notations(document)
        served = self._inference.served(task_name)
        if served is None:
            served = await self._in_thread(self._inference.load, task_name)
        if len(notations) > _MAX_BATCHED:
            return await self._in_thread(self._answer_large, _Work(served, notations, project_id))
        known = self._inference.forecaster.known
        outcomes: list[Outcome | None] = [known(served, notation) for notation in notations]
        if None not in outcomes:
            return self._reply(served, outcomes)  # type: ignore[arg-type]
        work = _Work(served, notations, project_id)
        if all(type(notation) is str for notation in notations):
            return self._reply(served, await self._batcher.submit(work))
        return await self._in_thread(self._answer_large, work)

    async def _in_thread(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        run = contextvars.copy_context().run  # with the request's deadline
        return await asyncio.get_running_loop().run_in_executor(self._threads, run, function, argument)

    def _notations(self, document: object) -> list[object]:
        match document:
            case {"architectures": list(notations), **rest} if not rest:
                if 1 <= len(notations) <= self._max_architectures:
                    return notations
                raise _refused(f"expected 1 to {self._max_architectures} architectures, got {len(notations)}")
            case {"architectures": list(), **rest}:
                raise _refused(f"expected no member but architectures, got also {min(map(str, rest))[:80]!r}")
            case {"architectures": other}:
                raise _refused(f"expected architectures to be a list, got {type(other).__name__}")
        raise _refused('expected an object {"architectures": […]}, got none')

    def _answer_large(self, work: _Work) -> bytes:
        return self._reply(work.served, self._computed(work.served, work.notations, work.project_id))

    def _computed(
        self, served: ServedTask, notations: Sequence[object], project_id: int | None = None
    ) -> list[Outcome]:
        """In pieces side by side: while PyTorch computes for one, Python can read the next."""
        ids = referenced_ids(notations)
        stored = {}
        if ids:
            with self._database.read() as session:
                stored = referred_architectures(session, served.space, ids, project_id)

        deadline = deadlines.current()

        def computed(start: int) -> list[Outcome]:
            if deadline is not None:
                deadline.check()
            parsed = parse_many(served.space, notations[start : start + _PIECE], stored)
            good = [one for one in parsed if isinstance(one, ParsedArchitecture)]
            forecasts = iter(self._inference.forecaster.forecast(served, good))
            return [(one, next(forecasts)) if isinstance(one, ParsedArchitecture) else one for one in parsed]

        if len(notations) <= _PIECE:
            return computed(0)
        pieces = self._pieces.map(computed, range(0, len(notations), _PIECE))
        return [outcome for piece in pieces for outcome in piece]

    def _computed_together(self, batch: Sequence[_Work]) -> list[list[Outcome]]:
        """One forward pass for all works of the same adaptation."""
        results: dict[int, list[Outcome]] = {}
        groups: dict[int, list[int]] = {}
        for place, work in enumerate(batch):
            groups.setdefault(work.served.serial, []).append(place)
        for places in groups.values():
            notations = [notation for place in places for notation in batch[place].notations]
            outcomes = iter(self._computed(batch[places[0]].served, notations))
            for place in places:
                results[place] = [next(outcomes) for _ in batch[place].notations]
        return [results[place] for place in range(len(batch))]

    def _reply(self, served: ServedTask, outcomes: Sequence[Outcome]) -> bytes:
        good = [outcome for outcome in outcomes if not isinstance(outcome, AppError)]
        self._log.add(served, [(parsed.id, forecast) for parsed, forecast in good])
        ranks = iter(ranked([forecast.mean for _, forecast in good], served.is_maximized))
        metric = served.task.metric
        return orjson.dumps(
            {
                "task": served.name,
                "metric": metric.name,
                "unit": metric.unit,
                "direction": metric.direction,
                "model_version": served.model_version,
                "num_observations": served.num_observations,
                "is_fresh": served.is_fresh,
                "predictions": [
                    _refusal(index, outcome)
                    if isinstance(outcome, AppError)
                    else _prediction(index, outcome[0], outcome[1], next(ranks))
                    for index, outcome in enumerate(outcomes)
                ],
            }
        )


def ranked(means: Sequence[float], is_maximized: bool) -> list[int]:  # (S,)
    """1 for the best mean; ties go by place."""
    if len(means) == 1:
        return [1]
    keys = np.asarray(means, dtype=np.float64)
    ranks = np.empty(len(means), dtype=np.int64)
    ranks[np.argsort(-keys if is_maximized else keys, kind="stable")] = np.arange(1, len(means) + 1)
    return ranks.tolist()


def _prediction(index: int, parsed: ParsedArchitecture, forecast: Forecast, rank: int) -> dict[str, object]:
    return {
        "index": index,
        "architecture_id": parsed.id,
        "genotype": parsed.genotype,
        "mean": forecast.mean,
        "std": forecast.std,
        "lower": forecast.lower,
        "upper": forecast.upper,
        "rank": rank,
        "ood_score": forecast.ood_score,
    }


def _refusal(index: int, error: AppError) -> dict[str, object]:
    problem = {"type": error.type, "title": error.title, "status": error.status, "detail": error.detail}
    return {"index": index, "rank": None, "error": problem}


def _refused(message: str) -> InvalidContentError:
    return InvalidContentError(message, [{"location": ["body", "architectures"], "message": message}])
