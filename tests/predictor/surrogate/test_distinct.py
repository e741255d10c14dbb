from __future__ import annotations

import pytest
import torch

from predictor.surrogate import distinct
from predictor.surrogate.distinct import distinct_rows


def _repeated(num_rows: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randn(7, 5, generator=generator)
    return kinds[torch.randint(7, (num_rows,), generator=generator)]


@pytest.mark.parametrize("num_rows", [0, 1, 20, 1_000])
def test_every_row_is_found_again_at_its_place(num_rows: int) -> None:
    x = _repeated(num_rows)

    rows, places = distinct_rows(x)

    assert torch.equal(rows[places], x)


def test_of_many_equal_rows_few_are_left() -> None:
    rows, _ = distinct_rows(_repeated(1_000))

    assert len(rows) == 7


def test_rows_that_look_alike_by_chance_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_direction", torch.zeros)
    x = _repeated(1_000)

    rows, places = distinct_rows(x)

    assert torch.equal(rows[places], x)
