from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from predictor.errors import EvaluationError, SearchError
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.documents import darts_config, differentiable_search
from predictor.evaluate.supernet.stack import StackConfig
from predictor.search_spaces.registry import search_space

CELLS = search_space("nasbench201")


def test_settings_come_back_from_json_as_they_were() -> None:
    config = DartsConfig(epochs=7, stack=StackConfig(4, partial_channels=2), early_stopping=EarlyStopping(window=2))

    assert darts_config(json.loads(json.dumps(asdict(config)))) == config
    assert darts_config({}) == DartsConfig()


def test_a_document_names_its_data_set() -> None:
    search = differentiable_search(CELLS, {"dataset": "digits", "epochs": 3, "stack": {"stem_channels": 2}}, "cpu")

    assert search.config.epochs == 3
    assert search.dataset.name == "digits"
    assert len(search.dataset.train_labels) == 500


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "under 'dataset', got None"),
        ({"dataset": "digits", "epoch": 3}, "got 'epoch'"),
        ({"dataset": "digits", "stack": {"width": 3}}, "got 'width'"),
        ({"dataset": "digits", "stack": [8]}, "expected an object with stem_channels"),
        ({"dataset": "digits", "stack": {"stem_channels": 0}}, "positive integer"),
        ({"dataset": "digits", "epochs": "many"}, "got 'many'"),
        ({"dataset": "digits", "order": ["first"]}, "order to be one of"),
        ({"dataset": "digits", "retraining": {"batch_size": 1}}, "batch_size to be a whole number of at least 2"),
        ({"dataset": "digits", "early_stopping": {"window": "x"}}, "differentiable search"),
    ],
)
def test_documents_that_say_something_else_are_refused(document, named) -> None:
    with pytest.raises(SearchError, match=named):
        differentiable_search(CELLS, document, "cpu")


def test_a_data_set_that_is_not_there_is_said() -> None:
    with pytest.raises(EvaluationError, match="nowhere"):
        differentiable_search(CELLS, {"dataset": "nowhere"}, "cpu")
