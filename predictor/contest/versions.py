"""The model version that may answer a case: the one of the case's leave-out training, if it saw nothing that it must not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from predictor.benchmarks.leave_out import CHAMPION
from predictor.benchmarks.protocols import Case
from predictor.champion import shipped_champion
from predictor.checkpoint import MANIFEST_FILE, read
from predictor.errors import CheckpointError
from predictor.meta_predictor import MetaPredictor


def directory_of(training: str, versions: Path | None) -> Path | None:
    """Where that training's version is, if it is there; the champion's is the shipped one unless another is given."""
    if versions is not None and (versions / training / MANIFEST_FILE).is_file():
        return versions / training
    return shipped_champion() if training == CHAMPION else None


def seen(manifest: Mapping[str, Any], case: Case) -> tuple[str, ...]:
    """Tasks that a version was trained, fine-tuned or calibrated on, or chosen by, though the case leaves them out.

    Raises:
        CheckpointError: if the manifest does not say what the version was trained on.
    """
    if "trained_on" not in manifest or "validation" not in manifest.get("kept_out", {}):
        raise CheckpointError("expected a manifest that names trained_on and kept_out, got one that does not")
    used = {*manifest["trained_on"], *manifest["kept_out"]["validation"], *manifest.get("fine_tuned_on", ())}
    return tuple(sorted(name for name in used if case.leaves_out(name)))


def version_for(
    case: Case, directory: Path, load: Callable[[Path], MetaPredictor] = MetaPredictor.load
) -> MetaPredictor:
    """The version in that directory. What it saw decides, not the name of the training that its manifest gives.

    Raises:
        CheckpointError: if it cannot be read, or saw what the case leaves out.
    """
    leaked = seen(read(directory)[1], case)
    if leaked:
        raise CheckpointError(
            f"{case.name}: expected a version that did not see what is left out, got {directory}, "
            f"which saw {len(leaked)} such tasks: {', '.join(leaked[:5])}"
        )
    return load(directory)


def version_if_there(
    case: Case,
    versions: Path,
    tell: Callable[[str], None],
    load: Callable[[Path], MetaPredictor] = MetaPredictor.load,
) -> MetaPredictor | None:
    """The version of the case's training, or None after `tell` has heard why."""
    if case.training is None:
        return None
    directory = directory_of(case.training, versions)
    if directory is None:
        tell(f"missing: the version of training {case.training} ({case.name} goes without ours)")
        return None
    try:
        return version_for(case, directory, load)
    except CheckpointError as error:
        tell(f"refused: {error}")
        return None
