"""Image data sets from `.npz` files: x_train, y_train, x_test, y_test, and perhaps x_val, y_val.

Images are bytes, (B, H, W) or (B, H, W, C) with one to four channels; labels whole numbers from 0. Shapes and types are read from
the arrays' headers before anything is loaded, and objects are refused: a file cannot run code or take more memory than allowed.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from predictor.errors import EvaluationError
from predictor.evaluate.examples import Examples, SplitDataset

MAX_BYTES = 8 * 2**30
_PARTS = ("train", "test", "val")
_NEEDED = ("x_train", "y_train", "x_test", "y_test")

_Header = tuple[tuple[int, ...], np.dtype[np.generic]]


def load_image_file(path: Path) -> SplitDataset:
    """The data set of a file; arrays of other names are ignored.

    Raises:
        EvaluationError: if the file is missing, no `.npz`, too large, or not of the form above.
    """
    try:
        headers = _headers(path)
        _check(path, headers)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in headers}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        told = getattr(error, "strerror", None) or error  # without the path, which is nobody else's business
        raise EvaluationError(f"expected a readable .npz file of images, got {path.name!r}: {told}") from error
    parts = {part: _examples(path, part, arrays) for part in _PARTS if f"x_{part}" in arrays}
    return SplitDataset.of(path.stem, parts["train"], parts["test"], parts.get("val"))


def _headers(path: Path) -> dict[str, _Header]:
    """Shape and type of every array that counts."""
    wanted = {f"{kind}_{part}.npy" for part in _PARTS for kind in "xy"}
    found: dict[str, _Header] = {}
    with zipfile.ZipFile(path) as archive:
        for name in wanted & set(archive.namelist()):
            with archive.open(name) as member:
                version = npy_format.read_magic(member)
                read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
                shape, _, dtype = read(member)
            found[name.removesuffix(".npy")] = (shape, dtype)
    return found


def _check(path: Path, headers: Mapping[str, _Header]) -> None:
    missing = [name for name in _NEEDED if name not in headers]
    if missing:
        raise EvaluationError(f"{path.name}: expected arrays {', '.join(_NEEDED)}, got none called {missing[0]}")
    if ("x_val" in headers) != ("y_val" in headers):
        raise EvaluationError(f"{path.name}: expected x_val and y_val together, got one of them")
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in headers.values())
    if size > MAX_BYTES:
        raise EvaluationError(f"{path.name}: expected at most {MAX_BYTES >> 20} MiB of arrays, got {size >> 20}")
    for name, (shape, dtype) in headers.items():
        is_image = name.startswith("x")
        if is_image and (dtype != np.uint8 or len(shape) not in (3, 4) or not all(shape)):
            raise EvaluationError(
                f"{path.name}: expected {name} as uint8 (B, H, W) or (B, H, W, C), got {dtype} {shape}"
            )
        if is_image and len(shape) == 4 and shape[3] > 4:
            raise EvaluationError(f"{path.name}: expected {name} with at most four channels last, got {shape}")
        if not is_image and (dtype.kind not in "ui" or len(shape) != 1):
            raise EvaluationError(f"{path.name}: expected {name} as whole numbers (B,), got {dtype} {shape}")


def _examples(path: Path, part: str, arrays: Mapping[str, NDArray[np.generic]]) -> Examples:
    images, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
    if len(images) != len(labels):
        raise EvaluationError(
            f"{path.name}: expected as many labels as images in {part}, got {len(labels)} and {len(images)}"
        )
    first = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Examples(
        torch.from_numpy(np.ascontiguousarray(first)), torch.from_numpy(np.ascontiguousarray(labels).astype(np.int64))
    )
