"""A model version as one file: a ZIP archive of `manifest.json` and `weights.safetensors`, both stored as they are.

What is read may come from anywhere. Nothing in it is executed, nothing is written to a disk, and nothing is loaded before its
size and shape are known to be those of a surrogate that this program can build.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from predictor.checkpoint import MANIFEST_FILE, MANIFEST_FORMAT, WEIGHTS_FILE, encoding_fingerprint
from predictor.encoding import NUM_GLOBAL_FEATURES, NUM_QUANTILES
from predictor.errors import CheckpointError
from predictor.meta.inner_loop import InnerLoopConfig
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.registry import search_space
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig
from predictor.surrogate.trees import MAX_TREE_NODES, MAX_TREES, NUM_COLUMNS
from predictor.tasks import METRIC_FAMILIES, Metric, SupportSet, Task

MAX_MANIFEST_BYTES = 4 * 2**20
MAX_WEIGHTS_BYTES = 256 * 2**20
_MAX_HEADER_BYTES = 2**20
_MAX_DEPTH = 32
_LIMITS = {"width": 1_024, "num_blocks": 32, "num_context": 256}
_MAX_INNER_STEPS = 64
_MAX_EXTRA_BYTES = 64 * 2**10  # of an archive beside its two files: headers, and nothing hidden between them
_TYPE = "F32"
_FAMILIES = frozenset({family for family, _ in METRIC_FAMILIES} | {"other"})
_PROOF_SPACE = "nasbench201"


def pack(meta: MetaPredictor) -> bytes:
    """The archive of a model version; the same for the same version and manifest."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        manifest = json.dumps(meta.manifest, indent=2, sort_keys=True, allow_nan=False)
        archive.writestr(zipfile.ZipInfo(MANIFEST_FILE), manifest + "\n")
        archive.writestr(zipfile.ZipInfo(WEIGHTS_FILE), meta.to_bytes())
    return content.getvalue()


def unpack(content: bytes) -> MetaPredictor:
    """The model version of an archive, proved to answer.

    Raises:
        CheckpointError: if it is no such archive, or what it holds does not fit this program; says what was expected and
            what came.
    """
    manifest_text, weights = _files(content)
    manifest = _manifest(manifest_text)
    _check_shapes(_header(weights), _expected_shapes(manifest))
    meta = MetaPredictor.from_bytes(weights, manifest)
    _prove(meta)
    return meta


def _files(content: bytes) -> tuple[bytes, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != [MANIFEST_FILE, WEIGHTS_FILE]:
                shown = ", ".join(repr(name[:60]) for name in names[:4]) or "none"
                raise CheckpointError(f"expected an archive of {MANIFEST_FILE} and {WEIGHTS_FILE}, got files {shown}")
            limits = {MANIFEST_FILE: MAX_MANIFEST_BYTES, WEIGHTS_FILE: MAX_WEIGHTS_BYTES}
            found = {entry.filename: _file(archive, entry, limits[entry.filename]) for entry in entries}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(f"expected a ZIP archive, got {len(content)} bytes: {error}") from error
    extra = len(content) - sum(map(len, found.values()))
    if extra > _MAX_EXTRA_BYTES:
        raise CheckpointError(f"expected an archive of two files alone, got {extra} further bytes")
    return found[MANIFEST_FILE], found[WEIGHTS_FILE]


def _file(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    if entry.flag_bits & 0x1:
        raise CheckpointError(f"expected {entry.filename} without a password, got an encrypted one")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(f"expected {entry.filename} to be stored as it is, got a compressed one")
    if max(entry.file_size, entry.compress_size) > limit:
        raise CheckpointError(f"expected {entry.filename} of at most {limit} bytes, got {entry.file_size}")
    with archive.open(entry) as file:
        found = file.read(limit + 1)
    if len(found) != entry.file_size:
        raise CheckpointError(f"expected {entry.filename} of {entry.file_size} bytes, as is declared, got {len(found)}")
    return found


def _manifest(content: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(content.decode(), parse_constant=_finite, parse_float=_finite)
        _check_depth(manifest)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"expected {MANIFEST_FILE} to be JSON, {error}") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"expected {MANIFEST_FILE} to hold an object, got {type(manifest).__name__}")
    if manifest.get("format") != MANIFEST_FORMAT:
        raise CheckpointError(f"expected a manifest of format {MANIFEST_FORMAT}, got {manifest.get('format')!r:.40}")
    if manifest.get("encoding") != encoding_fingerprint():
        raise CheckpointError(
            f"expected weights for the encoding {encoding_fingerprint()}, got {manifest.get('encoding')!r:.200}"
        )
    return manifest


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"got {text[:20]}, which is no number that can be stored")
    return number


def _check_depth(document: Any) -> None:
    level = [document]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise ValueError(f"got one nested deeper than {_MAX_DEPTH}")


