from __future__ import annotations

import numpy as np
import pytest
import torch

from predictor.surrogate import evidence, residual_gp
from predictor.surrogate.hyperparameters import GPConfig, GPInputs
from predictor.surrogate.residual_gp import ResidualGP

SLOPE, OFFSET, NOISE = 0.4, 0.3, 0.2
WEIGHTS, LENGTHS, LINEAR = (0.7, 0.5), (1.2, 0.6), (0.3, 0.6)
JITTER = 1e-6


def raw(noise: float = NOISE) -> torch.Tensor:
    return torch.tensor([SLOPE, OFFSET, noise, 1.0, *WEIGHTS, *LENGTHS, *LINEAR], dtype=torch.float64).log()


def inputs(rng: np.random.Generator, count: int) -> GPInputs:
    return GPInputs(
        torch.from_numpy(rng.normal(size=(count, 1))),
        (torch.from_numpy(rng.normal(size=(count, 3))), torch.from_numpy(rng.normal(size=(count, 2)))),
    )


def process(
    support: GPInputs, targets: torch.Tensor, counts: np.ndarray, noise: float = NOISE, known: np.ndarray | None = None
) -> ResidualGP:
    noise_scale = torch.from_numpy(1 / np.sqrt(counts))
    return ResidualGP(raw(noise), support, targets, noise_scale, None if known is None else torch.from_numpy(known))


def kernel(support: GPInputs, first: GPInputs, second: GPInputs) -> np.ndarray:
    """Matérn kernels of smoothness 3/2 and linear ones, in units in which support architectures lie 1 apart on average."""
    total = SLOPE**2 * np.outer(first.means, second.means) + OFFSET**2
    for known, a, b, weight, length, linear in zip(
        support.views, first.views, second.views, WEIGHTS, LENGTHS, LINEAR, strict=True
    ):
        known, a, b = known.numpy(), a.numpy(), b.numpy()
        apart = [((one - other) ** 2).sum() for i, one in enumerate(known) for other in known[:i]]
        unit = np.sqrt(np.mean(apart)) if apart else 1.0
        reach = np.sqrt(3.0) * np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)) / unit / length
        placed_a, placed_b = (a - known.mean(0)) / unit, (b - known.mean(0)) / unit
        total = total + weight**2 * (1 + reach) * np.exp(-reach) + 2 * linear**2 * placed_a @ placed_b.T
    return total


