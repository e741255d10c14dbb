from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from predictor.errors import EvaluationError, NotInSpaceError, SearchError
from predictor.evaluate.supernet.bilevel_loop import BilevelLoop
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.shared_weights import SinglePathConfig, SinglePathTraining, recalibrate
from predictor.evaluate.supernet.stack import StackConfig
from predictor.search_spaces.registry import search_space

CELLS = search_space("nasbench201")
CONFIG = SinglePathConfig(epochs=40, batch_size=20, learning_rate=0.1, stack=StackConfig(4, 1, 2))
NOTHING = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


@pytest.fixture(scope="module")
def trained(few_digits) -> SinglePathTraining:
    training = SinglePathTraining(CELLS, few_digits, CONFIG)
    training.run()
    return training


def test_inherited_weights_are_worth_something_without_training(few_digits, trained) -> None:
    rng = np.random.default_rng(0)
    drawn = [CELLS.sample(rng) for _ in range(12)]
    raw = SinglePathTraining(CELLS, few_digits, CONFIG).weights()

    before, after = (np.mean([one.accuracy_percent(cell) for cell in drawn]) for one in (raw, trained.weights()))

    assert after > before + 4.0  # the same cells, before and after the supernet's training
    assert trained.weights().accuracy_percent(CELLS.parse(NOTHING)) < 20.0  # chance: 10


def test_the_same_architecture_has_one_value_and_asking_changes_no_weights(trained) -> None:
    weights, architecture = trained.weights(), CELLS.sample(np.random.default_rng(3))
    before = {name: value.clone() for name, value in trained.network.state_dict().items()}

    first, second = weights.accuracy_percent(architecture), weights.accuracy_percent(architecture)

    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in trained.network.state_dict().items())


def test_statistics_are_the_plain_mean_over_all_images() -> None:
    images = torch.randn(40, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0
    network = nn.Sequential(nn.BatchNorm2d(2))

    recalibrate(network, images, at_once=20)

    norm = network[0]
    variances = torch.stack([half.var(dim=(0, 2, 3)) for half in images.split(20)])
    torch.testing.assert_close(norm.running_mean, images.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, variances.mean(dim=0))
    assert not network.training


def test_what_is_not_on_the_sampled_path_stays_as_it_was(few_digits) -> None:
    one_step = replace(few_digits, train_images=few_digits.train_images[:20], train_labels=few_digits.train_labels[:20])
    training = SinglePathTraining(CELLS, one_step, replace(CONFIG, epochs=1))
    before = {name: value.clone() for name, value in training.network.named_parameters()}

    training.run()

    moved = {
        name.split(".")[3]
        for name, value in training.network.named_parameters()
        if ".operations." in name and not torch.equal(value, before[name])
    }
    assert 1 <= len(moved) <= 6  # at most one operation on each edge


def test_a_resumed_training_ends_as_one_that_was_never_interrupted(few_digits) -> None:
    whole, half, rest = (SinglePathTraining(CELLS, few_digits, replace(CONFIG, epochs=4)) for _ in range(3))

    whole.run()
    half.run(lambda record: record["epoch"] < 2)
    rest.load_bytes(half.to_bytes())
    rest.run()

    assert rest.history == whole.history
    for one, other in zip(rest.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_weights_of_a_differentiable_search_can_be_asked_too(few_digits, parts) -> None:
    loop = BilevelLoop(CELLS, few_digits, DartsConfig(epochs=1, batch_size=60, stack=StackConfig(4, 1, 2, parts)))
    loop.run()
    cell = CELLS.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|")

    network = loop.shared_weights().network(cell)

    images = few_digits.test_images
    path = loop.cells.selection_of(cell)
    torch.testing.assert_close(network.train()(images), loop.supernet(images, path))


def test_what_cannot_be_asked_or_trained_is_said(few_digits, trained) -> None:
    with pytest.raises(NotInSpaceError):
        trained.weights().accuracy_percent(search_space("darts").sample(np.random.default_rng(0)))
    with pytest.raises(SearchError, match="search space of cells"):
        SinglePathTraining(search_space("fbnet"), few_digits, CONFIG)
    with pytest.raises(EvaluationError, match="epochs to be a whole number of at least 1"):
        SinglePathConfig(epochs=0)
    with pytest.raises(EvaluationError, match="learning_rate to be above 0"):
        SinglePathConfig(learning_rate=-1.0)
