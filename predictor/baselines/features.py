"""Architectures as vectors for the baselines, kept once computed.

An architecture is kept by its hash together with its genotype and global attributes: a space may write one network in
several ways, and then its decisions differ.

Notation: Q architectures, D decision features of a space, G statistics of the whole graph.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.encoding import NUM_GLOBAL_FEATURES, ArchitectureEncoder, SpaceReference
from predictor.meta.episodes import space_reference
from predictor.search_spaces.base import SearchSpace

Array = NDArray[np.float64]
_CHUNK = 512  # architectures encoded at once
_MIN_FOR_REFERENCE = 16


def identity_of(architecture: Architecture) -> tuple[Hashable, ...]:
    """What tells architectures apart that are written differently."""
    return architecture.hash, architecture.genotype, architecture.global_attributes


class Features:
    """Decisions and statistics of architectures. For use from one thread; may be shared between baselines."""

    def __init__(self) -> None:
        self._encoder = ArchitectureEncoder()
        self._decisions: dict[tuple[Hashable, ...], Array] = {}
        self._statistics: dict[tuple[Hashable, ...], Array] = {}
        self._references: dict[str, SpaceReference] = {}

    def decisions(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Array:  # (Q, D)
        """The decisions behind architectures of this space; no columns where there are none."""

        def computed(missing: Sequence[Architecture]) -> Array:
            return np.array([space.features(one) for one in missing], dtype=np.float64).reshape(len(missing), -1)

        return _kept(self._decisions, space.name, architectures, computed)

    def statistics(
        self, space: SearchSpace, reference: SpaceReference, architectures: Sequence[Architecture]
    ) -> Array:  # (Q, G)
        """Statistics of the whole graph, relative to the space."""

        raw = torch.from_numpy(self.raw_statistics(architectures))
        return reference.standardised(raw).numpy()

    def raw_statistics(self, architectures: Sequence[Architecture]) -> Array:  # (Q, G)
        """The same as they are."""

        def computed(missing: Sequence[Architecture]) -> Array:
            parts = [self._encoder.batch(missing[at : at + _CHUNK]).globals for at in range(0, len(missing), _CHUNK)]
            return torch.cat(parts).double().numpy()

        return _kept(self._statistics, "", architectures, computed).reshape(-1, NUM_GLOBAL_FEATURES)

    def reference(self, space: SearchSpace, known: Sequence[Architecture]) -> SpaceReference:
        """What statistics are relative to: random architectures of the space, or, where that is open, the known ones if they
        are many, else nothing."""
        if space.is_open:
            enough = len(known) >= _MIN_FOR_REFERENCE
            return SpaceReference.of(self._encoder.batch(known)) if enough else _nothing()
        if space.name not in self._references:
            self._references[space.name] = space_reference(space, self._encoder)
        return self._references[space.name]

    def view(
        self, space: SearchSpace, known: Sequence[Architecture]
    ) -> Callable[[Sequence[Architecture]], Array]:  # (Q, D or G)
        """Decisions where the space has them, else statistics relative to it."""
        if self.decisions(space, known[:1] or _drawn(space)).shape[1]:
            return lambda architectures: self.decisions(space, architectures)
        reference = self.reference(space, known)
        return lambda architectures: self.statistics(space, reference, architectures)


def _drawn(space: SearchSpace) -> Sequence[Architecture]:
    return (space.sample(np.random.default_rng(0)),)


def _nothing() -> SpaceReference:
    return SpaceReference(torch.zeros(NUM_GLOBAL_FEATURES), torch.ones(NUM_GLOBAL_FEATURES))


def _kept(
    known: dict[tuple[Hashable, ...], Array],
    owner: str,
    architectures: Sequence[Architecture],
    computed: Callable[[Sequence[Architecture]], Array],
) -> Array:
    keys = [(owner, *identity_of(one)) for one in architectures]
    missing = {key: one for key, one in zip(keys, architectures, strict=True) if key not in known}
    if missing:
        known.update(zip(missing, computed(list(missing.values())), strict=True))
    return np.stack([known[key] for key in keys]) if keys else np.zeros((0, 0))
