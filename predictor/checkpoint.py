"""Weights and manifest on disk or in memory: safetensors and JSON, never pickle.

A model version is named by the hash of its weights. Its manifest says what it is (configuration, calibration, priors), where
it came from (tasks trained on, tasks kept out, code version, parent) and how it did (metrics).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from predictor.encoding import ENCODING_VERSION, NUM_GLOBAL_FEATURES, NUM_NODE_FEATURES
from predictor.errors import CheckpointError

WEIGHTS_FILE, MANIFEST_FILE = "weights.safetensors", "manifest.json"
MANIFEST_FORMAT = 1


def version_of(weights: bytes) -> str:
    """32 hexadecimal digits of the weights' hash."""
    return hashlib.sha256(weights).hexdigest()[:32]


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as safetensors."""
    content: bytes = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    return content


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """Tensors from safetensors.

    Raises:
        CheckpointError: if the bytes are not safetensors or a number is not finite.
    """
    try:
        tensors: dict[str, Tensor] = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"expected weights in safetensors form, got {len(content)} bytes: {error}") from error
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"expected finite weights, got NaN or infinity in {name!r}")
    return tensors


def encoding_fingerprint() -> dict[str, int]:
    """What of the encoding weights depend on."""
    return {"version": ENCODING_VERSION, "node_features": NUM_NODE_FEATURES, "global_features": NUM_GLOBAL_FEATURES}


def write(directory: Path, weights: bytes, manifest: Mapping[str, Any]) -> None:
    """Both files; the manifest last, so that a directory with a manifest is whole."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / WEIGHTS_FILE).write_bytes(weights)
    (directory / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")


def read(directory: Path) -> tuple[bytes, dict[str, Any]]:
    """Weights and manifest.

    Raises:
        CheckpointError: if a file is missing or the manifest is not a JSON object.
    """
    try:
        weights = (directory / WEIGHTS_FILE).read_bytes()
        manifest = json.loads((directory / MANIFEST_FILE).read_text())
    except OSError as error:
        raise CheckpointError(
            f"expected {WEIGHTS_FILE} and {MANIFEST_FILE} in {directory}, got {error.strerror}"
        ) from error
    except ValueError as error:  # not JSON, or not even text
        raise CheckpointError(f"expected {MANIFEST_FILE} to be JSON, got {error}") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"expected {MANIFEST_FILE} to hold an object, got {type(manifest).__name__}")
    return weights, manifest
