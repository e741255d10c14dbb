"""What a search has found so far: its best architecture in the form that is asked for, and its Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.errors import ConflictError, InvalidContentError, NotFoundError
from app.inference import ParsedArchitecture, notations
from app.inference.searching import Images, pareto_front, pytorch_source
from app.searches import planning, repository, service
from app.searches.measuring import read_architectures
from app.searches.schemas import BestOut, Format, ParetoPoint, SearchParetoOut
from app.tables import SearchEvaluationRecord
from app.validation import invalid_content


def best(
    session: Session, search_id: int, form: Format, number: int | None, images: Images, project_id: int | None
) -> BestOut:
    """The best architecture so far, or that of an evaluation, in one form.

    Raises:
        NotFoundError: if there is no such search, or no such evaluation of it.
        ConflictError: if nothing has a value yet.
        InvalidContentError: if the form cannot express it.
    """
    search, _ = service.find(session, search_id, project_id)
    record = _best(session, search_id, search.best_id) if number is None else _numbered(session, search_id, number)
    space = planning.space_of(session, search.search_space)
    parsed = read_architectures(session, space, [record.architecture_id])[record.architecture_id]
    return BestOut(
        search_id=search_id,
        format=form,
        number=record.number,
        architecture_id=parsed.id,
        values=record.values or [],
        violation=record.violation or 0.0,
        dag=parsed.graph if form == "dag" else None,
        genotype=parsed.genotype,
        pytorch=_source(parsed, space, images) if form == "pytorch" else None,
    )


def _best(session: Session, search_id: int, best_id: int | None) -> SearchEvaluationRecord:
    if best_id is None:
        raise ConflictError(
            f"expected a search that has evaluated something, got {search_id}, where nothing has a value"
        )
    return session.get_one(SearchEvaluationRecord, best_id)


def _numbered(session: Session, search_id: int, number: int) -> SearchEvaluationRecord:
    record = repository.numbered(session, search_id, number)
    if record is None:
        raise NotFoundError(f"expected the number of an evaluation of search {search_id}, got {number}")
    return record


def _source(parsed: ParsedArchitecture, space: notations.SearchSpace, images: Images) -> str:
    try:
        return pytorch_source(parsed, space, images)
    except InvalidContentError as error:
        raise invalid_content([{"location": ["query", "format"], "message": error.detail}]) from error


def pareto(
    session: Session, search_id: int, reference: Sequence[float] | None, project_id: int | None
) -> SearchParetoOut:
    """What no other evaluation of the search beats in all objectives, at the final fidelity and under all constraints.

    Raises:
        NotFoundError: if there is no such search.
        InvalidContentError: if the reference is not one number for each objective.
    """
    search, _ = service.find(session, search_id, project_id)
    plan, tasks = service.plan_of(session, search)
    directions = [one.direction for one in plan.objectives]
    rows = repository.final_evaluations(session, search_id)
    parsed = read_architectures(session, plan.space, [row[0].architecture_id for row in rows])
    found = [(parsed[row[0].architecture_id], tuple(row[0].values)) for row in rows]
    try:
        front = pareto_front(plan, found, reference)
    except InvalidContentError as error:
        raise invalid_content([{"location": ["query", "reference"], "message": error.detail}]) from error
    points = [_point(rows[place]) for place in front.places]
    sign = -1.0 if directions[0] == "maximize" else 1.0
    return SearchParetoOut(
        search_id=search_id,
        objectives=service.objectives_shown(list(zip(tasks, directions, strict=True))),
        num_compared=len(rows),
        reference=None if front.reference is None else list(front.reference),
        hypervolume=front.hypervolume,
        items=sorted(points, key=lambda one: (sign * one.values[0], one.number)),
    )


def _point(row: Row[Any]) -> ParetoPoint:
    kept: SearchEvaluationRecord = row[0]
    return ParetoPoint(
        number=kept.number, architecture_id=kept.architecture_id, genotype=row.genotype, values=kept.values or []
    )