def _expected_shapes(manifest: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors that a surrogate of the manifest's sizes has; built without their numbers."""
    sizes = _sizes("surrogate", manifest, dict.fromkeys(_LIMITS, int))
    for name, limit in _LIMITS.items():
        if not 1 <= sizes[name] <= limit:
            raise CheckpointError(f"expected surrogate.{name} between 1 and {limit}, got {sizes[name]}")
    inner = _sizes("inner", manifest, {"num_steps": int, "initial_step_size": float, "ranking_weight": float})
    if not 0 <= inner["num_steps"] <= _MAX_INNER_STEPS:
        raise CheckpointError(f"expected inner.num_steps between 0 and {_MAX_INNER_STEPS}, got {inner['num_steps']}")
    try:
        InnerLoopConfig(**inner)
        with torch.device("meta"):
            surrogate = Surrogate(SurrogateConfig(EncoderConfig(**sizes)))
    except (ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"expected sizes of a surrogate that can be built, got {sizes}: {error}") from error
    shapes = {f"surrogate.{name}": tuple(value.shape) for name, value in surrogate.named_parameters()}
    shapes |= {"log_step_sizes": (inner["num_steps"], len(shapes))}
    shapes |= {"reference.mean": (NUM_GLOBAL_FEATURES,), "reference.std": (NUM_GLOBAL_FEATURES,)}
    return shapes | _shapes_of_universal_mean(manifest) if "universal_mean" in manifest else shapes


def _shapes_of_universal_mean(manifest: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Those of the trees that the manifest tells of, and of the quantiles that they need."""
    shapes: dict[str, tuple[int, ...]] = {"reference.quantiles": (NUM_QUANTILES, NUM_GLOBAL_FEATURES)}
    told = manifest["universal_mean"]
    if not isinstance(told, dict) or not set(told) <= _FAMILIES:
        raise CheckpointError(
            f"expected universal_mean in the manifest to be of families among {', '.join(sorted(_FAMILIES))}, got {told!r:.200}"
        )
    for family, parts in told.items():
        if not isinstance(parts, dict) or set(parts) != {"boosted", "randomised"}:
            raise CheckpointError(
                f"expected universal_mean.{family} to have boosted and randomised trees, got {parts!r:.200}"
            )
        for name, size in parts.items():
            if not (isinstance(size, list) and len(size) == 2 and all(type(one) is int for one in size)):
                raise CheckpointError(f"expected universal_mean.{family}.{name} to be two numbers, got {size!r:.80}")
            if not (1 <= size[0] <= MAX_TREES and 1 <= size[1] <= MAX_TREE_NODES):
                raise CheckpointError(
                    f"expected universal_mean.{family}.{name} to be at most {MAX_TREES} trees of {MAX_TREE_NODES} nodes, got {size}"
                )
            shapes[f"universal.{family}.{name}"] = (*size, NUM_COLUMNS)
        shapes[f"universal.{family}.linear"] = (NUM_GLOBAL_FEATURES + 1,)
        shapes[f"universal.{family}.work"] = (2,)
    return shapes


def _sizes(name: str, manifest: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    found = manifest.get(name)
    if not isinstance(found, dict) or set(found) != set(kinds):
        raise CheckpointError(f"expected {name} in the manifest to have {', '.join(kinds)}, got {found!r:.200}")
    for member, kind in kinds.items():
        allowed = (int,) if kind is int else (int, float)
        if isinstance(found[member], bool) or not isinstance(found[member], allowed):
            raise CheckpointError(f"expected {name}.{member} to be of type {kind.__name__}, got {found[member]!r:.80}")
    return dict(found)


def _header(weights: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every tensor of safetensors, read without the tensors."""
    length = int.from_bytes(weights[:8], "little")
    if len(weights) < 8 or length > min(_MAX_HEADER_BYTES, len(weights) - 8):
        raise CheckpointError(
            f"expected weights in safetensors form, got {len(weights)} bytes with a header of {length}"
        )
    try:
        header = json.loads(weights[8 : 8 + length].decode())
        return {
            str(name): (str(one["dtype"]), tuple(int(size) for size in one["shape"]))
            for name, one in header.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"expected weights in safetensors form, got a header that is none: {error!r:.200}"
        ) from error


def _check_shapes(found: Mapping[str, tuple[str, tuple[int, ...]]], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing, unknown = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or unknown:
        named = f"none of {missing[0]!r}" if missing else f"an unknown {unknown[0][:80]!r}"
        raise CheckpointError(f"expected the {len(expected)} tensors of the manifest's surrogate, got {named}")
    for name, shape in expected.items():
        if found[name] != (_TYPE, shape):
            got_type, got_shape = found[name]
            raise CheckpointError(f"expected {name} to be {_TYPE} {list(shape)}, got {got_type[:20]} {list(got_shape)}")


def _prove(meta: MetaPredictor) -> None:
    """Lets it forecast one architecture: priors and widths of the manifest are used for the first time here."""
    space = search_space(_PROOF_SPACE)
    asked = space.sample(np.random.default_rng(0))
    try:
        for metric in (Metric("accuracy", "%", "maximize"), Metric("latency_ms", "ms", "minimize")):
            adapted = meta.adapt(Task(space.name, "proof", metric), space, SupportSet())
            answered = adapted.predict([asked])
            if not np.isfinite([answered.mean, answered.std, answered.lower, answered.upper]).all():
                raise ValueError(f"mean {answered.mean}, standard deviation {answered.std}")
    except (ValueError, TypeError, KeyError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(f"expected a version that answers with finite numbers, got {error!r:.200}") from error
