"""A differentiable search from a JSON document: what a service stores, or somebody writes down.

{"dataset": "digits", "epochs": 50, "order": "second", "stack": {"stem_channels": 8, "partial_channels": 4},
 "early_stopping": {"window": 3}, "retraining": {"epochs": 9}, "seed": 0}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from predictor.errors import EvaluationError, SearchError
from predictor.evaluate.data_sources import load_dataset
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.images import for_search
from predictor.evaluate.supernet.operations import MIXED
from predictor.evaluate.supernet.retraining import RetrainingConfig
from predictor.evaluate.supernet.search import DifferentiableSearch
from predictor.evaluate.supernet.stack import StackConfig, cell_space, seeded_stack
from predictor.search_spaces.base import SearchSpace

_PARTS = {"stack": StackConfig, "retraining": RetrainingConfig, "early_stopping": EarlyStopping}
_MAY_BE_NONE = ("early_stopping",)


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
            if name in settings and not (settings[name] is None and name in _MAY_BE_NONE):
                settings[name] = part(**_known(part, settings[name]))
        return DartsConfig(**_known(DartsConfig, settings))
    except (TypeError, ValueError, OverflowError, EvaluationError) as error:
        raise SearchError(f"expected settings of a differentiable search: {error}") from error


def supernet_parameters(space: SearchSpace, config: DartsConfig) -> int:
    """How many weights the supernet has for colour images of ten classes; it takes no memory.

    Raises:
        SearchError: if the space has no cells.
        EvaluationError: if a candidate cannot be built.
    """
    templates = cell_space(space).cells
    with torch.device("meta"):
        network = seeded_stack(templates, 3, 10, config.stack, MIXED, config.seed)
    return sum(weights.numel() for weights in network.parameters())


def _known(form: type[Any], given: object) -> dict[str, Any]:
    names = [field.name for field in fields(form)]
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise SearchError(f"expected an object with {', '.join(names)}, got {given!r:.80}")
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise SearchError(f"expected settings among {', '.join(names)}, got {unknown[0]!r:.80}")
    return dict(given)
