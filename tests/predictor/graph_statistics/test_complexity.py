"""How much an architecture computes and holds, against modules of PyTorch that are counted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import Tensor, nn

from predictor.architecture import Architecture, Operation
from predictor.benchmarks.registry import read_all
from predictor.encoding import COMPLEXITIES, ArchitectureEncoder
from predictor.graph_statistics.complexity import (
    KEPT_WORK,
    NAMED_WORK,
    PARAMETERS,
    PASSED_ON,
    WORK,
)

WIDTH, SIDE = 32, 16  # of what comes in: what is assumed where nothing is said


def amounts(*architectures: Architecture) -> NDArray[np.float64]:
    """(B, NUM_COMPLEXITIES), not as logarithms."""
    return np.exp2(ArchitectureEncoder().batch(architectures).globals[:, COMPLEXITIES].double().numpy()) - 1.0


def chain(*operations: Operation) -> Architecture:
    whole = [Operation.of("input"), *operations, Operation.of("output")]
    return Architecture.build(whole, [(place, place + 1) for place in range(len(whole) - 1)])


def counted(layers: Sequence[nn.Module]) -> tuple[float, float]:
    """Multiply-accumulates of convolutions on one image, and parameters, of layers that are run one after the other."""
    work, x = 0.0, torch.zeros(1, WIDTH, SIDE, SIDE)
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            work += layer.weight.numel() * x.shape[2] * x.shape[3]
    return work, float(sum(one.numel() for layer in layers for one in layer.parameters()))


def conv(before: int, after: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False)


class Squeezed(nn.Module):
    """Squeeze and excitation: two maps between the width inside and a quarter of that before."""

    def __init__(self, inside: int, before: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(inside, before // 4, bias=False), nn.Linear(before // 4, inside, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(self.down(x.mean((2, 3)))))[..., None, None]


CASES = {
    "conv": (
        Operation.of("conv", kernel_size=3, stride=2, channels=48),
        [conv(WIDTH, 48, 3, 2)],
    ),
    "conv that keeps its width": (Operation.of("conv", kernel_size=5), [conv(WIDTH, WIDTH, 5)]),
    "grouped": (Operation.of("conv", kernel_size=3, channels=64, groups=4), [conv(WIDTH, 64, 3, groups=4)]),
    "repeated": (
        Operation.of("conv", kernel_size=3, stride=2, channels=48, repeats=3),
        [conv(WIDTH, 48, 3, 2), conv(48, 48, 3), conv(48, 48, 3)],
    ),
    "separable": (
        Operation.of("separable_conv", kernel_size=5, channels=48),
        [conv(WIDTH, WIDTH, 5, groups=WIDTH), conv(WIDTH, 48)],
    ),
    "depthwise": (Operation.of("depthwise_conv", kernel_size=3), [conv(WIDTH, WIDTH, 3, groups=WIDTH)]),
    "mbconv": (
        Operation.of("mbconv", kernel_size=5, expansion=4, stride=2, channels=24),
        [conv(WIDTH, 128), conv(128, 128, 5, 2, 128), conv(128, 24)],
    ),
    "mbconv that does not open": (
        Operation.of("mbconv", kernel_size=3, expansion=1, channels=16),
        [conv(WIDTH, WIDTH, 3, groups=WIDTH), conv(WIDTH, 16)],
    ),
    "mbconv twice": (
        Operation.of("mbconv", kernel_size=3, expansion=2, channels=48, stride=2, repeats=2),
        [conv(WIDTH, 64), conv(64, 64, 3, 2, 64), conv(64, 48), conv(48, 96), conv(96, 96, 3, groups=96), conv(96, 48)],
    ),
    "mbconv that squeezes": (
        Operation.of("mbconv", kernel_size=3, expansion=4, channels=24, se=True),
        [conv(WIDTH, 128), conv(128, 128, 3, groups=128), Squeezed(128, WIDTH), conv(128, 24)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_costs_what_its_layers_do(name: str) -> None:
    operation, layers = CASES[name]

    told = amounts(chain(operation))[0]

    work, parameters = counted(layers)
    assert told[WORK] == pytest.approx(work, rel=1e-4)
    assert told[PARAMETERS] == pytest.approx(parameters, rel=1e-4)


def test_widths_and_strides_are_handed_on() -> None:
    operations = [
        Operation.of("conv", kernel_size=3, stride=2, channels=16),
        Operation.of("max_pool", kernel_size=3, stride=2),
        Operation.of("identity"),
        Operation.of("conv", kernel_size=1, channels=8),
    ]

    told = amounts(chain(*operations))[0]

    work, parameters = counted([conv(WIDTH, 16, 3, 2), nn.MaxPool2d(2), conv(16, 8)])
    assert told[WORK] == pytest.approx(work, rel=1e-4)
    assert told[PARAMETERS] == pytest.approx(parameters, rel=1e-4)
    assert told[NAMED_WORK] == pytest.approx(
        16 * 8 * 4 * 4, rel=1e-4
    )  # of the last alone, behind a width that was named
    kept = 3 * 3 * 16 * 16 * 8 * 8 + told[NAMED_WORK]  # as if 16 came in
    assert told[KEPT_WORK] == pytest.approx(kept, rel=1e-4)
    areas = [SIDE**2 * WIDTH, 8**2 * 16, 4**2 * 16, 4**2 * 16, 4**2 * 8, 4**2 * 8]
    assert told[PASSED_ON] == pytest.approx(sum(areas), rel=1e-4)


@pytest.mark.parametrize(("kind", "comes_in"), [("concat", 24.0), ("add", 16.0)])
def test_widths_of_what_is_joined_add_up_where_it_is_concatenated(kind: str, comes_in: float) -> None:
    operations = [
        Operation.of("input"),
        Operation.of("conv", kernel_size=1, channels=16),
        Operation.of("conv", kernel_size=1, channels=8),
        Operation.of(kind),
        Operation.of("conv", kernel_size=1, channels=4),
        Operation.of("output"),
    ]

    told = amounts(Architecture.build(operations, [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5)]))[0]

    assert told[PARAMETERS] == pytest.approx(WIDTH * 16 + WIDTH * 8 + comes_in * 4, rel=1e-4)


@pytest.mark.parametrize(("heads", "inside"), [({}, 96), ({"heads": 4}, 256)])
def test_attention_counts_its_maps_and_pairs_of_positions(heads: dict[str, int], inside: int) -> None:
    """With heads named each is 64 wide; otherwise all are as wide as what comes in."""
    told = amounts(
        chain(Operation.of("attention", channels=96, **heads), Operation.of("mlp", channels=96, expansion=3))
    )[0]

    maps, pairs, mlp = 4 * 96 * inside, 2 * inside * SIDE**4, 2 * 3 * 96 * 96
    assert told[PARAMETERS] == pytest.approx(maps + mlp, rel=1e-4)
    assert told[WORK] == pytest.approx((maps + mlp) * SIDE**2 + pairs, rel=1e-4)


def test_what_only_moves_numbers_costs_nothing() -> None:
    told = amounts(chain(Operation.of("identity"), Operation.of("avg_pool", kernel_size=3), Operation.of("of_my_own")))

    assert told[0, [WORK, KEPT_WORK, NAMED_WORK, PARAMETERS]].tolist() == [0.0] * 4


def test_numbers_do_not_depend_on_what_is_asked_beside() -> None:
    small, large = (
        chain(Operation.of("conv", kernel_size=3)),
        chain(*[Operation.of("conv", kernel_size=3, channels=8)] * 9),
    )
    cell = Architecture.build(
        [Operation.of("input"), Operation.of("conv", kernel_size=3), Operation.of("output")], [(0, 1), (0, 2), (1, 2)]
    )

    together = amounts(small, large, cell)

    for told, one in zip(together, (small, large, cell), strict=True):
        np.testing.assert_allclose(told, amounts(one)[0], rtol=1e-5)


@pytest.mark.parametrize("number", [float("1e300"), -5.0, 0.0])
def test_absurd_numbers_stay_finite(number: float) -> None:
    absurd = dict.fromkeys(("kernel_size", "stride", "channels", "groups", "expansion", "repeats", "heads"), number)
    kinds = ("conv", "mbconv", "attention", "mlp", "separable_conv", "upsample")

    told = amounts(chain(*(Operation.of(kind, **absurd) for kind in kinds)))

    assert np.isfinite(told).all()


@pytest.mark.parametrize(
    ("space", "flops", "parameters"),
    [("mnasnet", 0.94, 0.99), ("autoformer", 0.97, 0.98), ("nasbench_macro", 0.99, 0.99)],
)
def test_published_numbers_are_ranked_alike(space: str, flops: float, parameters: float) -> None:
    folder = Path(os.environ.get("ARCHCAST_BENCHMARK_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"the published tables are not in {folder}; set ARCHCAST_BENCHMARK_DATA to their folder")
    table = next(one for one in read_all(folder, max_architectures_per_task=300) if one.task.search_space == space)

    told = amounts(*table.architectures)

    assert table.flops is not None
    assert table.params is not None
    assert kendalltau(told[:, WORK], table.flops).statistic > flops
    assert kendalltau(told[:, PARAMETERS], table.params).statistic > parameters
