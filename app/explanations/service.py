"""Explains forecasts. Nothing is written: not even the prediction log, since nobody asked for these forecasts."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from app import deadlines
from app.database import Database
from app.errors import ErrorItem, InvalidContentError
from app.explanations.schemas import (
    EffectOut,
    ExplanationOptions,
    ExplanationOut,
    ExplanationRequest,
    ExplanationsOut,
    GradientsOut,
    Method,
    PartOut,
    SummaryOut,
    SwapOut,
)
from app.inference import Inference, ParsedArchitecture, ServedTask, parse_many, referenced_ids, referred_architectures
from app.inference.explaining import ExplainedTask


def explain(
    database: Database, inference: Inference, task: str, asked: ExplanationRequest, project_id: int | None
) -> ExplanationsOut:
    """The answer to a caller of the project (None: of all).

    Raises:
        NotFoundError: if there is no such task.
        InvalidContentError: if an architecture cannot be read, or it cannot be explained as asked.
        NotReadyError: if there is no champion yet.
        TimedOutError: if it takes longer than a request may.
    """
    served = inference.load(task)
    parsed = _parsed(database, served, asked.architectures, project_id)
    seed = secrets.randbelow(2**31) if asked.options.seed is None else asked.options.seed
    explained = ExplainedTask(served, inference.forecaster)
    summary = _summary(explained, parsed, seed, asked.options) if asked.task_summary else None
    method = asked.method or "swaps"
    each = [] if asked.task_summary else enumerate(parsed)
    metric = served.task.metric
    return ExplanationsOut(
        task=served.name,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        model_version=served.model_version,
        num_observations=served.num_observations,
        is_fresh=served.is_fresh,
        method="task_summary" if asked.task_summary else method,
        seed=seed,
        explanations=[_explanation(explained, index, one, method, seed, asked.options) for index, one in each],
        summary=summary,
    )


def _parsed(
    database: Database, served: ServedTask, notations: Sequence[object], project_id: int | None
) -> list[ParsedArchitecture]:
    ids = referenced_ids(notations)
    stored = {}
    if ids:
        with database.read() as session:
            stored = referred_architectures(session, served.space, ids, project_id)
    found = parse_many(served.space, notations, stored)
    errors: list[ErrorItem] = [
        {"location": ["body", "architectures", index], "message": one.detail}
        for index, one in enumerate(found)
        if not isinstance(one, ParsedArchitecture)
    ]
    if errors:
        location = ".".join(map(str, errors[0]["location"]))
        raise InvalidContentError(f"{location}: {errors[0]['message']}", errors=errors)
    return [one for one in found if isinstance(one, ParsedArchitecture)]


def _explanation(
    explained: ExplainedTask,
    index: int,
    one: ParsedArchitecture,
    method: Method,
    seed: int,
    options: ExplanationOptions,
) -> ExplanationOut:
    deadlines.check()
    if method == "swaps":
        answer = _swaps(explained, one)
    elif method == "shapley":
        answer = _shapley(explained, one, seed, options)
    else:
        answer = _gradients(explained, one, seed, options)
    shown = {"index": index, "architecture_id": one.id, "genotype": one.genotype, "graph": one.graph}
    return ExplanationOut.model_validate(
        {"base": None, "is_exact": True, "parts": [], "gradients": None, **shown, **answer}
    )


def _swaps(explained: ExplainedTask, one: ParsedArchitecture) -> dict[str, object]:
    found = explained.swaps(one)
    parts = [
        PartOut(
            kind=each.part.kind,
            name=each.part.name,
            nodes=list(each.part.nodes),
            chosen=each.part.chosen,
            value=each.worth,
            std_error=None,
            spread=each.spread,
            sentence=each.sentence(explained.served.task.metric),
            swaps=[
                SwapOut(
                    choice=swap.label,
                    architecture_id=swap.architecture.hash,
                    genotype=swap.architecture.genotype,
                    forecast=swap.forecast,
                    effect=swap.effect,
                    std_error=swap.std_error,
                )
                for swap in each.swaps
            ],
        )
        for each in found.parts
    ]
    return {"forecast": found.forecast, "parts": parts}


def _shapley(
    explained: ExplainedTask, one: ParsedArchitecture, seed: int, options: ExplanationOptions
) -> dict[str, object]:
    found = explained.shapley(one, seed, options.num_variants, options.num_pairs)
    parts = [
        PartOut(
            kind=each.part.kind,
            name=each.part.name,
            nodes=list(each.part.nodes),
            chosen=each.part.chosen,
            value=each.value,
            std_error=each.std_error,
            spread=None,
            sentence=None,
            swaps=[],
        )
        for each in found.values
    ]
    return {"forecast": found.forecast, "base": found.base, "is_exact": found.is_exact, "parts": parts}


def _gradients(
    explained: ExplainedTask, one: ParsedArchitecture, seed: int, options: ExplanationOptions
) -> dict[str, object]:
    found = explained.gradients(one, seed, options.num_steps, options.num_variants)
    return {"forecast": found.forecast, "base": found.base, "gradients": GradientsOut.model_validate(found)}


def _summary(
    explained: ExplainedTask, given: Sequence[ParsedArchitecture], seed: int, options: ExplanationOptions
) -> SummaryOut:
    found, metric = explained.summary(given, seed, options.num_architectures), explained.served.task.metric
    return SummaryOut(
        mean=found.mean,
        num_architectures=found.num_architectures,
        spreads=found.spreads,
        effects=[
            EffectOut(
                decision=one.group,
                choice=one.label,
                effect=one.effect,
                std_error=one.std_error,
                num_architectures=one.num_architectures,
                sentence=one.sentence(metric),
            )
            for one in found.effects
        ],
    )
