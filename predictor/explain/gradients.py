"""Integrated gradients: each node's and each edge's share of a forecast (Sundararajan et al., "Axiomatic attribution for deep
networks", ICML 2017), computed by captum.

The forecast is followed from a baseline to the architecture along a straight line in all that it depends on (see `smooth_forecast`).
At the baseline every operation is the average of those of variants of the architecture, no edge is there, statistics of the whole
graph are those of the space on average, and decisions and what trees (the universal mean, forests) and related tasks say are as in the variants on average. What a
node changes through its features and through the counts of operations is the node's share, and likewise with edges. What changes
through statistics of the whole graph, decisions, and related tasks cannot be told apart by node and is told apart from them:
`coverage` says how much of all that moves falls on nodes and edges.

All shares together are the forecast less the baseline's (completeness), up to `completeness_error`, which is what numeric
integration leaves.

Notation: N nodes, F node features, X features of decisions, V variants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from predictor.adapted_predictor import AdaptedPredictor
from predictor.architecture import Architecture
from predictor.errors import ExplanationError
from predictor.explain.asking import never
from predictor.explain.parts import Parts, described
from predictor.explain.smooth_forecast import Looks, SmoothForecast, Tensors
from predictor.search_spaces.graph_edits import TERMINAL_KINDS

_MAX_NODES = 200
_MAX_PAIRS = 2**17  # of nodes that one step of a batch looks at
_TOLERANCE = 0.01  # of the distance from the baseline
_MOST_STEPS = 512


@dataclass(frozen=True)
class GradientConfig:
    """How finely the line is followed at first, and how many variants the baseline is the average of.

    Raises:
        ExplanationError: if a number is too small.
    """

    num_steps: int = 64
    num_variants: int = 64

    def __post_init__(self) -> None:
        if self.num_steps < 2 or self.num_variants < 1:
            raise ExplanationError(
                f"expected at least 2 steps and 1 variant, got {self.num_steps} and {self.num_variants}"
            )


@dataclass(frozen=True)
class NodeShare:
    """A node's share in the metric's unit; its number is that in the canonical form."""

    node: int
    operation: str
    share: float


@dataclass(frozen=True)
class EdgeShare:
    """An edge's."""

    source: int
    target: int
    share: float


@dataclass(frozen=True)
class GradientExplanation:
    """`forecast` is `base` with all shares and `completeness_error`."""

    architecture: Architecture
    forecast: float
    base: float
    nodes: tuple[NodeShare, ...]
    edges: tuple[EdgeShare, ...]
    decisions: dict[str, float]  # by name
    statistics: float  # of the whole graph, by what the surrogate, the process and trees make of them; forests read decisions and related tasks, too
    related_tasks: float
    completeness_error: float
    num_steps: int

    @property
    def coverage(self) -> float:
        """Which part of everything that moves the forecast, up or down, falls on nodes and edges: 0 to 1."""
        graph = sum(abs(node.share) for node in self.nodes) + sum(abs(edge.share) for edge in self.edges)
        rest = abs(self.statistics) + abs(self.related_tasks) + sum(map(abs, self.decisions.values()))
        return graph / (graph + rest) if graph + rest > 0.0 else 0.0


def explain_gradients(
    parts: Parts[Any],
    adapted: AdaptedPredictor,
    decision_names: Sequence[str],
    rng: np.random.Generator,
    config: GradientConfig = GradientConfig(),
    check: Callable[[], None] = never,
) -> GradientExplanation:
    """The shares; `decision_names` says for each of the space's features (X,) which decision it tells of.

    Raises:
        ExplanationError: if captum is not installed, or the graph has more than 200 nodes.
    """
    canonical = parts.architecture.canonical()
    if canonical.num_nodes > _MAX_NODES:
        raise ExplanationError(f"expected a graph of at most {_MAX_NODES} nodes, got one of {canonical.num_nodes}")
    smooth = SmoothForecast(adapted)
    own = smooth.looks([canonical])
    check()
    baseline = _baseline(own, smooth.looks(_variants(parts, rng, config.num_variants)), canonical)
    spreads = smooth.spreads(parts.architecture)

    def value(*tensors: Tensor) -> Tensor:
        check()
        return smooth.value(_six(tensors), own.mask.expand(len(tensors[0]), -1), spreads)

    with torch.no_grad():
        forecast, base = float(value(*own.tensors)), float(value(*baseline))
    shares, num_steps, error = _followed(value, own.tensors, baseline, forecast - base, config.num_steps)
    nodes, counted, adjacency, whole, decisions, opinions = shares
    trees = float(opinions[:, : smooth.num_of_trees].sum())
    by_node = (nodes.sum(-1) + counted.sum(-1))[0].tolist()
    order = canonical.topological_order
    return GradientExplanation(
        parts.architecture, forecast, base, _node_shares(canonical, order, by_node),
        _edge_shares(canonical, order, adjacency[0]), _by_name(decision_names, decisions[0].tolist()),
        float(whole.sum()) + trees, float(opinions.sum()) - trees, error, num_steps,
    )  # fmt: skip


