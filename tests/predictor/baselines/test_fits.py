"""The mathematics of the baselines against closed forms and hand-made examples."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from predictor.architecture import Architecture, Operation
from predictor.baselines.bananas import paths
from predictor.baselines.complexity import Complexity
from predictor.baselines.features import Features
from predictor.baselines.fsbo import FSBOConfig, _initial, _latent, _negative_evidence, _noisy
from predictor.baselines.linear_fits import PENALTIES, LineFit, RidgeFit
from predictor.baselines.maml import _forward, _inner_loop
from predictor.baselines.profiled_process import ProfiledProcess
from predictor.baselines.standardised import residual_std
from predictor.baselines.universal_prior import UNIVERSAL_COLUMNS
from predictor.baselines.wl_process import SubtreeKernel, SubtreeLabels
from predictor.benchmarks.base import BenchmarkTask
from predictor.search_spaces.registry import search_space
from predictor.surrogate.standardisation import normal_scores
from predictor.tasks import Metric, SupportSet, Task

INPUT, OUTPUT = Operation.of("input"), Operation.of("output")
CONV1, CONV3 = Operation.of("conv", kernel_size=1), Operation.of("conv", kernel_size=3)
POOL = Operation.of("avg_pool", kernel_size=3)
DIAMOND = Architecture.build([INPUT, CONV1, CONV3, OUTPUT], [(0, 1), (0, 2), (1, 3), (2, 3)])


def _numbers(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(3).normal(size=shape)


def test_ridge_solves_the_normal_equations() -> None:
    inputs, targets = _numbers(12, 5), _numbers(12)

    fit = RidgeFit.fit(inputs, targets, penalties=(0.7,))

    centred = inputs - inputs.mean(axis=0)
    expected = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(5), centred.T @ (targets - targets.mean()))
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-9)
    np.testing.assert_allclose(fit.predict(inputs[:3]), targets.mean() + centred[:3] @ expected, rtol=1e-9)


def test_ridge_knows_what_the_others_say_of_each_observation() -> None:
    inputs, targets = _numbers(9, 4), _numbers(9)

    fit = RidgeFit.fit(inputs, targets, penalties=(0.5,))

    others = [np.arange(9) != row for row in range(9)]
    said = [RidgeFit.fit(inputs[o], targets[o], (0.5,)).predict(inputs[~o])[0] for o in others]
    np.testing.assert_allclose(fit.left_out, said, rtol=1e-9)


def test_ridge_picks_the_penalty_of_the_least_left_out_error() -> None:
    inputs = _numbers(30, 3)
    exact = RidgeFit.fit(inputs, inputs @ np.array([1.0, -2.0, 0.5]))

    assert exact.penalty == min(PENALTIES)


def test_a_line_without_observations_is_its_prior() -> None:
    mean, std = LineFit.fit(np.zeros(0), np.zeros(0), slope=0.5, slope_std=0.2).predict(np.array([-1.0, 2.0]))

    np.testing.assert_allclose(mean, [-0.5, 1.0])
    np.testing.assert_allclose(std, np.sqrt([1 + 1 + 0.04, 1 + 1 + 0.16]))  # noise, intercept, slope


def test_many_observations_overrule_the_slope_that_was_expected() -> None:
    scores = _numbers(400)

    fit = LineFit.fit(scores, -0.8 * scores, slope=0.5, slope_std=0.5)

    assert fit.weights[1] == pytest.approx(-0.8, abs=0.01)


def test_a_process_agrees_with_its_closed_form() -> None:
    points, targets = _numbers(8, 2), _numbers(8)
    asked = points[:3] + 0.1
    kernel = np.exp(-0.5 * np.square(points[:, None] - points[None]).sum(-1))
    across = np.exp(-0.5 * np.square(asked[:, None] - points[None]).sum(-1))

    fit = ProfiledProcess.fit(kernel, targets)
    mean, std = fit.predict(across, np.ones(3))

    noisy = kernel + fit.noise_ratio * np.eye(8)
    amplitude = (1 + 0.5 * targets @ np.linalg.solve(noisy, targets)) / (1 + 8 / 2)
    variance = amplitude * (1 + fit.noise_ratio - np.diag(across @ np.linalg.solve(noisy, across.T)))
    np.testing.assert_allclose(mean, across @ np.linalg.solve(noisy, targets), rtol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(variance), rtol=1e-6)


def test_evidence_prefers_the_kernel_that_drew_the_targets() -> None:
    points = _numbers(60, 1)
    near = np.exp(-0.5 * np.square(points - points.T))
    targets = np.linalg.cholesky(near + 1e-6 * np.eye(60)) @ np.random.default_rng(0).normal(size=60)

    right, wrong = ProfiledProcess.fit(near, targets), ProfiledProcess.fit(np.eye(60), targets)

    assert right.log_evidence > wrong.log_evidence + 10


def test_a_deep_kernel_has_the_evidence_of_its_normal_distribution() -> None:
    parameters = _initial(5, 0, FSBOConfig(width=8, num_latent=3))
    inputs, targets = torch.from_numpy(_numbers(7, 5)), torch.from_numpy(_numbers(7))

    found = _negative_evidence(parameters, inputs, targets)

    covariance = _noisy(parameters, _latent(parameters, inputs))
    normal = torch.distributions.MultivariateNormal(torch.zeros(7, dtype=torch.float64), covariance)
    expected = -float(normal.log_prob(targets)) / 7 - 0.5 * np.log(2 * np.pi)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def _network() -> dict[str, torch.Tensor]:
    shapes = {
        "weight_0": (3, 4),
        "bias_0": (4,),
        "weight_1": (4, 4),
        "bias_1": (4,),
        "weight_2": (4, 1),
        "bias_2": (1,),
    }
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


@pytest.mark.parametrize("moving", [tuple(_network()), ("weight_2", "bias_2")])
def test_an_inner_step_follows_the_gradient_and_moves_nothing_else(moving: tuple[str, ...]) -> None:
    parameters = {name: value.requires_grad_() for name, value in _network().items()}
    inputs, targets = torch.from_numpy(_numbers(6, 3)), torch.from_numpy(_numbers(6))
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    steps = {name: torch.tensor(0.1, dtype=torch.float64).log() for name in moving}

    stepped = _inner_loop(parameters, steps, inputs, targets, weights, num_steps=1)

    loss = (weights * (_forward(parameters, inputs) - targets).square()).sum() / 5
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    for name, value in parameters.items():
        expected = value - 0.1 * gradients[name] if name in moving else value
        torch.testing.assert_close(stepped[name], expected)


def test_isomorphic_graphs_are_alike_and_others_are_less_so() -> None:
    relabelled = Architecture.build([OUTPUT, CONV3, INPUT, CONV1], [(2, 1), (2, 3), (1, 0), (3, 0)])
    chain = Architecture.build([INPUT, CONV1, CONV3, OUTPUT], [(0, 1), (1, 2), (2, 3)])
    assert relabelled.hash == DIAMOND.hash

    first, second = SubtreeLabels(), SubtreeLabels()
    kernel = SubtreeKernel.of(first, [DIAMOND], rounds=2)([DIAMOND, chain])
    other = SubtreeKernel.of(second, [relabelled], rounds=2)([relabelled, chain])

    np.testing.assert_allclose(kernel, other)
    assert kernel[0, 0] == pytest.approx(1.1)
    assert kernel[1, 0] < 1.0


def test_without_rounds_the_subtree_kernel_compares_counts_of_operations() -> None:
    pooled = Architecture.build([INPUT, CONV1, POOL, OUTPUT], [(0, 1), (1, 2), (2, 3)])

    kernel = SubtreeKernel.of(SubtreeLabels(), [DIAMOND], rounds=0)([pooled])

    assert kernel[0, 0] == pytest.approx(3 / 4 + 0.1)  # input, output and one convolution of four are shared


def test_labels_tell_the_direction_of_edges() -> None:
    forwards = Architecture.build([CONV1, CONV1, CONV3], [(0, 2), (1, 2)])
    backwards = Architecture.build([CONV1, CONV1, CONV3], [(2, 0), (2, 1)])
    labels = SubtreeLabels()

    assert labels.counts(forwards)[0] == labels.counts(backwards)[0]
    assert labels.counts(forwards)[1] != labels.counts(backwards)[1]


def test_paths_run_from_input_to_output() -> None:
    assert paths(DIAMOND) == {(CONV1.key,), (CONV3.key,)}


def test_universal_numbers_are_the_columns_that_they_say() -> None:
    told = Features().raw_statistics([DIAMOND])[0, list(UNIVERSAL_COLUMNS)]

    longest, shortest, ways, deepest, edges = told[0], told[1], told[7], told[8], told[9]
    kernel_1, kernel_3, kernel_5 = told[10], told[11], told[12]
    assert (longest, shortest) == (1.0, 1.0)  # log2(1 + one operation on either way)
    assert ways == pytest.approx(np.log2(3) / 2)
    assert deepest == pytest.approx(np.log2(3))
    assert edges == pytest.approx(np.log2(5))
    assert (kernel_1, kernel_3, kernel_5) == (1.0, 1.0, 0.0)


def test_universal_numbers_count_pools_and_skips() -> None:
    operations = [INPUT, POOL, Operation.of("identity"), Operation.of("identity"), OUTPUT]
    chain = Architecture.build(operations, [(0, 1), (1, 2), (2, 3), (3, 4)])

    identity, avg_pool, max_pool = Features().raw_statistics([chain])[0, list(UNIVERSAL_COLUMNS[-3:])]

    assert (identity, avg_pool, max_pool) == (pytest.approx(np.log2(3)), 1.0, 0.0)


def test_normal_scores_share_the_rank_of_equal_values() -> None:
    scores = normal_scores(np.array([5.0, 1.0, 5.0, 9.0]))

    assert scores[0] == scores[2] == pytest.approx(0.0)
    assert scores[1] == -scores[3]


def test_the_spread_of_no_errors_is_one() -> None:
    assert residual_std(np.zeros(0)) == 1.0


@pytest.mark.parametrize(
    ("metric", "larger_is_better"),
    [
        (Metric("accuracy", "%", "maximize"), True),
        (Metric("validation_loss", "nats", "minimize"), True),
        (Metric("latency_ms", "ms", "minimize"), False),
        (Metric("throughput", "images/s", "maximize"), False),
    ],
)
def test_more_parameters_mean_more_quality_and_more_cost(metric: Metric, larger_is_better: bool) -> None:
    small, large = Architecture.build([INPUT], []), DIAMOND
    baseline = Complexity({small.hash: 1.0, large.hash: 2.0})

    found = baseline.adapt(Task("graph", "any", metric), search_space("graph"), SupportSet()).predict([small, large])

    better = metric.sign * found.mean
    assert (better[1] > better[0]) == larger_is_better


def test_architectures_of_unknown_complexity_stand_in_the_middle(cells: Mapping[str, BenchmarkTask]) -> None:
    task = cells["nasbench201/digits/accuracy"]
    low, high, unknown = list({one.hash: one for one in task.architectures}.values())[:3]
    baseline = Complexity({low.hash: 1.0, high.hash: 2.0, unknown.hash: float("nan")})

    found = baseline.adapt(task.task, task.space, SupportSet()).predict([low, unknown, high])

    assert found.mean[0] < found.mean[1] < found.mean[2]
