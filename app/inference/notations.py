"""Search spaces by name, and architectures in whatever form a request writes them.

Accepted forms: the search space's own notation (text, or JSON where the space has a JSON form), a DAG document
`{"nodes": …, "edges": …}`, and `{"id": "<32 hex digits>"}` of a stored architecture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

import predictor
from app.errors import AppError, InvalidContentError
from app.inference.caches import BoundedCache
from app.inference.errors import translated
from predictor import Architecture, Notation
from predictor import SearchSpace as SearchSpace  # the rest of the service names the type from here

SpaceKind = Literal["built_in", "graph", "declared"]

_MAX_SPACES = 1_024
_MAX_PARSED = 20_000  # a few kilobytes each
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class SearchSpaceSummary:
    """What users are told about a search space. `size` is None where there is no end of architectures."""

    name: str
    kind: SpaceKind
    description: str
    size: int | None
    example: str


@dataclass(frozen=True, slots=True)
class ParsedArchitecture:
    """An architecture that a space accepted: its id (the hash), its text in the space's notation, and itself."""

    id: str
    genotype: str
    architecture: Architecture

    @property
    def graph(self) -> dict[str, Any]:
        """The canonical form as a DAG document."""
        return self.architecture.canonical().to_json()

    @property
    def hash_algorithm(self) -> str:
        """What made the id."""
        return predictor.HASH_ALGORITHM


_PARSED: BoundedCache[tuple[SearchSpace, str], ParsedArchitecture] = BoundedCache(_MAX_PARSED)
"""Texts are read once in a process, whoever posts them; a space is the same object as long as its definition is."""
_WHOLE: dict[SearchSpace, dict[str, ParsedArchitecture]] = {}


def built_in_search_spaces() -> list[SearchSpaceSummary]:
    """The search spaces that every service has, the open `graph` space among them."""
    return [summary(space, _built_in_kind(space.name)) for space in predictor.built_in_search_spaces().values()]


def declared_search_space(name: str, definition: Mapping[str, Any]) -> SearchSpace:
    """The space that a user's document declares.

    Raises:
        InvalidContentError: if the document is wrong; says what was expected and what came.
    """
    with translated():
        return predictor.declared_search_space(name, definition)


def search_space(name: str, definition: Mapping[str, Any] | None = None) -> SearchSpace:
    """The space of a record: built in when there is no definition, declared otherwise.

    Raises:
        InvalidContentError: if no built-in space has that name or the definition is wrong.
    """
    return _search_space(name, None if definition is None else json.dumps(definition))


@lru_cache(maxsize=_MAX_SPACES)
def _search_space(name: str, definition: str | None) -> SearchSpace:
    if definition is not None:
        return declared_search_space(name, json.loads(definition))
    with translated():
        return predictor.search_space(name)


def summary(space: SearchSpace, kind: SpaceKind) -> SearchSpaceSummary:
    """What users are told about the space."""
    lines = (type(space).__doc__ or "").strip().splitlines()
    with translated():
        example = space.format(space.sample(np.random.default_rng(0)))
    return SearchSpaceSummary(space.name, kind, lines[0] if lines else "", space.size(), example)


def _built_in_kind(name: str) -> SpaceKind:
    return "graph" if name == "graph" else "built_in"


def parse_architecture(
    space: SearchSpace, notation: object, stored: Mapping[str, Architecture] | None = None
) -> ParsedArchitecture:
    """The architecture that `notation` names; `stored` holds those that `{"id": …}` may refer to.

    Raises:
        InvalidContentError: if it is in none of the accepted forms or not of this space.
    """
    known = remembered(space, notation)
    if known is not None:
        return known
    with translated():
        parsed = identified(space, _read(space, notation, stored or {}))
    if type(notation) is str:
        _PARSED.put((space, notation), parsed)
    return parsed


def remembered(space: SearchSpace, notation: object) -> ParsedArchitecture | None:
    """The architecture that a text named when it was read before, without reading it again."""
    if type(notation) is not str:
        return None
    whole = _WHOLE.get(space)
    return (None if whole is None else whole.get(notation)) or _PARSED.get((space, notation))


def remember_whole(space: SearchSpace, architectures: Iterable[ParsedArchitecture]) -> None:
    """Keeps everything that a small space can write, so that nobody waits for reading it, until `forget_whole`."""
    _WHOLE[space] = {one.genotype: one for one in architectures}


def forget_whole(space: SearchSpace) -> None:
    """Lets go of what `remember_whole` keeps."""
    _WHOLE.pop(space, None)


def parse_many(
    space: SearchSpace, notations: Sequence[object], stored: Mapping[str, Architecture] | None = None
) -> list[ParsedArchitecture | AppError]:
    """Every architecture, or in its place the error that it has instead."""
    return [parse_or_error(space, notation, stored) for notation in notations]


def parse_or_error(
    space: SearchSpace, notation: object, stored: Mapping[str, Architecture] | None = None
) -> ParsedArchitecture | AppError:
    """`parse_architecture` that returns its error; an error in the place of a notation is its own."""
    if isinstance(notation, AppError):
        return notation
    try:
        return parse_architecture(space, notation, stored)
    except AppError as error:
        return error


def referenced_ids(notations: Iterable[object]) -> set[str]:
    """The ids of stored architectures that the notations refer to."""
    ids = (notation["id"] for notation in notations if isinstance(notation, Mapping) and set(notation) == {"id"})
    return {value for value in ids if isinstance(value, str) and _ID.fullmatch(value)}


def restored_architecture(space: SearchSpace, graph: Mapping[str, Any], genotype: str | None) -> Architecture:
    """A stored architecture as this space builds it, or as its graph says where the space has no notation of it."""
    with translated():
        if genotype is not None:
            return space.parse(genotype)
        try:
            return space.parse(space.format(Architecture.from_json(graph)))
        except predictor.NotInSpaceError:
            return Architecture.from_json(graph)


def _read(space: SearchSpace, notation: object, stored: Mapping[str, Architecture]) -> Architecture:
    match notation:
        case str():
            return space.parse(notation)
        case {"nodes": _, "edges": _}:
            return space.parse(space.format(Architecture.from_json(notation)))
        case {"id": reference, **rest} if not rest:
            return _of_this_space(space, _referred(reference, stored))
        case Mapping() | [*_]:
            return space.parse(_json_notation(notation))
    raise InvalidContentError(f"expected an architecture as text, a list or an object, got {type(notation).__name__}")


def _of_this_space(space: SearchSpace, architecture: Architecture) -> Architecture:
    return space.parse(space.format(architecture))


def _referred(reference: object, stored: Mapping[str, Architecture]) -> Architecture:
    if not isinstance(reference, str) or not _ID.fullmatch(reference):
        raise InvalidContentError(f"expected the id of an architecture as 32 hexadecimal digits, got {reference!r:.80}")
    if reference not in stored:
        raise InvalidContentError(f"expected the id of an architecture that was posted before, got {reference}")
    return stored[reference]


def _json_notation(notation: Any) -> Notation:
    return notation  # type: ignore[no-any-return]


def identified(space: SearchSpace, architecture: Architecture) -> ParsedArchitecture:
    """An architecture that the space made, with its id and its text. Raises the predictor's errors."""
    genotype = architecture.genotype
    text = space.format(architecture) if genotype is None else genotype
    return ParsedArchitecture(architecture.hash, text, architecture)


def sampled(space: SearchSpace, count: int, seed: int) -> list[ParsedArchitecture]:
    """Random architectures, drawn independently; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    with translated():
        return [identified(space, space.sample(rng)) for _ in range(count)]
