"""ONNX files of modules, by both of PyTorch's exporters."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

EXPORTERS = ("torchscript", "dynamo")


def onnx_file(path: Path, module: nn.Module, inputs: Tensor, exporter: str, any_batch: bool = False) -> bytes:
    """What the exporter writes."""
    settings: dict[str, object] = {"dynamo": False, "opset_version": 17}
    if exporter == "dynamo":
        settings = {"dynamo": True, "external_data": False}
    elif any_batch:
        settings |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters' own
        torch.onnx.export(module.eval(), (inputs,), path, **settings)  # type: ignore[arg-type]
    return path.read_bytes()
