from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from predictor.surrogate.packed_factor import PackedFactor


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9])
def test_a_packed_factor_solves_as_the_whole_one_does(size) -> None:
    rng = np.random.default_rng(size)
    factor = torch.from_numpy(np.tril(rng.normal(size=(size, size))) + 2.0 * np.eye(size))
    right = torch.from_numpy(rng.normal(size=(size, 4)))

    found = torch.cat(PackedFactor(factor).solve(right))

    np.testing.assert_allclose(factor @ found, right, atol=1e-12)


def test_a_packed_factor_takes_half_the_memory() -> None:
    packed = PackedFactor(torch.eye(100, dtype=torch.float64))

    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in vars(packed).values()
    }

    assert sum(storages.values()) <= 0.52 * 100 * 100 * 8


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9])
def test_squared_lengths_are_those_of_the_solution(size) -> None:
    rng = np.random.default_rng(size)
    factor = np.tril(rng.normal(size=(size, size))) + 2.0 * np.eye(size)
    right = rng.normal(size=(size, 4))

    found = PackedFactor(torch.from_numpy(factor)).squared_lengths(torch.from_numpy(right))

    np.testing.assert_allclose(found, ((np.linalg.inv(factor) @ right) ** 2).sum(0), rtol=1e-9)


def test_what_is_asked_stays_as_it_was() -> None:
    factor, right = torch.eye(5, dtype=torch.float64) * 2.0, torch.ones(5, 3, dtype=torch.float64)

    PackedFactor(factor).squared_lengths(right)

    assert torch.equal(right, torch.ones(5, 3, dtype=torch.float64))
    assert torch.equal(factor, torch.eye(5, dtype=torch.float64) * 2.0)


def _covariance(size: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a smooth process at random places, and with as many other places: (S, S), (S, S)."""
    rng = np.random.default_rng(size)
    own, other = (torch.from_numpy(rng.normal(size=(size, 2), scale=0.3)) for _ in range(2))
    reach = [math.sqrt(3.0) * torch.cdist(own, one) for one in (own, other)]
    smooth, across = ((1.0 + one) * torch.exp(-one) for one in reach)
    return smooth + noise**2 * torch.eye(size, dtype=torch.float64), across


def _bytes_held(packed: PackedFactor) -> int:
    held = (value for value in vars(packed).values() if isinstance(value, torch.Tensor))
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in held}.values())


def test_a_large_factor_takes_a_quarter_of_the_memory() -> None:
    factor = torch.linalg.cholesky(_covariance(600, noise=0.1)[0])

    assert _bytes_held(PackedFactor(factor)) <= 0.26 * 600 * 600 * 8


def test_standard_deviations_from_a_large_factor_are_those_of_float64() -> None:
    noise = 0.05
    covariance, across = _covariance(600, noise)
    factor = torch.linalg.cholesky(covariance)

    found = 1.0 + noise**2 - PackedFactor(factor).squared_lengths(across)

    exact = 1.0 + noise**2 - (across * torch.cholesky_solve(across, factor)).sum(0)
    np.testing.assert_allclose(found.sqrt(), exact.sqrt(), rtol=1e-4)


def test_a_large_factor_that_rounding_would_harm_is_kept_as_it_is() -> None:
    factor = torch.linalg.cholesky(_covariance(600, noise=0.001)[0])

    assert _bytes_held(PackedFactor(factor)) > 0.48 * 600 * 600 * 8
