"""Image classifiers from architectures: which skeleton an architecture belongs in is the search space's to say.

The published skeletons are followed in everything that decides shapes and parameters. Left out is what belongs to a training
recipe (dropout, drop path, auxiliary classifiers); weights begin as PyTorch draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, UnbuildableError
from predictor.evaluate.cells import plan_cell_pairs, plan_cell_stages, plan_concatenating_cells, plan_reducing_cells
from predictor.evaluate.chains import plan_block_chain, plan_token_chain
from predictor.evaluate.graphs import check_kinds, plan_whole_graph
from predictor.evaluate.plan import Plan, PlannedNetwork, Planner, Value
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.skeletons import (
    BlockChain,
    CellPairs,
    CellStages,
    ConcatenatingCells,
    NoNetwork,
    ReducingCells,
    Skeleton,
    TokenChain,
    WholeGraph,
)

MAX_PARAMETERS = 2_000_000_000
MAX_PIXELS = 1_024 * 1_024


@dataclass(frozen=True)
class NetworkConfig:
    """What fixes a network besides its architecture: images, classes, and other sizes of its skeleton than the published ones.

    `resolution`: images are scaled to it; 0: to that which the architecture tells, if it tells one, else left as they are.

    Raises:
        EvaluationError: if there are no images or fewer than two classes.
    """

    image_shape: tuple[int, int, int]  # (C, H, W)
    num_classes: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    resolution: int = 0

    def __post_init__(self) -> None:
        if (
            len(self.image_shape) != 3
            or min(self.image_shape) < 1
            or self.image_shape[1] * self.image_shape[2] > MAX_PIXELS
        ):
            raise EvaluationError(f"expected images of channels, height and width, got {self.image_shape}")
        if not 2 <= self.num_classes <= 100_000:
            raise EvaluationError(f"expected 2 to 100,000 classes, got {self.num_classes}")


_Planning = Callable[[Architecture, Skeleton, Planner, int], Value]


def _of(kind: type[Skeleton], plan: Callable[..., Value]) -> tuple[type[Skeleton], _Planning]:
    return kind, lambda architecture, skeleton, planner, _classes: plan(architecture, skeleton, planner)


def _refuse(architecture: Architecture, skeleton: NoNetwork, planner: Planner) -> Value:
    raise EvaluationError(f"expected a search space of image classifiers, got one of {skeleton.reason}")


_PLANNING: Mapping[type[Skeleton], _Planning] = dict(
    [
        _of(CellStages, plan_cell_stages),
        _of(ReducingCells, plan_reducing_cells),
        _of(ConcatenatingCells, plan_concatenating_cells),
        _of(CellPairs, plan_cell_pairs),
        _of(BlockChain, plan_block_chain),
        _of(TokenChain, plan_token_chain),
        _of(NoNetwork, _refuse),
        (WholeGraph, plan_whole_graph),  # type: ignore[list-item]
    ]
)


def plan_network(architecture: Architecture, space: SearchSpace, config: NetworkConfig) -> Plan:
    """The whole classifier as a plan.

    Raises:
        UnbuildableError: if the architecture has operations that cannot be built, or does not fit these images.
        EvaluationError: if the search space has no such networks, or its skeleton no such sizes.
    """
    skeleton = space.skeleton.resized(config.sizes)
    if not isinstance(skeleton, NoNetwork | WholeGraph):
        check_kinds(architecture)
    channels, height, width = config.image_shape
    planner = Planner.begin("Network", {"images": (channels, height, width)}, f"An image classifier of {space.name}.")
    inner = planner.entered_by(_scaled(planner, _resolution(architecture, config)))
    value = _PLANNING[type(skeleton)](architecture, skeleton, inner, config.num_classes)
    plan = planner.end(_classified(planner, value, config.num_classes))
    _check_size(plan)
    return plan


def build_network(
    architecture: Architecture, space: SearchSpace, config: NetworkConfig, generator: torch.Generator | None = None
) -> PlannedNetwork:
    """The classifier as a module, its weights drawn from the generator (a new seed of it; the global one stays as it is).

    Raises:
        EvaluationError: see `plan_network`.
    """
    plan = plan_network(architecture, space, config)
    seed = int(torch.randint(2**62, (), generator=generator)) if generator is not None else 0
    with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
        torch.manual_seed(seed)
        return PlannedNetwork(plan)


def _resolution(architecture: Architecture, config: NetworkConfig) -> int:
    told = dict(architecture.global_attributes).get("resolution")
    wanted = config.resolution or (told if isinstance(told, int) and not isinstance(told, bool) else 0)
    if wanted and not 1 <= wanted <= 1_024:
        raise UnbuildableError(f"expected a resolution of 1 to 1,024 pixels, got {wanted}")
    return wanted


def _scaled(planner: Planner, resolution: int) -> Value:
    images = planner.inputs[0]
    if not resolution or images.shape[1:] == (resolution, resolution):
        return images
    return planner.part("scale", images, "Resize", resolution, resolution)


def _classified(planner: Planner, value: Value, num_classes: int) -> Value:
    """Class scores: of a vector that is none yet by one more linear map."""
    if len(value.shape) == 3:
        value = planner.part("pool", value, "GlobalPool")
    last = planner.last_part
    if last is not None and last.constructor == "ChannelLinear" and value.shape == (num_classes,):
        return value
    return planner.part("classifier", value, "nn.Linear", value.channels, num_classes)


def _check_size(plan: Plan) -> None:
    with torch.device("meta"):
        total = num_parameters(PlannedNetwork(plan))
    if total > MAX_PARAMETERS:
        raise UnbuildableError(f"expected at most {MAX_PARAMETERS:,} parameters, got {total:,}")


def num_parameters(network: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
