from __future__ import annotations

import pytest
import torch
from torch import Tensor

from predictor.errors import SearchError
from predictor.evaluate.supernet.curvature import EarlyStopping, dominant_eigenvalue, hessian_product


def symmetric(size: int, seed: int) -> Tensor:
    drawn = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn + drawn.T


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_on_a_quadratic_the_eigenvalue_is_that_of_its_matrix(size) -> None:
    matrix = symmetric(size, seed=size)
    leaves = [torch.zeros(size, dtype=torch.float64, requires_grad=True)]
    loss = leaves[0] @ matrix @ leaves[0] / 2

    found = dominant_eigenvalue(hessian_product(loss, leaves), torch.ones(size, dtype=torch.float64), size)

    values = torch.linalg.eigvalsh(matrix)
    assert found == pytest.approx(float(values[values.abs().argmax()]), rel=1e-9)


def test_a_negative_eigenvalue_keeps_its_sign() -> None:
    matrix = torch.diag(torch.tensor([1.0, -5.0, 2.0], dtype=torch.float64))

    assert dominant_eigenvalue(lambda v: matrix @ v, torch.ones(3, dtype=torch.float64), 3) == pytest.approx(-5.0)


def test_few_iterations_come_close_in_many_dimensions() -> None:
    matrix = torch.diag(torch.cat([torch.linspace(-1.0, 1.0, 199), torch.tensor([4.0])])).double()
    start = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    assert dominant_eigenvalue(lambda v: matrix @ v, start, 10) == pytest.approx(4.0, rel=1e-3)


def test_the_product_spans_several_tensors_and_those_that_do_not_matter() -> None:
    first, second = torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([3.0], requires_grad=True)
    loss = first[0] ** 3 + first[1] * second[0]  # Hessian: 6 at (0, 0), 1 at (1, 2) and (2, 1)

    product = hessian_product(loss, [first, second])

    assert product(torch.tensor([1.0, 0.0, 0.0])).tolist() == [6.0, 0.0, 0.0]
    assert product(torch.tensor([0.0, 1.0, 0.0])).tolist() == [0.0, 0.0, 1.0]


def test_no_curvature_is_an_eigenvalue_of_nothing() -> None:
    assert dominant_eigenvalue(lambda v: 0.0 * v, torch.ones(4), 4) == 0.0


def test_the_search_goes_back_when_curvature_has_grown_by_a_third() -> None:
    rule = EarlyStopping(window=2, distance=2, ratio=0.75)

    assert rule.goes_back_to([1.0, 1.0, 1.0, 1.0]) is None
    assert rule.goes_back_to([1.0, 1.0, 1.3, 1.36]) is None  # 1.33 is not more than a third above 1
    assert rule.goes_back_to([1.0, 1.0, 1.4, 1.4]) == 1
    assert rule.goes_back_to([9.0, 1.0, 1.0, 1.4, 1.4]) == 2


def test_what_came_before_the_first_epoch_does_not_count() -> None:
    eigenvalues = [1.0, 1.0, 5.0, 5.0]

    assert EarlyStopping(window=2, distance=2).goes_back_to(eigenvalues) == 1
    assert EarlyStopping(window=2, distance=2, first_epoch=1).goes_back_to(eigenvalues) is None
    assert EarlyStopping(window=2, distance=3).goes_back_to(eigenvalues) is None


@pytest.mark.parametrize(
    "settings", [{"window": 0}, {"distance": 0}, {"iterations": 0}, {"first_epoch": -1}, {"ratio": 1.0}, {"ratio": 0.0}]
)
def test_rules_that_mean_nothing_are_refused(settings) -> None:
    with pytest.raises(SearchError, match="early stopping"):
        EarlyStopping(**settings)
