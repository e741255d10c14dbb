"""The only place where architectures become tensors.

Operations are encoded by what they are (kind, kernel size, stride, width, …), not by an index into their search space, so
that a space never seen in training still means something. Whatever has no known meaning (a user's own kinds and attributes)
is hashed by its text into a few dimensions, so that equal things look equal and different ones mostly do not.

Besides the graph itself, every architecture gets statistics of the whole (longest path, number of paths, operations by
kind, cost along paths …). `SpaceReference` holds their mean and spread over one search space, since "deep" means something
else among cells of six operations than among chains of forty layers.

Notation: B architectures, N nodes (padded), F node features, G global features.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.architecture import DERIVED_ATTRIBUTES, Architecture, Attributes, AttributeValue, Operation
from predictor.graph_statistics.complexity import KEPT_WORK, NUM_COMPLEXITIES, WORK, Costs, complexities, costs_of
from predictor.graph_statistics.operation_traits import Traits, traits_of
from predictor.graph_statistics.path_statistics import EXTREME_TRAITS, NUM_PATH_STATISTICS, path_statistics
from predictor.graph_statistics.signal_propagation import NUM_SIGNAL_FEATURES, signal_features
from predictor.graph_statistics.stacked_graphs import Array, StackedGraphs
from predictor.graph_statistics.weighted_paths import Paths, weighted_paths
from predictor.wiring import Edges

ENCODING_VERSION = 3

KINDS = (
    "input", "output", "conv", "separable_conv", "depthwise_conv", "mbconv", "max_pool", "avg_pool", "global_pool",
    "identity", "zero", "add", "concat", "multiply", "linear", "attention", "mlp", "embedding", "normalization",
    "activation", "graph_conv", "recurrent", "upsample", "layer", "decision",
)  # fmt: skip
NUMBERS = (
    "kernel_size", "stride", "dilation", "groups", "channels", "expansion", "heads", "repeats", "resolution", "rate", "depth",
)  # fmt: skip
_GLOBAL_NUMBERS = ("resolution", "stem_channels", "num_layers", "params", "flops")
_TRAINABLE = frozenset(
    {
        "conv",
        "separable_conv",
        "depthwise_conv",
        "mbconv",
        "linear",
        "attention",
        "mlp",
        "graph_conv",
        "recurrent",
        "layer",
    }
)
_HASHED_KIND = 8
_HASHED_ATTRIBUTES = 24
_NUM_STATIC = len(KINDS) + _HASHED_KIND + 2 * len(NUMBERS) + 1 + _HASHED_ATTRIBUTES + 2
_NUM_POSITIONAL = 6
NUM_STATIC_FEATURES = _NUM_STATIC
"""What an operation is, whatever its place: the first columns of node features."""
NUM_NODE_FEATURES = _NUM_STATIC + _NUM_POSITIONAL
"""F."""
_NUM_STATISTICS = 10
_NUM_COMPUTED = NUM_PATH_STATISTICS + NUM_SIGNAL_FEATURES + NUM_COMPLEXITIES
NUM_GLOBAL_FEATURES = 2 * len(_GLOBAL_NUMBERS) + _NUM_STATISTICS + len(KINDS) + 4 + _HASHED_ATTRIBUTES + _NUM_COMPUTED
"""G."""
COMPLEXITIES = slice(NUM_GLOBAL_FEATURES - NUM_COMPLEXITIES, NUM_GLOBAL_FEATURES)
"""Global features that are `complexities`."""
NUM_COUNTS = 256
"""Columns in which different operations are counted."""
NUM_QUANTILES = 65
"""Of each global feature over a space."""

_COST = _NUM_STATIC - 2  # column of the cost proxy among the static features
_WORK = _NUM_STATIC - 1  # column of the flag for trainable operations
_KERNEL_SIZES = (1.0, 3.0, 5.0, 7.0)
_LARGEST = 2.0**63  # numbers beyond it look like it


def _slots(text: str, num_slots: int) -> tuple[int, float]:
    """A slot and a sign that depend on the text alone (feature hashing; Weinberger et al., ICML 2009)."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little") % num_slots, 1.0 if digest[4] & 1 else -1.0


def _signs(text: str) -> NDArray[np.float32]:  # (NUM_COUNTS,)
    """As many random signs that depend on the text alone, in all of unit length."""
    digest = hashlib.blake2b(text.encode(), digest_size=NUM_COUNTS // 8).digest()
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))
    return (2.0 * bits.astype(np.float32) - 1.0) / np.float32(math.sqrt(NUM_COUNTS))


