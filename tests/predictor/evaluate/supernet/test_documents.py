from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from predictor.errors import EvaluationError, SearchError
from predictor.evaluate.data_sources import load_dataset
from predictor.evaluate.supernet.bilevel_loop import BilevelLoop
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.documents import darts_config, differentiable_search, supernet_parameters
from predictor.evaluate.supernet.images import for_search
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
        ({"dataset": "digits", "early_stopping": {"window": "x"}}, "window of early stopping to be a whole number"),
        ({"dataset": "digits", "early_stopping": {"window": 1.5}}, "at least 1, got 1.5"),
        ({"dataset": "digits", "early_stopping": {"ratio": "x"}}, "ratio of early stopping to be above 0, got 'x'"),
        ({"dataset": "digits", "stack": None}, "expected an object with stem_channels.* got None"),
        ({"dataset": "digits", "retraining": None}, "expected an object with epochs.* got None"),
        ({"dataset": "digits", "normalises_edges": "no"}, "normalises_edges to be true or false, got 'no'"),
    ],
)
def test_documents_that_say_something_else_are_refused(document, named) -> None:
    with pytest.raises(SearchError, match=named):
        differentiable_search(CELLS, document, "cpu")


def test_the_size_of_a_supernet_is_known_before_it_is_made() -> None:
    config = DartsConfig(stack=StackConfig(4, 1, 2))
    photos = for_search(load_dataset("photo_regions"))  # of colours, but of twelve classes
    made = BilevelLoop(CELLS, photos, config)

    num_more = 2 * (made.supernet.classifier.in_features + 1)
    assert supernet_parameters(CELLS, config) == sum(one.numel() for one in made.supernet.parameters()) - num_more
    with pytest.raises(SearchError, match="of cells, whose edges a supernet can mix, got 'graph'"):
        supernet_parameters(search_space("graph"), config)


def test_a_data_set_that_is_not_there_is_said() -> None:
    with pytest.raises(EvaluationError, match="nowhere"):
        differentiable_search(CELLS, {"dataset": "nowhere"}, "cpu")
