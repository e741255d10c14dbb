"""The champion that ships: weights and manifest as package data."""

from __future__ import annotations

from pathlib import Path


def shipped_champion() -> Path:
    """The directory with its weights and manifest, for `MetaPredictor.load`."""
    return Path(__file__).parent
