"""A differentiable search from a JSON document: what a service stores, or somebody writes down.

{"dataset": "digits", "epochs": 50, "order": "second", "stack": {"stem_channels": 8, "partial_channels": 4},
 "early_stopping": {"window": 3}, "retraining": {"epochs": 9}, "seed": 0}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from predictor.errors import EvaluationError, SearchError
from predictor.evaluate.data_sources import load_dataset
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.images import for_search
from predictor.evaluate.supernet.retraining import RetrainingConfig
from predictor.evaluate.supernet.search import DifferentiableSearch
from predictor.evaluate.supernet.stack import StackConfig
from predictor.search_spaces.base import SearchSpace

_PARTS = {"stack": StackConfig, "retraining": RetrainingConfig, "early_stopping": EarlyStopping}


def differentiable_search(space: SearchSpace, document: Mapping[str, Any], device: str = "") -> DifferentiableSearch:
    """The search that a document describes; all but the data set may be left out. `device` empty: CUDA when there is one.

    Raises:
        SearchError: if the document says something else, or the space has no cells.
        EvaluationError: if the data set cannot be loaded.
    """
    settings = dict(document)
    dataset = settings.pop("dataset", None)
    if not isinstance(dataset, str):
        raise SearchError(f"expected the name of a data set under 'dataset', got {dataset!r:.80}")
    return DifferentiableSearch(space, for_search(load_dataset(dataset)), darts_config(settings), device)


def darts_config(document: Mapping[str, Any]) -> DartsConfig:
    """Settings from JSON, as `dataclasses.asdict` writes them.

    Raises:
        SearchError: if one is unknown or out of its range.
    """
    settings = dict(document)
    try:
        for name, part in _PARTS.items():
            if settings.get(name) is not None:
                settings[name] = part(**_known(part, settings[name]))
        return DartsConfig(**_known(DartsConfig, settings))
    except (TypeError, ValueError, EvaluationError) as error:
        raise SearchError(f"expected settings of a differentiable search: {error}") from error


def _known(form: type[Any], given: object) -> dict[str, Any]:
    names = [field.name for field in fields(form)]
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise SearchError(f"expected an object with {', '.join(names)}, got {given!r:.80}")
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise SearchError(f"expected settings among {', '.join(names)}, got {unknown[0]!r:.80}")
    return dict(given)
