from __future__ import annotations

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