def _bounded(number: float) -> float:
    return float(max(-_LARGEST, min(number, _LARGEST)))


def _squashed(number: float) -> float:
    bounded = _bounded(number)
    return math.copysign(math.log2(1.0 + abs(bounded)), bounded) / 4.0


def _hashed(name: str, value: AttributeValue, out: NDArray[np.float32]) -> None:
    if isinstance(value, bool | str):
        slot, sign = _slots(f"{name}={value}", len(out))
        out[slot] += sign
    else:
        slot, sign = _slots(name, len(out))
        out[slot] += sign * _squashed(value)


def _number(operation: Operation, name: str, default: float) -> float:
    value = operation.get(name)
    return _bounded(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _cost(operation: Operation) -> float:
    """log2 of its work, less where it runs on fewer positions."""
    return math.log2(1.0 + _work(operation)) / max(_number(operation, "stride", 1.0), 1.0)


def _work(operation: Operation) -> float:
    """Multiply-accumulates per position and input channel, relative to a 1 × 1 convolution; 0 where nothing is trained."""
    if operation.kind not in _TRAINABLE:
        return 0.0
    kernel, groups = _number(operation, "kernel_size", 1.0), max(_number(operation, "groups", 1.0), 1.0)
    expansion = _number(operation, "expansion", 1.0)
    if operation.kind in ("mbconv", "separable_conv", "depthwise_conv"):
        work = expansion * (2.0 / groups + kernel * kernel / 32.0)
    else:
        work = expansion * kernel * kernel / groups
    return max(work, 0.0) * max(_number(operation, "repeats", 1.0), 0.0)


def _static_features(operation: Operation) -> NDArray[np.float32]:
    """(F - positional,) what an operation is, whatever its place."""
    kinds = np.zeros(len(KINDS), np.float32)
    hashed_kind = np.zeros(_HASHED_KIND, np.float32)
    if operation.kind in KINDS:
        kinds[KINDS.index(operation.kind)] = 1.0
    else:
        text = f"^{operation.kind}$"
        for start in range(len(text) - 2):
            slot, sign = _slots(text[start : start + 3], _HASHED_KIND)
            hashed_kind[slot] += sign / math.sqrt(len(text) - 2)
    numbers = np.zeros(2 * len(NUMBERS) + 1, np.float32)
    hashed = np.zeros(_HASHED_ATTRIBUTES, np.float32)
    for name, value in operation.attributes:
        if name in NUMBERS and not isinstance(value, str):
            place = NUMBERS.index(name)
            numbers[2 * place : 2 * place + 2] = _squashed(value), 1.0
        elif name == "se":
            numbers[-1] = float(bool(value))
        else:
            _hashed(name, value, hashed)
    work = np.array([_cost(operation), float(operation.kind in _TRAINABLE)], np.float32)
    return np.concatenate([kinds, hashed_kind, numbers, hashed, work])


@dataclass(frozen=True, slots=True)
class EncodedArchitecture:
    """One architecture as small arrays, nodes in topological order; independent of any surrogate."""

    operations: NDArray[np.int32]  # (N,) rows of the table of operations
    edges: NDArray[np.int16]  # (E, 2)
    attributes: NDArray[np.float32]  # (2 * global numbers + hashed,)


@dataclass(frozen=True)
class GraphBatch:
    """B architectures, padded to the same number of nodes."""

    nodes: Tensor  # (B, N, F)
    adjacency: Tensor  # (B, N, N), [b, i, j] = 1 for an edge from i to j; i < j
    mask: Tensor  # (B, N), 1 for real nodes
    globals: Tensor  # (B, G)
    operations: Tensor  # (B, N) rows of the table of the encoder that made the batch; 0 where there is no node

    def __len__(self) -> int:
        return len(self.nodes)

    def to(self, device: torch.device) -> GraphBatch:
        """The same batch on another device."""
        return GraphBatch(*(tensor.to(device) for tensor in self._tensors))

    def select(self, rows: Tensor | slice) -> GraphBatch:
        """The batch of these rows."""
        return GraphBatch(*(tensor[rows] for tensor in self._tensors))

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self.nodes, self.adjacency, self.mask, self.globals, self.operations


class ArchitectureEncoder:
    """Turns architectures into batches; keeps what it computed, by architecture hash. Safe to share between threads."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._encoded: OrderedDict[tuple[object, ...], EncodedArchitecture] = OrderedDict()
        self._rows: dict[str, int] = {}  # by the operation's key
        self._table = np.zeros((256, _NUM_STATIC), np.float32)  # the first row is padding
        self._traits = np.zeros((256, len(Traits._fields)), np.float32)
        self._costs = np.zeros((256, len(Costs._fields)), np.float32)
        self._signs = np.zeros((256, NUM_COUNTS), np.float32)
        self._lock = Lock()

    def encode(self, architecture: Architecture) -> EncodedArchitecture:
        """The architecture's arrays, from the cache where it was seen before."""
        known_derived = (pair for pair in architecture.global_attributes if pair[0] in DERIVED_ATTRIBUTES)
        key = (architecture.hash, *known_derived)  # which the hash leaves out and the encoding tells
        with self._lock:
            known = self._encoded.get(key)
        if known is None:
            known = self._encode(architecture)
            with self._lock:
                self._encoded[key] = known
                if len(self._encoded) > self._capacity:
                    self._encoded.popitem(last=False)
        return known

    def batch(self, architectures: Sequence[Architecture]) -> GraphBatch:
        """A batch of all of them, padded to the largest."""
        return self.collate([self.encode(architecture) for architecture in architectures])

    def collate(self, encoded: Sequence[EncodedArchitecture]) -> GraphBatch:
        """Pads and stacks; positions and statistics are computed here, for the whole batch at once."""
        sizes = np.array([len(one.operations) for one in encoded])
        num_edges = np.array([len(one.edges) for one in encoded])
        batch, width = len(encoded), int(sizes.max(initial=1))
        mask = np.arange(width)[None, :] < sizes[:, None]  # (B, N)
        rows = np.zeros((batch, width), np.int32)
        adjacency = np.zeros((batch, width, width), np.float32)
        into = np.zeros((width, width, batch), np.float32)
        if batch:
            rows[mask] = np.concatenate([one.operations for one in encoded])
            source, target = np.concatenate([one.edges for one in encoded]).T
            graph = np.repeat(np.arange(batch), num_edges)
            adjacency[graph, source, target] = into[target, source, graph] = 1.0
        attributes = np.stack([one.attributes for one in encoded]) if batch else np.zeros((0, _num_attributes()))
        real = mask.astype(np.float32)
        traits, costs = (np.ascontiguousarray(known[rows].transpose(2, 1, 0)) for known in (self._traits, self._costs))
        graphs = StackedGraphs(into, np.ascontiguousarray(real.T))
        told = attributes.astype(np.float32, copy=False)
        nodes, features = _assembled(self._table[rows], traits, costs, graphs, told)
        return GraphBatch(*map(torch.from_numpy, (nodes, adjacency, real, features, rows)))

    def operation_counts(self, batch: GraphBatch) -> Tensor:  # (B, NUM_COUNTS)
        """How often each operation is there, kind and attributes, in a batch of this encoder; the order of nodes and their
        edges do not matter.

        Counts of any number of different operations are laid over each other with random signs, which keeps distances
        (Achlioptas, "Database-friendly random projections", JCSS 2003). The same on every machine and in every version.
        """
        different, places = np.unique(batch.operations.numpy(), return_inverse=True)
        rows = np.arange(len(batch))[:, None] * len(different) + places.reshape(batch.operations.shape)
        counts = np.bincount(rows.ravel(), minlength=len(batch) * len(different)).reshape(len(batch), len(different))
        return torch.from_numpy(counts.astype(np.float32) @ self._signs[different])

    def _encode(self, architecture: Architecture) -> EncodedArchitecture:
        order, operations = architecture.topological_order, architecture.operations
        return EncodedArchitecture(
            np.array([self._row(operations[node]) for node in order], np.int32),
            _ordered_edges(order, architecture.edges),
            _attribute_features(architecture.global_attributes),
        )

    def _row(self, operation: Operation) -> int:
        row = self._rows.get(operation.key)
        return self._new_row(operation) if row is None else row

    def _new_row(self, operation: Operation) -> int:
        features, work = _static_features(operation), _work(operation)
        traits = traits_of(operation, work, operation.kind in _TRAINABLE)
        with self._lock:
            row = self._rows.setdefault(operation.key, 1 + len(self._rows))  # another thread may have been faster
            if row == len(self._table):
                self._table, self._traits, self._costs, self._signs = (
                    np.concatenate([known, np.zeros_like(known)])
                    for known in (self._table, self._traits, self._costs, self._signs)
                )
            self._table[row], self._traits[row] = features, traits
            self._costs[row], self._signs[row] = costs_of(operation), _signs(operation.key)
        return row


@lru_cache(maxsize=4_096)
def _ordered_edges(order: tuple[int, ...], edges: Edges) -> NDArray[np.int16]:  # (N,), (E, 2) -> (E, 2)
    """Edges between places in the order. Whole search spaces share a few of them, so those seen lately are kept."""
    position = {node: place for place, node in enumerate(order)}
    return np.array([(position[source], position[target]) for source, target in edges], np.int16).reshape(-1, 2)


def _num_attributes() -> int:
    return 2 * len(_GLOBAL_NUMBERS) + _HASHED_ATTRIBUTES


def _attribute_features(attributes: Attributes) -> NDArray[np.float32]:
    """Global attributes: (value, presence) of the known ones, then the hashed rest."""
    if not attributes:
        return _NO_ATTRIBUTES  # most spaces have none: thousands may be kept
    known = np.zeros(2 * len(_GLOBAL_NUMBERS), np.float32)
    hashed = np.zeros(_HASHED_ATTRIBUTES, np.float32)
    for name, value in attributes:
        if name in _GLOBAL_NUMBERS and not isinstance(value, str):
            place = _GLOBAL_NUMBERS.index(name)
            known[2 * place : 2 * place + 2] = _squashed(value), 1.0
        else:
            _hashed(name, value, hashed)
    return np.concatenate([known, hashed])


_NO_ATTRIBUTES = np.zeros(_num_attributes(), np.float32)
_NO_ATTRIBUTES.flags.writeable = False


def _assembled(
    static: Array, traits: Array, costs: Array, graphs: StackedGraphs, attributes: Array
) -> tuple[Array, Array]:  # (B, N, static), (T, N, B), (C, N, B), (B, attributes) -> (B, N, F), (B, G)
    """Features of nodes and of whole graphs, from what is known node by node."""
    traits = traits * graphs.mask
    work, cost = np.ascontiguousarray(static[..., [_WORK, _COST]].transpose(2, 1, 0))  # (N, B) each
    forward = weighted_paths(graphs, np.stack([graphs.mask, work, cost, *traits[1:][list(EXTREME_TRAITS)]]))
    most, least = forward.most(graphs.ends), forward.least(graphs.ends)
    ways = np.maximum((forward.ways * graphs.ends).sum(axis=0), 1.0)
    positional, share = _positions(graphs, forward, ways)
    statistics = np.log2(
        1.0 + np.stack([most[1], least[1], most[2], least[2], *((share * one).sum(axis=0) for one in (work, cost)),
        cost.sum(axis=0), ways, graphs.into.sum(axis=(0, 1))])
    )  # fmt: skip
    statistics[7] *= 0.5
    deepest = np.log2(np.maximum(most[0], 1.0))
    known, hashed = attributes[:, : 2 * len(_GLOBAL_NUMBERS)], attributes[:, 2 * len(_GLOBAL_NUMBERS) :]
    features = [
        *(known, statistics[:8].T, deepest[:, None], statistics[8:].T, _counts(static, work), hashed),
        path_statistics(graphs, traits[1:], most[3:], least[3:]),
        signal_features(graphs, traits[0].astype(np.int8)),
        complexities(graphs, costs),
    ]
    return np.concatenate([static, positional], axis=-1), np.concatenate(features, axis=1)


def _positions(graphs: StackedGraphs, forward: Paths, ways: Array) -> tuple[Array, Array]:
    """Where nodes are in their graphs (B, N, positional), and the share of all ways that go through them (N, B)."""
    backward = weighted_paths(graphs.reversed, graphs.reversed.mask[None])
    depth, height = forward.longest[0], backward.longest[0, ::-1]
    deepest = np.maximum((depth * graphs.mask).max(axis=0, initial=0.0), 1.0)
    share = np.minimum(forward.ways * backward.ways[::-1] / ways, 1.0) * graphs.mask
    degrees = np.log2(1.0 + np.stack([graphs.into.sum(axis=1), graphs.into.sum(axis=0)]))
    columns = [depth / deepest, height / deepest, *degrees, share, np.log2(np.maximum(depth, 1.0)) * 0.25]
    return (np.stack(columns) * graphs.mask).transpose(2, 1, 0), share


def _counts(static: Array, work: Array) -> Array:  # (B, N, static), (N, B) -> (B, kinds + kernel sizes)
    """How often each kind of operation is there, and each size of a trained kernel."""
    kinds = static[..., : len(KINDS)].sum(axis=1)
    kernel = static[..., len(KINDS) + _HASHED_KIND]
    kernels = [((np.abs(kernel - _squashed(size)) < 1e-4) * work.T).sum(axis=1) for size in _KERNEL_SIZES]
    return np.log2(1.0 + np.concatenate([kinds, np.stack(kernels, axis=1)], axis=1))


def work_of(features: Tensor) -> Tensor:  # (B, G) -> (B,)
    """How much is computed, of global features or of their ranks: the mean over both guesses of what the input's width is."""
    complexity = features[:, COMPLEXITIES]
    return (complexity[:, WORK] + complexity[:, KEPT_WORK]) / 2.0


@dataclass(frozen=True)
class SpaceReference:
    """Mean, spread and quantiles of the global features over one search space."""

    mean: Tensor  # (G,)
    std: Tensor  # (G,)
    quantiles: Tensor | None = None  # (NUM_QUANTILES, G) ascending; kept ones of before there were any lack them

    @classmethod
    def of(cls, batch: GraphBatch) -> SpaceReference:
        """From a batch of architectures that stand for the space; features that do not vary get spread 1."""
        std = batch.globals.std(0, correction=0) if len(batch) else torch.ones(NUM_GLOBAL_FEATURES)
        mean = batch.globals.mean(0) if len(batch) else torch.zeros(NUM_GLOBAL_FEATURES)
        return cls(mean, torch.where(std > 1e-3, std, 1.0), quantiles_of(batch.globals))

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """For a checkpoint, each name behind the prefix."""
        known = {"mean": self.mean, "std": self.std, "quantiles": self.quantiles}
        return {prefix + name: value for name, value in known.items() if value is not None}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> SpaceReference:
        """From `tensors`; KeyError if a part is missing, ValueError if the quantiles are of another shape."""
        quantiles = tensors.get(f"{prefix}quantiles")
        if quantiles is not None and quantiles.shape != (NUM_QUANTILES, NUM_GLOBAL_FEATURES):
            raise ValueError(f"expected quantiles {(NUM_QUANTILES, NUM_GLOBAL_FEATURES)}, got {tuple(quantiles.shape)}")
        return cls(tensors[f"{prefix}mean"], tensors[f"{prefix}std"], quantiles)

    def standardised(self, features: Tensor) -> Tensor:  # (B, G) -> (B, G)
        """Features relative to the space, within ±4."""
        return ((features - self.mean) / self.std).clamp(-4.0, 4.0)

    def normal_scores(self, features: Tensor) -> Tensor:  # (B, G) -> (B, G)
        """Features by their rank in the space, as a normal distribution has them: 0 in the middle, within ±2.5.

        What many architectures share gets the middle of the ranks that they share, so that "has no pooling" means the same
        wherever as many have none; between quantiles ranks are interpolated. Zeros where no quantiles are known.
        """
        if self._knots is None:
            return torch.zeros_like(features)
        quantiles, levels = self._knots
        asked = features.T.contiguous()  # (G, B)
        after = torch.searchsorted(quantiles, asked, right=True)
        low, high = (after - 1).clamp(min=0), after.clamp(max=quantiles.shape[1] - 1)
        start, end = quantiles.gather(1, low), quantiles.gather(1, high)
        share = torch.where(end > start, (asked - start) / (end - start).clamp(min=1e-9), 0.0)
        return torch.lerp(levels.gather(1, low), levels.gather(1, high), share.clamp(0.0, 1.0)).T

    @cached_property
    def _knots(self) -> tuple[Tensor, Tensor] | None:  # (G, NUM_QUANTILES) each
        """Quantiles and their normal scores."""
        if self.quantiles is None:
            return None
        quantiles = self.quantiles.T.contiguous()
        reach = 1e-6 * quantiles.abs().amax(1, keepdim=True).clamp(min=1.0)  # rounding tells nothing apart
        before = torch.searchsorted(quantiles, quantiles - reach)
        until = torch.searchsorted(quantiles, quantiles + reach, right=True)
        ranks = (before + until).double() / (2 * quantiles.shape[1])
        return quantiles, torch.special.ndtri(ranks).float().clamp(-2.5, 2.5)


def quantiles_of(features: Tensor) -> Tensor:  # (B, G) -> (NUM_QUANTILES, G)
    """Evenly spaced quantiles of each feature, among those that are there; zeros where there are none."""
    if not len(features):
        return torch.zeros(NUM_QUANTILES, NUM_GLOBAL_FEATURES)
    places = torch.linspace(0, len(features) - 1, NUM_QUANTILES).round().long()
    return features.sort(0).values[places].contiguous()
