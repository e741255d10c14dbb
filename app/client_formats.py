"""What the client takes for an architecture beside notations: modules and ONNX files, converted where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.client_calls import ClientError, Document
from app.errors import InvalidContentError
from app.formats.conversion import dag_document, is_convertible


def as_notations(architectures: Any, example_inputs: Any) -> list[Any]:
    """A list of notations from one architecture or several; raises ClientError where one cannot be converted."""
    is_several = isinstance(architectures, Sequence) and not isinstance(architectures, str | bytes)
    return [_notation(one, example_inputs) for one in (architectures if is_several else [architectures])]


def with_notation(observation: Mapping[str, Any], example_inputs: Any) -> Document:
    """The observation with its architecture as a notation."""
    if "architecture" not in observation:
        return dict(observation)
    return {**observation, "architecture": _notation(observation["architecture"], example_inputs)}


def _notation(architecture: Any, example_inputs: Any) -> Any:
    if not is_convertible(architecture):
        return architecture
    try:
        return dag_document(architecture, example_inputs)
    except (InvalidContentError, OSError) as error:
        raise ClientError(f"{_named(architecture)}: {error}") from error


def _named(architecture: Any) -> str:
    return (
        str(architecture)
        if isinstance(architecture, str) or hasattr(architecture, "__fspath__")
        else type(architecture).__name__
    )
