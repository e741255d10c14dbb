from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from predictor import checkpoint
from predictor.errors import CheckpointError, EvaluationError, SearchError
from predictor.evaluate.supernet.bilevel_loop import BilevelLoop
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.loop import TrainingCheckpoints
from predictor.evaluate.supernet.retraining import Retraining, RetrainingConfig
from predictor.evaluate.supernet.search import RETRAINING, SEARCHING, DartsProgress, DartsResult, DifferentiableSearch
from predictor.evaluate.supernet.stack import StackConfig
from predictor.search_spaces.registry import search_space

SMALL = DartsConfig(
    epochs=3, batch_size=30, architecture_rate=0.1, stack=StackConfig(4, 1, 2), retraining=RetrainingConfig(2, 40)
)
GUARDED = replace(
    SMALL,
    order="second",
    normalises_edges=True,
    warmup_epochs=1,
    stack=StackConfig(4, 1, 2, partial_channels=2),
    early_stopping=EarlyStopping(window=1, distance=1, ratio=0.01, iterations=2),
)
CELLS = search_space("nasbench201")


def run(config, dataset, space=CELLS, stop_after: int = 100, last: bytes | None = None):
    """The result, what was reported and the last checkpoint."""
    told: list[DartsProgress] = []
    saved: list[bytes] = []

    def report(progress: DartsProgress) -> bool:
        told.append(progress)
        return len(told) < stop_after

    search = DifferentiableSearch(space, dataset, config, "cpu")
    return search.run(report, TrainingCheckpoints(saved.append, last)), told, saved


def same(one: DartsResult, other: DartsResult) -> bool:
    return one == other and one.architecture.genotype == other.architecture.genotype


@pytest.fixture(scope="module")
def whole(few_digits) -> dict[str, DartsResult]:
    return {"plain": run(SMALL, few_digits)[0], "guarded": run(GUARDED, few_digits)[0]}


def test_a_search_ends_with_an_architecture_of_the_space_and_its_retrained_accuracy(whole) -> None:
    result = whole["plain"]

    assert CELLS.parse(result.architecture.genotype) == result.architecture
    assert result.is_finished
    assert [record["epoch"] for record in result.history] == [1, 2, 3]
    assert result.accuracy_percent == result.retraining[-1]["accuracy_percent"]
    assert 0.0 <= result.accuracy_percent <= 100.0
    assert result.went_back_to is None


def test_the_mixture_learns(few_digits) -> None:
    loop = BilevelLoop(CELLS, few_digits, replace(SMALL, epochs=20, batch_size=20, learning_rate=0.1))
    before = [tensor.detach().clone() for tensor in loop.parameters.tensors]

    loop.run()

    assert loop.history[-1]["train_loss"] < loop.history[0]["train_loss"]
    assert loop.history[-1]["validation_accuracy_percent"] > 20.0  # chance: 10
    assert not torch.allclose(before[0], loop.parameters.tensors[0].detach(), atol=0.05)


def test_a_darts_search_decodes_both_cells(few_digits) -> None:
    space = search_space("darts")
    config = replace(GUARDED, epochs=2, stack=StackConfig(2, 1, 2, 2), batch_size=60, early_stopping=None)

    result, _, _ = run(replace(config, retraining=RetrainingConfig(1, 60)), few_digits, space)

    assert space.format(result.architecture) == result.architecture.genotype
    assert result.is_finished
    assert result.history[-1]["genotype"] == result.architecture.genotype


@pytest.mark.parametrize("kind", ["plain", "guarded"])
@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_resumed_search_ends_as_one_that_was_never_interrupted(few_digits, whole, kind, stop_after) -> None:
    config = {"plain": SMALL, "guarded": GUARDED}[kind]
    stopped, told, saved = run(config, few_digits, stop_after=stop_after)

    resumed, told_after, _ = run(config, few_digits, last=saved[-1])

    assert not stopped.is_finished
    assert same(resumed, whole[kind])
    assert told[-1].stage == (SEARCHING if stop_after == 1 else RETRAINING)
    assert len(told) + len(told_after) == 5


def test_a_search_that_is_asked_to_end_answers_with_what_it_has(few_digits, whole) -> None:
    stopped, told, _ = run(SMALL, few_digits, stop_after=2)

    assert stopped.architecture.genotype == whole["plain"].history[1]["genotype"]
    assert stopped.accuracy_percent is None
    assert [progress.percent for progress in told] == [20.0, 40.0]


def test_another_seed_searches_otherwise(few_digits, whole) -> None:
    other, _, _ = run(replace(SMALL, seed=1), few_digits)

    assert other.history[0]["train_loss"] != whole["plain"].history[0]["train_loss"]


