"""/v1/search-spaces."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Query, Response, status

from app.answering_once import creates_nothing
from app.dependencies import DatabaseDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked
from app.pagination import Page
from app.preconditions import IfMatchDep
from app.schemas import example, problems
from app.search_spaces import service
from app.search_spaces.schemas import (
    DECLARATION_EXAMPLE,
    EDIT_EXAMPLE,
    SAMPLE_EXAMPLE,
    SPACE_EXAMPLE,
    VALIDATION_EXAMPLE,
    VALIDATION_REQUEST_EXAMPLE,
    SampleOut,
    SearchSpaceEdit,
    SearchSpaceIn,
    SearchSpaceOut,
    SpaceKind,
    ValidationIn,
    ValidationOut,
)

router = json_router("search spaces")

_SPACE = {"name": "$response.body#/name"}
_LINKS = dict.fromkeys(("show_search_space", "edit_search_space", "sample_search_space", "validate_notations"), _SPACE)


@router.post(
    "/search-spaces",
    status_code=status.HTTP_201_CREATED,
    summary="Declare a search space",
    description="Registers a search space of your own. The same declaration again is harmless and answers 200; "
    "another definition under a name that is taken is refused with 409.",
    responses={
        201: example(SPACE_EXAMPLE, "The new search space.", links=_LINKS),
        200: example(SPACE_EXAMPLE, "It was there.", SearchSpaceOut, _LINKS),
        **problems(400, 409),
    },
)
@at_least(Role.CONTRIBUTOR, changes=True)
def declare_search_space(
    database: DatabaseDep,
    response: Response,
    body: Annotated[SearchSpaceIn, Body(openapi_examples={"transformers": {"value": DECLARATION_EXAMPLE}})],
) -> SearchSpaceOut:
    with database.write() as session:
        record, is_new = service.declare(session, body)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return service.shown(record)


@router.get(
    "/search-spaces",
    summary="List search spaces",
    description="All search spaces in the order of their names: built-in ones, the open `graph` space for any typed "
    "DAG, and declared ones.",
    response_model=Page[SearchSpaceOut],
    responses={200: example({"items": [SPACE_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.READER)
def list_search_spaces(
    database: DatabaseDep,
    asked: Annotated[Asked, service.LISTING.query],
    kind: Annotated[SpaceKind | None, Query(description="Only those of this kind.")] = None,
) -> Any:
    with database.read() as session:
        return service.LISTING.answer(service.page(session, asked, kind), asked)


@router.get(
    "/search-spaces/{name}",
    summary="Show a search space",
    description="One search space with its size and an architecture in its notation.",
    responses={200: example(SPACE_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_search_space(database: DatabaseDep, name: str) -> SearchSpaceOut:
    with database.read() as session:
        return service.shown(service.find(session, name))


@router.patch(
    "/search-spaces/{name}",
    summary="Edit a search space",
    description="Changes the description of a declared search space. `If-Match` with its `ETag` makes sure that nobody has "
    "changed it since you looked. What comes with the program is refused with 409.",
    responses={200: example({**SPACE_EXAMPLE, **EDIT_EXAMPLE}), **problems(400, 404, 409, 412)},
)
@at_least(Role.OPERATOR, changes=True)  # all projects read them
def edit_search_space(
    database: DatabaseDep,
    name: str,
    if_match: IfMatchDep,
    body: Annotated[SearchSpaceEdit, Body(openapi_examples={"description": {"value": EDIT_EXAMPLE}})],
) -> SearchSpaceOut:
    with database.write() as session:
        return service.edit(session, name, body, if_match)


@router.get(
    "/search-spaces/{name}/sample",
    summary="Draw random architectures",
    description="Random architectures of the search space in its notation. The answer says which seed draws them again.",
    responses={200: example(SAMPLE_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def sample_search_space(
    database: DatabaseDep,
    name: str,
    count: Annotated[int, Query(ge=1, le=1000, description="How many.")] = 1,
    seed: Annotated[int | None, Query(ge=0, lt=2**63, description="Leave out for a new one.")] = None,
) -> SampleOut:
    with database.read() as session:
        record = service.find(session, name)
    return service.sample(record, count, seed)


@router.post(
    "/search-spaces/{name}/validate",
    summary="Validate notations",
    description="Reads architectures without keeping them. Every notation is answered at its index: its id and canonical "
    "genotype, or what was expected and what came.",
    responses={200: example(VALIDATION_EXAMPLE), **problems(400, 404)},
)
@creates_nothing
@at_least(Role.READER)
def validate_notations(
    database: DatabaseDep,
    name: str,
    body: Annotated[ValidationIn, Body(openapi_examples={"cells": {"value": VALIDATION_REQUEST_EXAMPLE}})],
) -> ValidationOut:
    with database.read() as session:
        record = service.find(session, name)
    return service.validate(record, body.architectures)