def _followed(
    value: Callable[..., Tensor], own: Tensors, baseline: Tensors, distance: float, num_steps: int
) -> tuple[Tensors, int, float]:
    """The shares of the six, in as many steps as it takes for them to add up, and what is missing."""
    attribute = _integrated_gradients()(value).attribute
    rows = max(1, _MAX_PAIRS // own[0].shape[1] ** 2)
    while True:
        found = attribute(own, baselines=baseline, n_steps=num_steps, method="gausslegendre", internal_batch_size=rows)
        error = distance - sum(float(one.sum()) for one in found)
        if abs(error) <= _TOLERANCE * abs(distance) or 2 * num_steps > _MOST_STEPS:
            return _six(tuple(one.detach() for one in found)), num_steps, error
        num_steps *= 2


def _integrated_gradients() -> Any:
    """captum is an optional extra, since it loads matplotlib: here is the one place that imports it."""
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ExplanationError(
            "expected the extra `explain` (captum) to be installed for integrated gradients, got none; swaps and Shapley values "
            "need nothing"
        ) from error
    return IntegratedGradients


def _six(tensors: Sequence[Tensor]) -> Tensors:
    nodes, counted, adjacency, whole, decisions, opinions = tensors
    return nodes, counted, adjacency, whole, decisions, opinions


def _variants(parts: Parts[Any], rng: np.random.Generator, count: int) -> list[Architecture]:
    drawn = (parts.mixed(parts.variant(rng), [False] * len(parts.parts)) for _ in range(count))
    return [one for one in drawn if one is not None] or [parts.architecture]


def _baseline(own: Looks, variants: Looks, canonical: Architecture) -> Tensors:
    """Inputs and outputs stay what they are."""
    is_terminal = torch.tensor(
        [[canonical.operations[node].kind in TERMINAL_KINDS] for node in canonical.topological_order]
    )
    nodes, counted = (
        torch.where(is_terminal, mine, _average_node(theirs, variants))
        for mine, theirs in ((own.nodes, variants.nodes), (own.counted, variants.counted))
    )
    rest = (one.mean(0, keepdim=True) for one in (variants.globals, variants.decisions, variants.opinions))
    return _six((nodes, counted, torch.zeros_like(own.adjacency), *rest))


def _average_node(tensor: Tensor, variants: Looks) -> Tensor:  # (V, N, F) -> (F,)
    """Over nodes that something feeds and that feed something: all but inputs and outputs."""
    inner = ((variants.adjacency.sum(1) > 0) & (variants.adjacency.sum(2) > 0)).double()[..., None]
    return (tensor * inner).sum((0, 1)) / inner.sum().clamp(min=1.0)


def _node_shares(canonical: Architecture, order: Sequence[int], shares: Sequence[float]) -> tuple[NodeShare, ...]:
    found = dict(zip(order, shares, strict=True))
    return tuple(
        NodeShare(node, described(operation), found[node]) for node, operation in enumerate(canonical.operations)
    )


def _edge_shares(canonical: Architecture, order: Sequence[int], shares: Tensor) -> tuple[EdgeShare, ...]:  # (N, N)
    place = {node: number for number, node in enumerate(order)}
    return tuple(
        EdgeShare(source, target, float(shares[place[source], place[target]])) for source, target in canonical.edges
    )


def _by_name(names: Sequence[str], shares: Sequence[float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, share in zip(names, shares, strict=True):
        found[name] = found.get(name, 0.0) + share
    return found