def test_curvature_that_grows_ends_the_search_and_takes_the_architecture_of_before(few_digits) -> None:
    config = replace(SMALL, epochs=30, retraining=RetrainingConfig(0))
    config = replace(config, early_stopping=EarlyStopping(window=1, distance=1, ratio=0.999, iterations=3))

    result, _, _ = run(config, few_digits)

    eigenvalues = [record["eigenvalue"] for record in result.history]
    assert result.is_finished
    assert len(eigenvalues) < 30
    assert 0.999 * eigenvalues[-1] > eigenvalues[-2]
    assert result.went_back_to == len(eigenvalues) - 2
    assert result.architecture.genotype == result.history[-2]["genotype"]


def test_while_weights_warm_up_the_architecture_stands_still(few_digits) -> None:
    loop = BilevelLoop(CELLS, few_digits, replace(SMALL, epochs=2, warmup_epochs=1))
    before = [tensor.detach().clone() for tensor in loop.parameters.tensors]

    loop.run(lambda _record: False)
    after_one = [tensor.detach().clone() for tensor in loop.parameters.tensors]
    loop.run()

    assert all(torch.equal(one, other) for one, other in zip(before, after_one, strict=True))
    assert not torch.equal(after_one[0], loop.parameters.tensors[0])


def test_a_retraining_starts_from_scratch_whatever_it_was_resumed_from(few_digits) -> None:
    architecture = CELLS.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
    whole, half, rest = (
        Retraining(CELLS, architecture, few_digits, StackConfig(4), RetrainingConfig(3, 40), seed=5) for _ in range(3)
    )

    whole.run()
    half.run(lambda record: record["epoch"] < 2)
    rest.load_bytes(half.to_bytes())
    rest.run()

    assert rest.history == whole.history
    for one, other in zip(rest.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_something_else_is_refused(few_digits) -> None:
    _, _, saved = run(SMALL, few_digits, stop_after=1)

    with pytest.raises(CheckpointError, match="same space, data set and settings"):
        run(replace(SMALL, seed=2), few_digits, last=saved[-1])
    with pytest.raises(CheckpointError, match="same space, data set and settings"):
        run(SMALL, replace(few_digits, test_labels=few_digits.test_labels.flip(0)), last=saved[-1])
    with pytest.raises(CheckpointError, match="checkpoint of a training"):
        run(SMALL, few_digits, last=checkpoint.to_bytes({"weights": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="safetensors"):
        run(SMALL, few_digits, last=b"not at all")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"epochs": 0}, "epochs to be a whole number of at least 1, got 0"),
        ({"order": "third"}, "order to be one of first, second, second_exact, got 'third'"),
        ({"batch_size": 1}, "batch_size to be a whole number of at least 2"),
        ({"learning_rate": 0.0}, "learning_rate to be above 0"),
        ({"architecture_rate": float("nan")}, "architecture_rate to be above 0, got nan"),
        ({"momentum": -0.1}, "momentum to be at least 0"),
        ({"epochs": 2.5}, "epochs to be a whole number of at least 1, got 2.5"),
        ({"warmup_epochs": 50}, "fewer warmup_epochs than the 50 epochs, got 50"),
    ],
)
def test_settings_that_cannot_be_searched_with_are_named(settings, named) -> None:
    with pytest.raises(SearchError, match=named):
        DartsConfig(**settings)


def test_what_cannot_be_searched_is_said(few_digits) -> None:
    with pytest.raises(SearchError, match=r"search space of cells.*'mnasnet'"):
        DifferentiableSearch(search_space("mnasnet"), few_digits, SMALL)
    one_image = replace(few_digits, train_images=few_digits.train_images[:3], train_labels=few_digits.train_labels[:3])
    with pytest.raises(SearchError, match="at least 4 training images, two for each half, got 3"):
        DifferentiableSearch(CELLS, one_image, SMALL)
    with pytest.raises(EvaluationError, match="max_learning_rate to be above 0"):
        RetrainingConfig(max_learning_rate=0.0)


def test_a_training_that_diverges_says_so(few_digits) -> None:
    broken = replace(few_digits, train_images=few_digits.train_images * float("inf"))

    with pytest.raises(SearchError, match="finite training loss"):
        run(SMALL, broken)


def test_a_search_that_is_left_in_the_middle_of_an_epoch_goes_on_from_the_one_before(few_digits, whole) -> None:
    class Left(Exception):  # noqa: N818  no error: somebody asked for it
        pass

    saved: list[bytes] = []
    for num_batches in (1, 8, 3):  # in the first epoch, a few later, and sooner after that
        left = [None] * num_batches

        def leave(left: list[None] = left) -> None:
            if not left:
                raise Left
            left.pop()

        checkpoints = TrainingCheckpoints(saved.append, saved[-1] if saved else None)
        search = DifferentiableSearch(CELLS, few_digits, SMALL, "cpu")
        with pytest.raises(Left):
            search.run(checkpoints=checkpoints, on_batch=leave)
    assert saved, "expected to come further than one epoch"

    assert same(run(SMALL, few_digits, last=saved[-1])[0], whole["plain"])