def posterior(
    support,
    targets,
    counts,
    asked,
    noise: float = NOISE,
    frame: GPInputs | None = None,
    known: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The textbook formulas with explicit inverses."""
    frame = frame or support
    inverse = np.linalg.inv(kernel(frame, support, support) + np.diag(noise**2 / counts + JITTER + known))
    across = kernel(frame, support, asked)
    mean = asked.means[:, 0].numpy() + across.T @ inverse @ (targets.numpy() - support.means[:, 0].numpy())
    variance = np.diag(kernel(frame, asked, asked)) - np.einsum("sq,st,tq->q", across, inverse, across) + noise**2
    return mean, np.sqrt(variance)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_forecasts_equal_the_textbook_posterior(count) -> None:
    rng = np.random.default_rng(count)
    support, asked = inputs(rng, count), inputs(rng, 7)
    targets, counts = torch.from_numpy(rng.normal(size=count)), rng.integers(1, 5, count).astype(float)

    mean, std, _ = process(support, targets, counts).predict(asked)

    expected_mean, expected_std = posterior(support, targets, counts, asked)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-9)
    np.testing.assert_allclose(std, expected_std, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_what_is_left_open_of_several_equals_the_textbook_covariance(count) -> None:
    rng = np.random.default_rng(count)
    support, asked = inputs(rng, count), inputs(rng, 5)
    targets, counts = torch.from_numpy(rng.normal(size=count)), rng.integers(1, 5, count).astype(float)
    fitted = process(support, targets, counts)

    covariance = fitted.covariance(asked)

    inverse = np.linalg.inv(kernel(support, support, support) + np.diag(NOISE**2 / counts + JITTER))
    across = kernel(support, support, asked)
    np.testing.assert_allclose(covariance, kernel(support, asked, asked) - across.T @ inverse @ across, atol=1e-9)
    _, std, _ = fitted.predict(asked)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance) + NOISE**2), std, atol=1e-9)


def test_the_mean_that_gradients_pass_through_is_the_mean() -> None:
    rng = np.random.default_rng(5)
    support, asked = inputs(rng, 9), inputs(rng, 4)
    fitted = process(support, torch.from_numpy(rng.normal(size=9)), np.ones(9))
    views = [view.clone().requires_grad_() for view in asked.views]

    mean = fitted.differentiable_mean(GPInputs(asked.means, tuple(views)))
    (slopes,) = torch.autograd.grad(mean.sum(), views[:1])

    np.testing.assert_allclose(mean.detach(), fitted.predict(asked)[0], atol=1e-9)
    step = torch.zeros_like(asked.views[0])
    step[2, 1] = 1e-6
    moved = fitted.predict(GPInputs(asked.means, (asked.views[0] + step, asked.views[1])))[0]
    assert float(slopes[2, 1]) == pytest.approx(float((moved - mean.detach()).sum()) / 1e-6, abs=1e-5)


def test_leave_one_out_errors_equal_those_of_leaving_each_out_in_turn() -> None:
    rng = np.random.default_rng(0)
    support, targets, counts = (
        inputs(rng, 8),
        torch.from_numpy(rng.normal(size=8)),
        np.array([1.0, 2, 1, 4, 1, 1, 3, 1]),
    )

    found = process(support, targets, counts).leave_one_out()

    for left_out in range(8):
        rest = torch.tensor([row for row in range(8) if row != left_out])
        asked = support.select(torch.tensor([left_out]))
        mean, std = posterior(support.select(rest), targets[rest], counts[rest.numpy()], asked, frame=support)
        own = np.sqrt(std**2 - NOISE**2 + NOISE**2 / counts[left_out] + JITTER)  # its own measurements, not one new one
        assert float(found[left_out]) == pytest.approx(float((targets[left_out] - mean[0]) / own[0]), abs=1e-8)


def test_known_errors_add_to_the_noise_of_their_observations_and_not_to_that_of_a_new_measurement() -> None:
    rng = np.random.default_rng(17)
    support, asked, targets = inputs(rng, 9), inputs(rng, 7), torch.from_numpy(rng.normal(size=9))
    counts, known = rng.integers(1, 5, 9).astype(float), rng.uniform(0, 4, 9)

    mean, std, _ = process(support, targets, counts, known=known).predict(asked)

    expected_mean, expected_std = posterior(support, targets, counts, asked, known=known)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-9)
    np.testing.assert_allclose(std, expected_std, atol=1e-9)


def test_leave_one_out_errors_allow_for_the_known_error_of_what_is_left_out() -> None:
    rng = np.random.default_rng(18)
    support, targets, known = inputs(rng, 6), torch.from_numpy(rng.normal(size=6)), rng.uniform(0, 4, 6)

    found = process(support, targets, np.ones(6), known=known).leave_one_out()

    for left_out in range(6):
        rest = torch.tensor([row for row in range(6) if row != left_out])
        asked = support.select(torch.tensor([left_out]))
        mean, std = posterior(
            support.select(rest), targets[rest], np.ones(5), asked, frame=support, known=known[rest.numpy()]
        )
        own = np.sqrt(std**2 + JITTER + known[left_out])
        assert float(found[left_out]) == pytest.approx(float((targets[left_out] - mean[0]) / own[0]), abs=1e-8)


def test_ordinary_observations_are_those_whose_known_error_is_within_the_noise() -> None:
    rng = np.random.default_rng(21)
    known = np.array([0.0, 0.9, 1.1, 25.0]) * NOISE**2

    found = process(inputs(rng, 4), torch.from_numpy(rng.normal(size=4)), np.ones(4), known=known).is_ordinary

    assert found.tolist() == [True, True, False, False]


def test_a_process_that_is_told_which_half_is_uncertain_fits_the_other_half() -> None:
    rng = np.random.default_rng(19)
    view = torch.from_numpy(rng.uniform(-1, 1, (120, 2)))
    everything = GPInputs(torch.zeros(120, 1, dtype=torch.float64), (view,))
    truth = torch.sin(3.0 * view[:, 0]) + view[:, 1]
    known, asked = everything.select(slice(0, 60)), everything.select(slice(60, 120))
    errors = torch.tensor([0.0, 3.0], dtype=torch.float64).repeat(30)
    targets = truth[:60] + errors * torch.from_numpy(rng.normal(size=60))

    told = ResidualGP.fit(known, targets, torch.ones(60), known_variance=errors.square())
    blind = ResidualGP.fit(known, targets, torch.ones(60))
    without = ResidualGP.fit(known.select(slice(0, 60, 2)), targets[::2], torch.ones(30))

    def off(gp: ResidualGP) -> float:
        return float((gp.predict(asked)[0] - truth[60:]).square().mean().sqrt())

    assert off(told) < 0.5 * off(blind)
    assert off(told) == pytest.approx(off(without), abs=0.05)  # errors of 3 tell next to nothing
    fitted = told.predict(known)[0]
    assert float((fitted - targets)[::2].abs().max()) < 0.2
    assert float((fitted - truth[:60])[1::2].square().mean().sqrt()) < 0.3  # the values there are off by 3
    assert float(told.raw[2].exp()) < 0.2 < 0.5 < float(blind.raw[2].exp())  # the noise that is left to learn


def test_known_errors_of_0_change_nothing_to_the_last_digit() -> None:
    rng = np.random.default_rng(20)
    support, asked, targets = inputs(rng, 12), inputs(rng, 5), torch.from_numpy(rng.normal(size=12))
    nothing = torch.zeros(12, dtype=torch.float64)

    untold = ResidualGP.fit(support, targets, torch.ones(12))
    told = ResidualGP.fit(support, targets, torch.ones(12), known_variance=nothing)

    assert torch.equal(untold.raw, told.raw)
    for one, other in zip(untold.predict(asked), told.predict(asked), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(untold.leave_one_out(), told.leave_one_out())


def test_many_architectures_are_forecast_in_pieces_as_one_by_one(monkeypatch) -> None:
    monkeypatch.setattr(residual_gp, "_MAX_PAIRS", 25)
    rng = np.random.default_rng(9)
    support, asked, targets = inputs(rng, 10), inputs(rng, 7), torch.from_numpy(rng.normal(size=10))

    mean, std, _ = process(support, targets, np.ones(10)).predict(asked)

    expected_mean, expected_std = posterior(support, targets, np.ones(10), asked)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-9)
    np.testing.assert_allclose(std, expected_std, atol=1e-9)


def test_without_noise_the_observations_are_met() -> None:
    rng = np.random.default_rng(3)
    support, targets = inputs(rng, 6), torch.from_numpy(rng.normal(size=6))

    mean, std, _ = process(support, targets, np.ones(6), noise=1e-5).predict(support)

    np.testing.assert_allclose(mean, targets, atol=1e-3)
    assert float(std.max()) < 2e-3


def test_far_from_the_observations_forecasts_return_to_the_surrogate_and_are_less_certain() -> None:
    rng = np.random.default_rng(4)
    support, targets = inputs(rng, 6), torch.from_numpy(rng.normal(size=6) + 1.0)
    gp = process(support, targets, np.ones(6))
    direction = torch.ones(1, 3, dtype=torch.float64)

    steps = [0.0, 1.0, 3.0, 50.0]
    asked = GPInputs(
        support.means[:1].expand(4, 1),
        (
            support.views[0][:1] + torch.tensor(steps, dtype=torch.float64)[:, None] * direction,
            support.views[1][:1] + torch.tensor(steps, dtype=torch.float64)[:, None],
        ),
    )
    _, std, _ = gp.predict(asked)

    assert bool((torch.diff(std) > 0).all())


def test_more_measurements_of_the_same_architecture_count_for_more() -> None:
    rng = np.random.default_rng(5)
    support, targets = inputs(rng, 3), torch.full((3,), 2.0, dtype=torch.float64)

    once, often = (process(support, targets, np.full(3, count)).predict(support)[0] for count in (1.0, 100.0))

    assert bool(((targets - often).abs() < (targets - once).abs()).all())


def test_fitting_finds_an_additive_function_of_the_decisions() -> None:
    rng = np.random.default_rng(6)
    decisions = rng.integers(0, 2, (90, 8)).astype(float)
    values = decisions @ rng.normal(size=8)
    values = (values - values.mean()) / values.std()
    everything = GPInputs(
        torch.zeros(90, 1, dtype=torch.float64), (torch.zeros(90, 0, dtype=torch.float64), torch.from_numpy(decisions))
    )
    known, asked = torch.arange(60), torch.arange(60, 90)

    gp = ResidualGP.fit(everything.select(known), torch.from_numpy(values)[known], torch.ones(60))
    mean, std, _ = gp.predict(everything.select(asked))

    error = float((mean - torch.from_numpy(values)[asked]).square().mean().sqrt())
    assert error < 0.25  # the surrogate alone, which says 0, is off by 1
    assert bool((std > 0).all())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_equal_architectures_and_equal_targets_can_be_fitted(count) -> None:
    same = GPInputs(torch.zeros(count, 1, dtype=torch.float64), (torch.ones(count, 3, dtype=torch.float64),) * 2)

    gp = ResidualGP.fit(same, torch.full((count,), 0.5, dtype=torch.float64), torch.ones(count))
    mean, std, _ = gp.predict(same)

    assert bool(torch.isfinite(mean).all())
    assert bool((std > 0).all())
    assert 0.0 < float(mean[0]) < 0.5


def test_a_view_without_columns_takes_no_part() -> None:
    rng = np.random.default_rng(7)
    support, asked = inputs(rng, 5), inputs(rng, 3)
    empty = GPInputs(support.means, (support.views[0], support.views[1][:, :0]))
    asked_empty = GPInputs(asked.means, (asked.views[0], asked.views[1][:, :0]))
    targets = torch.from_numpy(rng.normal(size=5))

    _, std, _ = process(empty, targets, np.ones(5)).predict(asked_empty)

    largest = np.sqrt(SLOPE**2 * asked.means[:, 0].numpy() ** 2 + OFFSET**2 + WEIGHTS[0] ** 2 + NOISE**2)
    assert bool((std.numpy() <= largest + 1e-12).all())


def test_a_process_rebuilt_from_its_parts_gives_the_same_forecasts() -> None:
    rng = np.random.default_rng(8)
    support, asked, targets = inputs(rng, 12), inputs(rng, 5), torch.from_numpy(rng.normal(size=12))
    fitted = ResidualGP.fit(support, targets, torch.ones(12))

    rebuilt = ResidualGP(fitted.raw, fitted.support, fitted.targets, fitted.noise_scale)

    for one, other in zip(fitted.predict(asked), rebuilt.predict(asked), strict=True):
        assert torch.equal(one, other)


def test_contrasts_add_the_covariance_of_related_tasks() -> None:
    rng = np.random.default_rng(15)
    apart = rng.normal(size=(12, 4))
    plain = inputs(rng, 12)
    everything = GPInputs(plain.means, plain.views, torch.from_numpy(apart).float())
    targets, known, asked = torch.from_numpy(rng.normal(size=8)), slice(0, 8), slice(8, 12)
    factor = 0.6
    hyper = torch.cat([raw(), torch.tensor([factor], dtype=torch.float64).log()])

    gp = ResidualGP(hyper, everything.select(known), targets, torch.ones(8, dtype=torch.float64))
    mean, std, _ = gp.predict(everything.select(asked))

    frame = plain.select(known)
    seen = apart.astype(np.float32).astype(np.float64)
    total = kernel(frame, plain, plain) + factor**2 * seen @ seen.T
    inverse = np.linalg.inv(total[:8, :8] + (NOISE**2 + JITTER) * np.eye(8))
    off = targets.numpy() - plain.means[known, 0].numpy()
    np.testing.assert_allclose(mean, plain.means[asked, 0].numpy() + total[8:, :8] @ inverse @ off, rtol=1e-9)
    left = np.diag(total[8:, 8:] - total[8:, :8] @ inverse @ total[:8, 8:])
    np.testing.assert_allclose(std, np.sqrt(left + NOISE**2), rtol=1e-7)


def test_five_values_tell_which_way_of_differing_a_task_has_where_related_tasks_show_two() -> None:
    rng = np.random.default_rng(16)
    one, other = rng.normal(size=200), rng.normal(size=200)
    truth = torch.from_numpy(one)
    nothing = torch.zeros(200, 1, dtype=torch.float64)
    blank = torch.zeros(200, 0, dtype=torch.float64)
    shown = GPInputs(nothing, (blank,), torch.from_numpy(np.stack([one, other], axis=1)))
    known, asked = slice(0, 5), slice(5, 200)

    gp = ResidualGP.fit(shown.select(known), truth[known], torch.ones(5))
    mean, _, _ = gp.predict(shown.select(asked))

    assert float(torch.corrcoef(torch.stack([mean, truth[asked]]))[0, 1]) > 0.95


def test_contrasts_of_those_asked_are_nothing_to_a_process_that_was_fitted_without() -> None:
    rng = np.random.default_rng(17)
    plain = inputs(rng, 12)
    asked = GPInputs(plain.means[8:], tuple(view[8:] for view in plain.views), torch.ones(4, 3))
    gp = process(plain.select(slice(0, 8)), torch.from_numpy(rng.normal(size=8)), np.ones(8))

    for one, another in zip(gp.predict(asked), gp.predict(plain.select(slice(8, 12))), strict=True):
        assert torch.equal(one, another)


def test_of_several_opinions_the_one_that_is_right_counts_for_most() -> None:
    rng = np.random.default_rng(11)
    views = torch.from_numpy(rng.normal(size=(60, 3)))
    right, wrong = rng.normal(size=60), rng.normal(size=60)
    everything = GPInputs(torch.from_numpy(np.stack([wrong, right], axis=1)), (views,))
    known, asked = torch.arange(30), torch.arange(30, 60)

    gp = ResidualGP.fit(everything.select(known), torch.from_numpy(right)[known], torch.ones(30))
    mean, _, _ = gp.predict(everything.select(asked))

    error = float((mean - torch.from_numpy(right)[asked]).square().mean().sqrt())
    assert error < 0.4  # the blend before anything was observed is off by 0.4


def opinions(count: int, *columns: np.ndarray) -> GPInputs:
    rng = np.random.default_rng(12)
    return GPInputs(torch.from_numpy(np.stack(columns, axis=1)), (torch.from_numpy(rng.normal(size=(count, 3))),))


def test_an_opinion_that_counts_least_beforehand_is_found_if_it_is_right(monkeypatch) -> None:
    def share_of_the_last() -> float:
        rng = np.random.default_rng(1)
        targets = torch.from_numpy(rng.normal(size=24))
        near = targets[:, None] + torch.from_numpy(rng.normal(0.0, [1.0, 1.0, 0.1], size=(24, 3)))
        support = GPInputs(near, inputs(rng, 24).views)
        fitted = ResidualGP.fit(support, targets, torch.ones(24), GPConfig(shares=(0.5, 0.49, 0.002)))
        return float(fitted.raw[3:6].softmax(0)[2])

    found = share_of_the_last()
    monkeypatch.setattr(evidence, "_OVERLOOKED", 0.0)

    assert found > 0.5 > share_of_the_last()


@pytest.mark.parametrize("shares", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.7)])
def test_shares_of_the_opinions_sum_to_1_so_what_all_agree_on_is_the_mean(shares) -> None:
    rng = np.random.default_rng(13)
    agreed = rng.normal(size=9)
    everything = opinions(9, agreed, agreed, agreed)
    known, asked = everything.select(slice(0, 6)), everything.select(slice(6, 9))
    hyper = torch.tensor([SLOPE, OFFSET, NOISE, *shares, 0.5, 1.0, 0.3], dtype=torch.float64).log()

    # nothing was off, so nothing is corrected
    mean, _, _ = ResidualGP(hyper, known, known.means[:, 0], torch.ones(6, dtype=torch.float64)).predict(asked)

    np.testing.assert_allclose(mean, agreed[6:], atol=1e-12)


def test_opinions_are_blended_in_proportion_to_their_shares() -> None:
    rng = np.random.default_rng(14)
    first, second = rng.normal(size=9), rng.normal(size=9)
    everything = opinions(9, first, second)
    blend = opinions(9, 0.25 * first + 0.75 * second)
    targets = torch.from_numpy(rng.normal(size=6))
    tail = [0.5, 1.0, 0.3]
    both = torch.tensor([SLOPE, OFFSET, NOISE, 0.2, 0.6, *tail], dtype=torch.float64).log()
    one = torch.tensor([SLOPE, OFFSET, NOISE, 1.0, *tail], dtype=torch.float64).log()
    known, asked, ones = slice(0, 6), slice(6, 9), torch.ones(6, dtype=torch.float64)

    found = ResidualGP(both, everything.select(known), targets, ones).predict(everything.select(asked))
    expected = ResidualGP(one, blend.select(known), targets, ones).predict(blend.select(asked))

    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [((), (0.5, 0.5)), ((0.3, 0.7), (0.3, 0.7)), ((1.0, 0.0), (1.0, 0.01))],
    ids=["unknown", "known", "one of no weight"],
)
def test_shares_start_from_what_is_known_of_the_opinions_and_none_is_ruled_out(shares, expected) -> None:
    raw_shares = GPConfig(shares=shares).prior_means(num_means=2, num_views=1)[3:5]

    np.testing.assert_allclose(raw_shares.exp(), expected)


def test_shares_may_move_further_than_other_hyperparameters() -> None:
    widths = GPConfig(log_width=0.5, log_width_of_shares=2.0).prior_widths(num_means=2, num_views=1)

    assert widths.tolist() == [0.5, 0.5, 0.5, 2.0, 2.0, 0.5, 0.5, 0.5]


def test_one_share_may_be_held_nearer_to_where_it_starts_than_others() -> None:
    widths = GPConfig(log_widths_of_shares=(1.5, 0.4)).prior_widths(2, 1)

    assert widths.tolist() == [0.8, 0.8, 0.8, 1.5, 0.4, 0.8, 0.8, 0.8]


def test_a_view_that_is_left_less_room_weighs_less_beforehand_in_both_its_kernels() -> None:
    plain, less = (GPConfig(room=room).prior_means(num_means=1, num_views=2).exp() for room in ((), (0.5, 1.0)))

    np.testing.assert_allclose(less / plain, [1, 1, 1, 1, 0.5, 1, 1, 1, 0.5, 1])  # weights, lengths, linear weights


def test_room_for_another_number_of_views_is_refused() -> None:
    with pytest.raises(ValueError, match="expected room for 2 views, got 3"):
        GPConfig(room=(1.0, 1.0, 1.0)).prior_means(num_means=1, num_views=2)


def test_a_process_of_several_opinions_rebuilt_from_its_parts_gives_the_same_forecasts() -> None:
    rng = np.random.default_rng(15)
    everything = opinions(20, *rng.normal(size=(3, 20)))
    known, asked = everything.select(slice(0, 12)), everything.select(slice(12, 20))
    fitted = ResidualGP.fit(known, torch.from_numpy(rng.normal(size=12)), torch.ones(12))

    rebuilt = ResidualGP(fitted.raw, fitted.support, fitted.targets, fitted.noise_scale)

    for one, other in zip(fitted.predict(asked), rebuilt.predict(asked), strict=True):
        assert torch.equal(one, other)
    assert len(fitted.raw) == 3 + 3 + 3  # slope, offset, noise; three shares; weight, length, linear weight of a view


def test_without_likeness_the_fitted_share_follows_the_evidence() -> None:
    rng = np.random.default_rng(16)
    right, wrong = rng.normal(size=200), rng.normal(size=200)
    support = GPInputs(torch.from_numpy(np.stack([wrong, right], axis=1)), (torch.zeros(200, 0, dtype=torch.float64),))

    gp = ResidualGP.fit(support, torch.from_numpy(right), torch.ones(200), GPConfig(shares=(0.5, 0.5)))
    mean, _, _ = gp.predict(support)

    assert float((mean - torch.from_numpy(right)).square().mean().sqrt()) < 0.25  # halves of both are off by 0.7


def test_a_view_that_the_support_set_has_no_columns_for_takes_no_part() -> None:
    rng = np.random.default_rng(0)
    support, asked = inputs(rng, 9), inputs(rng, 5)
    targets, counts = torch.from_numpy(rng.normal(size=9)), torch.ones(9)
    first, second = support.views
    blank = ResidualGP.fit(GPInputs(support.means, (first, second[:, :0])), targets, counts)
    other = GPInputs(asked.means, (asked.views[0], 100.0 * asked.views[1]))

    found, again = blank.predict(asked), blank.predict(other)

    without = ResidualGP.fit(GPInputs(support.means, (first,)), targets, counts)
    expected = without.predict(GPInputs(asked.means, asked.views[:1]))
    for one, same, textbook in zip(found, again, expected, strict=True):
        assert torch.equal(one, same)
        torch.testing.assert_close(one, textbook, rtol=1e-9, atol=1e-9)


def test_novelty_is_small_among_what_was_measured_and_large_far_from_it() -> None:
    rng = np.random.default_rng(0)
    near, far = (torch.from_numpy(rng.normal(center, 1.0, (80, 3))) for center in (0.0, 8.0))
    targets = torch.sin(near[:, 0]) + 0.05 * torch.from_numpy(rng.normal(size=80))
    gp = ResidualGP.fit(GPInputs(torch.zeros(60, 1).double(), (near[:60],)), targets[:60], torch.ones(60))

    novelty = [gp.predict(GPInputs(torch.zeros(20, 1).double(), (view[60:],)))[2] for view in (near, far)]

    assert float(novelty[0].median()) < 0.2
    assert float(novelty[1].min()) > float(novelty[0].median())
    assert float(novelty[1].median()) > 0.6
    assert 0.0 <= float(torch.cat(novelty).min()) <= float(torch.cat(novelty).max()) <= 1.0
