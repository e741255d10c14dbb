"""Modules and ONNX files as DAG documents on the client's side, where nothing of them has to be sent but the graph.

The files are one's own, so they are read in this process. PyTorch is imported when the first module comes.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Any

import predictor
from app.errors import InvalidContentError

ONNX_SUFFIX = ".onnx"


def is_convertible(value: object) -> bool:
    """Whether it is a path of an ONNX file (text that ends in .onnx, or a Path) or a module, and no notation."""
    return isinstance(value, Path) or (isinstance(value, str) and value.endswith(ONNX_SUFFIX)) or _is_module(value)


def dag_document(source: object, example_inputs: Any = None) -> dict[str, Any]:
    """The DAG document of an ONNX file, or of a module that is traced on its example inputs.

    Raises:
        InvalidContentError: if it cannot be read as an architecture.
        OSError: if the file cannot be opened.
    """
    try:
        if _is_module(source):
            return predictor.architecture_from_module(source, example_inputs).to_json()  # type: ignore[arg-type]
        if isinstance(source, str | os.PathLike):
            return _of_file(Path(source))
    except predictor.PredictorError as error:
        raise InvalidContentError(str(error)) from error
    raise InvalidContentError(f"expected the path of an ONNX file or a torch.nn.Module, got {type(source).__name__}")


def _of_file(path: Path) -> dict[str, Any]:
    """Mapped, so that weights stay where they are."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise InvalidContentError(f"expected an ONNX file, got the empty file {path.name!r}")
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # closed with the last view of it
    return predictor.architecture_from_onnx(memoryview(content)).to_json()


def _is_module(value: object) -> bool:
    """By name: who has a module has imported PyTorch, and nobody else needs to."""
    return any(f"{one.__module__}.{one.__name__}" == "torch.nn.modules.module.Module" for one in type(value).__mro__)
