from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from predictor.meta import cross_fitting
from predictor.meta.cross_fitting import MIN_FOR_FOLDS, believable, cross_fitted
from predictor.meta.inner_loop import InnerLoopConfig, initial_log_step_sizes, inner_loop
from predictor.surrogate.surrogate import Surrogate, SurrogateInputs

TOLERANCE = 1e-5  # float32 carries 7 digits; several folds at once and one alone differ in the last ones
RANKING_WEIGHT = 0.5
NUM_STEPS = 3


def targets_of(count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(4))


def steps_of(surrogate: Surrogate, size: float = 0.05) -> Tensor:
    return initial_log_step_sizes(surrogate, InnerLoopConfig(num_steps=NUM_STEPS, initial_step_size=size))


def fitted(surrogate: Surrogate, inputs: SurrogateInputs, targets: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    initial = dict(surrogate.named_parameters())
    return cross_fitted(surrogate, initial, steps_of(surrogate), inputs, targets, RANKING_WEIGHT)


def adapted(surrogate: Surrogate, inputs: SurrogateInputs, targets: Tensor, weights: Tensor) -> Mapping[str, Tensor]:
    initial = {name: value.detach() for name, value in surrogate.named_parameters()}
    with torch.no_grad():
        return inner_loop(surrogate, initial, steps_of(surrogate), inputs, targets, weights, RANKING_WEIGHT)


def mean_of(surrogate: Surrogate, parameters: Mapping[str, Tensor], inputs: SurrogateInputs) -> Tensor:
    with torch.no_grad():
        mean: Tensor = functional_call(surrogate, dict(parameters), inputs.tensors())[0]
    return mean


@pytest.mark.parametrize("count", [1, MIN_FOR_FOLDS - 1, MIN_FOR_FOLDS, 7, 25])
def test_the_parameters_are_those_of_the_inner_loop_on_everything(tiny_surrogate, inputs_of, cells, count) -> None:
    inputs, targets = inputs_of(cells[:count]), targets_of(count)

    found, _ = fitted(tiny_surrogate, inputs, targets)

    expected = adapted(tiny_surrogate, inputs, targets, torch.ones(count))
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=TOLERANCE, rtol=0)
    initial = dict(tiny_surrogate.named_parameters())
    assert max(float((found[name] - initial[name]).detach().abs().max()) for name in found) > 10 * TOLERANCE


@pytest.mark.parametrize("count", [MIN_FOR_FOLDS, 9, 24])
def test_the_mean_of_an_observation_does_not_depend_on_its_own_target(tiny_surrogate, inputs_of, cells, count) -> None:
    inputs, targets = inputs_of(cells[:count]), targets_of(count)
    _, before = fitted(tiny_surrogate, inputs, targets)

    for changed in range(count):
        other = targets.clone()
        other[changed] += 3.0
        _, after = fitted(tiny_surrogate, inputs, other)

        assert float((after[changed] - before[changed]).abs()) < TOLERANCE
        moved = (after - before).abs() > 10 * TOLERANCE
        assert int(moved.sum()) >= count - -(-count // min(count, 10))  # all but those of its own fold


@pytest.mark.parametrize(("count", "num_folds"), [(4, 4), (9, 9), (10, 10), (24, 8), (60, 4)])
def test_each_observation_is_left_out_with_its_fold_alone(tiny_surrogate, inputs_of, cells, count, num_folds) -> None:
    inputs, targets = inputs_of(cells[:count]), targets_of(count)
    fold = torch.randperm(count, generator=torch.Generator().manual_seed(0)) % num_folds

    _, found = fitted(tiny_surrogate, inputs, targets)

    for number in range(num_folds):
        without = adapted(tiny_surrogate, inputs, targets, (fold != number).float())
        expected = mean_of(tiny_surrogate, without, inputs)
        torch.testing.assert_close(found[fold == number], expected[fold == number], atol=TOLERANCE, rtol=0)


def test_too_few_observations_to_leave_any_out_have_the_mean_of_everything(tiny_surrogate, inputs_of, cells) -> None:
    inputs, targets = inputs_of(cells[: MIN_FOR_FOLDS - 1]), targets_of(MIN_FOR_FOLDS - 1)

    parameters, found = fitted(tiny_surrogate, inputs, targets)

    torch.testing.assert_close(found, mean_of(tiny_surrogate, parameters, inputs), atol=TOLERANCE, rtol=0)


def test_observations_that_the_inner_loop_does_not_look_at_have_the_mean_of_all_that_it_does(
    tiny_surrogate, inputs_of, cells, monkeypatch
) -> None:
    monkeypatch.setattr(cross_fitting, "_MAX_ADAPTED", 8)
    inputs, targets = inputs_of(cells[:20]), targets_of(20)

    parameters, found = fitted(tiny_surrogate, inputs, targets)

    looked_at = (torch.arange(20) < 8).float()
    expected = adapted(tiny_surrogate, inputs, targets, looked_at)
    for name, value in expected.items():
        torch.testing.assert_close(parameters[name], value, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(found[8:], mean_of(tiny_surrogate, expected, inputs)[8:], atol=TOLERANCE, rtol=0)


def test_folds_one_after_the_other_give_what_all_at_once_give(tiny_surrogate, inputs_of, cells, monkeypatch) -> None:
    inputs, targets = inputs_of(cells[:12]), targets_of(12)
    at_once, means = fitted(tiny_surrogate, inputs, targets)

    monkeypatch.setattr(cross_fitting, "_MAX_NODE_PAIRS", 12 * inputs.nodes.shape[1] ** 2)
    in_turn, means_in_turn = fitted(tiny_surrogate, inputs, targets)

    torch.testing.assert_close(means_in_turn, means, atol=TOLERANCE, rtol=0)
    for name, value in at_once.items():
        torch.testing.assert_close(in_turn[name], value, atol=TOLERANCE, rtol=0)


def test_many_observations_are_asked_of_the_fold_that_left_them_out(
    tiny_surrogate, inputs_of, cells, monkeypatch
) -> None:
    monkeypatch.setattr(cross_fitting, "_MAX_ADAPTED", 30)
    inputs, targets = inputs_of(cells[:60]), targets_of(60)
    _, at_once = fitted(tiny_surrogate, inputs, targets)

    monkeypatch.setattr(cross_fitting, "_MAX_ASKED_AT_ONCE", 59)
    _, in_turn = fitted(tiny_surrogate, inputs, targets)

    torch.testing.assert_close(in_turn, at_once, atol=TOLERANCE, rtol=0)
    assert len(set(in_turn.tolist())) == 60


def test_a_fold_that_diverges_answers_from_the_initial_parameters(tiny_surrogate, inputs_of, cells) -> None:
    inputs, targets = inputs_of(cells[:6]), targets_of(6)
    initial = {name: value.detach() for name, value in tiny_surrogate.named_parameters()}
    steps = steps_of(tiny_surrogate, size=1e30)

    parameters, found = cross_fitted(tiny_surrogate, initial, steps, inputs, targets, RANKING_WEIGHT)

    expected = mean_of(tiny_surrogate, initial, inputs)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    for name, value in initial.items():
        assert torch.equal(parameters[name], value)


def test_means_beyond_belief_are_bounded() -> None:
    strange = torch.tensor([float("nan"), float("inf"), -float("inf"), 21.0, -3.0])

    assert believable(strange).tolist() == [0.0, 20.0, -20.0, 20.0, -3.0]
