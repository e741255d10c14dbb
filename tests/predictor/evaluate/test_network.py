"""Networks of every search space: they can be built and trained, and are those that were published."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, UnbuildableError
from predictor.evaluate.costs import multiply_accumulates
from predictor.evaluate.network import NetworkConfig, build_network, num_parameters, plan_network
from predictor.evaluate.plan import PlannedNetwork
from predictor.search_spaces.registry import built_in_search_spaces, search_space

SMALLER: Mapping[str, Mapping[str, int]] = {
    "nasbench201": {"stem_channels": 4, "cells_per_stage": 1},
    "nasbench101": {"stem_channels": 16, "cells_per_stage": 1},
    "transnas_micro": {"stem_channels": 4, "cells_per_stage": 1},
    "darts": {"channels": 4, "num_cells": 3},
    "autoformer": {"patch_size": 8},
}
BUILT = [name for name in built_in_search_spaces() if name != "nasbench_graph"]
SMALL_IMAGES = (3, 16, 16)


def small(name: str, image_shape: tuple[int, int, int] = SMALL_IMAGES) -> NetworkConfig:
    return NetworkConfig(image_shape, 5, SMALLER.get(name, {}), resolution=image_shape[1])


@pytest.mark.parametrize("name", BUILT)
def test_random_architectures_become_classifiers_of_which_every_part_learns(name: str) -> None:
    space, rng = search_space(name), np.random.default_rng(2)
    for architecture in (space.sample(rng) for _ in range(2)):
        network = build_network(architecture, space, small(name), torch.Generator().manual_seed(0))

        scores = network(torch.randn(4, *SMALL_IMAGES, generator=torch.Generator().manual_seed(1)))
        scores.square().sum().backward()

        assert scores.shape == (4, 5)
        assert torch.isfinite(scores).all()
        classifier = [one for one in network.modules() if isinstance(one, nn.Linear)][-1]
        assert classifier.weight.grad is not None


@pytest.mark.parametrize("name", BUILT)
def test_images_of_one_channel_and_odd_size_are_taken_too(name: str) -> None:
    space = search_space(name)
    architecture = space.sample(np.random.default_rng(5))
    config = NetworkConfig(
        (1, 13, 11), 2, {**SMALLER.get(name, {}), **({"patch_size": 4} if name == "autoformer" else {})}
    )

    network = build_network(architecture, space, config).eval()

    assert network(torch.zeros(2, 1, 13, 11)).shape == (2, 2)


def test_weights_depend_on_the_generator_alone(space: Any) -> None:
    cell = space.sample(np.random.default_rng(0))
    before = torch.random.get_rng_state()

    first, again, other = (
        build_network(cell, space, small("nasbench201"), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )

    assert torch.equal(torch.random.get_rng_state(), before)
    weights = [one.state_dict()["classifier.weight"] for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_darts_network_has_as_many_parameters_as_published() -> None:
    """DARTS (second order) on CIFAR-10, table 1: 3.3 million; its code reports 3.349342."""
    space = search_space("darts")
    genotype = (
        "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
        "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
        "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"
    )

    assert parameters("darts", space.parse(genotype), NetworkConfig((3, 32, 32), 10)) == 3_349_342


def test_a_cell_of_convolutions_has_the_parameters_that_are_counted_by_hand() -> None:
    space, config = search_space("nasbench201"), NetworkConfig((3, 32, 32), 10)
    cell = space.parse("|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|")

    stem, end = 3 * 16 * 9 + 2 * 16, 2 * 64 + 64 * 10 + 10
    cells = sum(5 * (9 * c * c + 2 * c + c * c + 2 * c) for c in (16, 32, 64))
    reductions = sum(9 * c * 2 * c + 4 * c + 9 * 4 * c * c + 4 * c + 2 * c * c for c in (16, 32))

    assert parameters("nasbench201", cell, config) == stem + cells + reductions + end


def parameters(name: str, architecture: Architecture, config: NetworkConfig) -> int:
    with torch.device("meta"):
        return num_parameters(PlannedNetwork(plan_network(architecture, search_space(name), config)))


Row = dict[str, Any]
CIFAR, IMAGENET = NetworkConfig((3, 32, 32), 10), NetworkConfig((3, 224, 224), 1_000)
SCENES, OBJECTS = NetworkConfig((3, 224, 224), 63), NetworkConfig((3, 224, 224), 100)


def matrix(row: Row) -> Row:
    return {"matrix": json.loads(row["adjacency_json"]), "ops": json.loads(row["ops_json"])}


PUBLISHED: list[tuple[str, str, str, Callable[[Row], Any], Callable[[Row], bool], NetworkConfig]] = [
    ("nasbench201", "nb201_accuracy", "cifar10_params_m", lambda row: row["arch_str"], lambda row: "none" not in row["arch_str"], CIFAR),
    ("nasbench101", "nb101_cifar10_30k", "params_m", matrix, lambda row: True, CIFAR),
    ("nasbench_macro", "nasbench_macro", "params_m", lambda row: row["arch"], lambda row: True, CIFAR),
    ("mnasnet", "accel_nasbench", "params_m", lambda row: row["arch_str"], lambda row: True, IMAGENET),
    ("transnas_micro", "transnas_micro", "class_scene_params_m", lambda row: row["arch_str"], lambda row: "0" not in row["arch_str"][8:], SCENES),
    ("transnas_micro", "transnas_micro", "class_object_params_m", lambda row: row["arch_str"], lambda row: "0" not in row["arch_str"][8:], OBJECTS),
    ("autoformer", "autoformer_imagenet_3k", "params_m", lambda row: row["arch_json"], lambda row: True, IMAGENET),
]  # fmt: skip
"""Cells with `none` are left out: what is pruned from their graphs still counts in the tables."""


@pytest.fixture
def published() -> Callable[[str], Iterator[Row]]:
    """Rows of a published table, in an order that is always the same."""
    folder = Path(os.environ.get("ARCHCAST_BENCHMARK_DATA", Path(__file__).parents[4] / "shared" / "data"))

    def read(table: str) -> Iterator[Row]:
        path = folder / f"{table}.parquet"
        if not path.is_file():
            pytest.skip(f"needs the published table {table}.parquet (set ARCHCAST_BENCHMARK_DATA to its folder)")
        rows = pq.read_table(path)
        order = np.random.default_rng(0).permutation(len(rows))[:200]
        yield from (rows.slice(int(row), 1).to_pylist()[0] for row in order)

    return read


@pytest.mark.parametrize(("name", "table", "column", "notation", "counts", "config"), PUBLISHED)
def test_networks_have_as_many_parameters_as_published(
    name: str, table: str, column: str, notation: Any, counts: Any, config: NetworkConfig, published: Any
) -> None:
    space = search_space(name)
    rows = [row for row in published(table) if counts(row)][:4]

    for row in rows:
        counted = parameters(name, space.parse(notation(row)), config)

        assert counted / 1e6 == pytest.approx(row[column], rel=1e-6)  # tables hold 32-bit numbers
    assert len(rows) == 4


def test_multiply_accumulates_are_those_that_are_published(published: Any) -> None:
    space = search_space("nasbench201")
    rows = [row for row in published("nb201_accuracy") if "none" not in row["arch_str"]][:3]

    for row in rows:
        plan = plan_network(space.parse(row["arch_str"]), space, CIFAR)
        assert multiply_accumulates(plan, (3, 32, 32)) / 1e6 == pytest.approx(row["cifar10_flops_m_official"], rel=1e-6)


def test_sizes_of_the_skeleton_may_be_changed_and_others_not(space: Any) -> None:
    cell = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    fewer = parameters("nasbench201", cell, NetworkConfig((3, 32, 32), 10, {"cells_per_stage": 1}))

    assert fewer < parameters("nasbench201", cell, CIFAR)
    for sizes, message in (({"depth": 3}, "cells_per_stage.*'depth'"), ({"num_stages": 0}, "whole number from 1")):
        with pytest.raises(EvaluationError, match=message):
            plan_network(cell, space, NetworkConfig((3, 32, 32), 10, sizes))


def test_networks_on_graphs_are_refused() -> None:
    space = search_space("nasbench_graph")

    with pytest.raises(EvaluationError, match="image classifiers, got one of networks on graphs"):
        plan_network(space.sample(np.random.default_rng(0)), space, CIFAR)


def test_images_smaller_than_a_patch_are_refused() -> None:
    space = search_space("autoformer")

    with pytest.raises(UnbuildableError, match="at least one patch of 16 pixels, got 8 × 8"):
        plan_network(space.sample(np.random.default_rng(0)), space, NetworkConfig((3, 8, 8), 10))
