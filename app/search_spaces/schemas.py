"""The documents of search spaces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.schemas import ErrorItemReply, NotationForm, Reply, RequestBody, SpaceName

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"

DECLARATION_EXAMPLE = {
    "name": "my-transformers",
    "description": "Encoder-only transformers of 2 to 6 layers.",
    "definition": {
        "version": 1,
        "decisions": [
            {"name": "depth", "type": "integer", "low": 2, "high": 6},
            {"name": "heads", "type": "ordinal", "values": [2, 4, 8], "repeat": "depth"},
            {"name": "activation", "type": "categorical", "values": ["relu", "gelu"]},
        ],
    },
}
SPACE_EXAMPLE = {
    "name": "nasbench201",
    "kind": "built_in",
    "description": "15,625 cells.",
    "size": 15625,
    "log10_size": 4.19,
    "example": CELL,
    "definition": None,
    "created_at": "2026-11-22T09:30:00Z",
}
EDIT_EXAMPLE = {"description": "our encoders, without the small ones"}
SAMPLE_EXAMPLE = {
    "search_space": "nasbench201",
    "seed": 7,
    "architectures": [{"id": "0f3c5b1d2e4a69788796a5b4c3d2e1f0", "genotype": CELL}],
}
VALIDATION_REQUEST_EXAMPLE = {"architectures": [CELL, "|conv_9x9~0|"]}
VALIDATION_EXAMPLE = {
    "search_space": "nasbench201",
    "num_valid": 1,
    "results": [
        {"index": 0, "valid": True, "id": "0f3c5b1d2e4a69788796a5b4c3d2e1f0", "genotype": CELL, "error": None},
        {
            "index": 1,
            "valid": False,
            "id": None,
            "genotype": None,
            "error": {"location": ["body", "architectures", 1], "message": "nasbench201: expected three groups, got …"},
        },
    ],
}


SpaceKind = Literal["built_in", "graph", "declared"]


class SearchSpaceIn(RequestBody):
    """A search space that a user declares."""

    name: SpaceName = Field(description="Unique; tasks name the search space by it.")
    description: str = Field(default="", max_length=10_000, description="For people.")
    definition: dict[str, Any] = Field(description="Decisions: categorical, ordinal, integer or real.")


class SearchSpaceEdit(RequestBody):
    """What may be changed of a declared search space: nothing that its architectures depend on."""

    description: str = Field(max_length=10_000, description="Takes the place of what was there.")


class SearchSpaceOut(Reply):
    """A search space."""

    name: str
    kind: SpaceKind
    description: str
    size: int | None = Field(
        description="How many genotypes there are; null: no end of them, or more than a JSON number holds exactly."
    )
    log10_size: float | None = Field(description="Decimal logarithm of that number; null: no end of them.")
    example: str = Field(description="An architecture in this search space's notation.")
    definition: dict[str, Any] | None = Field(description="What was declared; null for those that are built in.")
    created_at: datetime


class SampledArchitecture(Reply):
    """A random architecture."""

    id: str = Field(description="The hash of its canonical form.")
    genotype: str = Field(description="Its text in the search space's notation.")


class SampleOut(Reply):
    """Random architectures, and the seed that draws them again."""

    search_space: str
    seed: int
    architectures: list[SampledArchitecture]


class ValidationIn(RequestBody):
    """Architectures to read and not to keep."""

    architectures: Annotated[list[NotationForm], Field(min_length=1, max_length=10_000)]


class ValidationResult(Reply):
    """What became of one notation."""

    index: int
    valid: bool
    id: str | None = Field(default=None, description="The hash of its canonical form.")
    genotype: str | None = Field(default=None, description="Its text in the search space's notation.")
    error: ErrorItemReply | None = None


class ValidationOut(Reply):
    """What became of every notation, in the order in which they were sent."""

    search_space: str
    num_valid: int
    results: list[ValidationResult]
