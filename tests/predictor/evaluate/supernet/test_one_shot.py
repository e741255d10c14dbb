from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from predictor.errors import CheckpointError, EvaluationError, UnbuildableError
from predictor.evaluate.base import Interrupted, Measured, Reporter
from predictor.evaluate.examples import Examples, SplitDataset
from predictor.evaluate.registry import evaluator_from_json
from predictor.evaluate.supernet.checkpoint_files import checkpoint_file
from predictor.evaluate.supernet.images import for_evaluation, for_search
from predictor.evaluate.supernet.one_shot import ONE_SHOT_FIDELITY, OneShotEvaluator
from predictor.evaluate.supernet.shared_weights import SinglePathConfig
from predictor.evaluate.supernet.stack import StackConfig
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric, Observation, Task, lower_fidelities

CELLS = search_space("nasbench201")
CONFIG = SinglePathConfig(epochs=3, batch_size=24, stack=StackConfig(4, 1, 2))


class EndsAfter(Reporter):
    def __init__(self, calls: int) -> None:
        self.calls = calls

    def measured(self, measured: Measured) -> bool:
        return True

    def keep_alive(self) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise Interrupted


@pytest.fixture(scope="module")
def parted(few_digits) -> SplitDataset:
    train = Examples(few_digits.train_images, few_digits.train_labels)
    return SplitDataset.of("few digits", train, Examples(few_digits.test_images, few_digits.test_labels))


@pytest.fixture(scope="module")
def evaluator(parted) -> OneShotEvaluator:
    return OneShotEvaluator.trained(CELLS, parted, CONFIG)


def test_a_value_is_of_its_own_fidelity_whatever_was_asked_for(evaluator) -> None:
    architecture = CELLS.sample(np.random.default_rng(0))

    full, small = evaluator.evaluate(architecture), evaluator.evaluate(architecture, fidelity=0.3, seed=7)

    assert full.final.fidelity == small.final.fidelity == ONE_SHOT_FIDELITY
    assert full.value("accuracy", "%") == small.value("accuracy", "%")
    assert 0.0 <= full.value("accuracy", "%") <= 100.0
    assert full.final.cost_seconds > 0.0


def test_forecasts_see_one_shot_values_as_a_lower_fidelity_of_the_task(evaluator) -> None:
    task, rng = Task("nasbench201", "few digits", Metric("accuracy", "%", "maximize")), np.random.default_rng(1)
    observed = []
    for _ in range(5):
        result = evaluator.evaluate(CELLS.sample(rng))
        observed.append(Observation(CELLS.sample(rng), result.value("accuracy", "%"), fidelity=result.final.fidelity))
    trained = Observation(CELLS.sample(rng), 90.0), Observation(CELLS.sample(rng), 80.0, fidelity=1 / 9)

    levels = lower_fidelities(task, CELLS, [*observed, *trained])

    assert [len(level.measured) for level in levels] == [5, 1]
    assert all(level.task.metric == task.metric for level in levels)


@pytest.mark.parametrize("max_fidelity", [1.0, 9.0, 12.0, 200.0, 1e6])
def test_the_fidelity_survives_a_tasks_own_scale(max_fidelity) -> None:
    assert max_fidelity * ONE_SHOT_FIDELITY / max_fidelity == ONE_SHOT_FIDELITY


def test_a_document_describes_it_too(tmp_path) -> None:
    document = {
        "kind": "one_shot", "dataset": "digits", "training": {"epochs": 1, "batch_size": 200}, "stack": {"stem_channels": 2},
        "device": "cpu", "state_folder": str(tmp_path),
    }  # fmt: skip

    result = evaluator_from_json(document, CELLS).evaluate(CELLS.sample(np.random.default_rng(0)))

    assert result.final.fidelity == ONE_SHOT_FIDELITY
    with pytest.raises(EvaluationError, match="epochs to be a whole number of at least 1, got 0"):
        evaluator_from_json({**document, "training": {"epochs": 0}}, CELLS)


def test_an_architecture_of_another_space_cannot_be_built(evaluator) -> None:
    with pytest.raises(UnbuildableError):
        evaluator.evaluate(search_space("darts").sample(np.random.default_rng(0)))


def test_an_interrupted_supernet_goes_on_from_its_folder(parted, evaluator, tmp_path) -> None:
    with pytest.raises(Interrupted):
        OneShotEvaluator.trained(CELLS, parted, CONFIG, state_folder=tmp_path, reporter=EndsAfter(2))
    left = EndsAfter(2)

    resumed = OneShotEvaluator.trained(CELLS, parted, CONFIG, state_folder=tmp_path, reporter=left)

    assert left.calls == 1  # one epoch of three was left
    trained = dict(evaluator.weights.supernet.named_parameters())
    for name, value in resumed.weights.supernet.named_parameters():
        assert torch.equal(value, trained[name])


def test_another_supernet_has_a_file_of_its_own(parted, tmp_path) -> None:
    for seed in (0, 1):
        OneShotEvaluator.trained(CELLS, parted, replace(CONFIG, epochs=1, seed=seed), state_folder=tmp_path)

    assert len(list(tmp_path.iterdir())) == 2


def test_a_search_never_sees_the_test_part_and_an_evaluation_neither(parted, few_digits) -> None:
    searched, evaluated = for_search(parted), for_evaluation(parted)

    assert len(searched.train_labels) == len(few_digits.train_labels)
    assert torch.equal(searched.test_labels, few_digits.test_labels)
    assert len(evaluated.train_labels) + len(evaluated.test_labels) == len(few_digits.train_labels)


def test_a_checkpoint_that_cannot_be_read_is_said(tmp_path) -> None:
    (tmp_path / "folder.safetensors").mkdir()

    with pytest.raises(CheckpointError, match="readable checkpoint"):
        checkpoint_file(tmp_path / "folder.safetensors")
    assert checkpoint_file(tmp_path / "missing").last is None
    checkpoint_file(tmp_path / "new" / "file").save(b"content")
    assert checkpoint_file(tmp_path / "new" / "file").last == b"content"
