"""Search spaces that users declare with a document of decisions (see `declared_definition`).

An architecture is written as a JSON object, `{"depth": 3, "op": ["conv3x3", null, "skip_connect"], …}`: one value per decision,
and a list of values, one per layer, for a repeated one. A decision that does not apply is left out; in a list it is null. Lists
may also be given for the most layers possible, and a valid value where none applies is read and dropped. The canonical text has
sorted keys and no spaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from predictor.architecture import Architecture
from predictor.errors import NotationError, NotInSpaceError, SpaceTooLargeError
from predictor.search_spaces.base import MAX_ENUMERATED, Notation, SearchSpace
from predictor.search_spaces.declared_assignments import Assignment, Assignments, Propose, num_layers
from predictor.search_spaces.declared_definition import DeclaredDecision, Slot, read_definition
from predictor.search_spaces.declared_graph import DeclaredGraphs
from predictor.search_spaces.declared_size import count_genotypes
from predictor.search_spaces.declared_steps import DeclaredSteps
from predictor.search_spaces.declared_values import Domain, Listed, Value
from predictor.search_spaces.json_notation import compact_json, read_json_object, shortened
from predictor.search_spaces.skeletons import WholeGraph

MAX_NEIGHBOURS = 1_000
_MAX_DRAWS = 1_000


class DeclaredSpace(SearchSpace):
    """A user's own space.

    Raises:
        InvalidDefinitionError: if the document is wrong; says which part, what was expected and what came.
    """

    def __init__(self, name: str, definition: Mapping[str, object]) -> None:
        self.name = name
        self.definition = read_definition(definition)
        self.decisions = self.definition.decisions
        self._by_name = self.definition.by_name
        self._assignments = Assignments(self.definition)
        self._groups = {group.repeat: group for group in self.definition.groups}
        self._graphs = DeclaredGraphs(self.definition)
        self.skeleton = WholeGraph(told_elsewhere=self._graphs.told_elsewhere())
        self._size = count_genotypes(self.definition)
        self._steps = DeclaredSteps(self.definition, self._decoded, self._assignment_of)

    def parse(self, notation: Notation) -> Architecture:
        return self._decoded(self._read(notation))

    def format(self, architecture: Architecture) -> str:
        return self._write(self._assignment_of(architecture))

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self._decoded(self._completed(lambda slot, _: self._domain(slot).sample(rng)))

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """One decision moved by its step (see `declared_values`), evenly picked where there are more than 1,000.

        What applies only since that move takes the layer's before it, or else its first value.
        """
        own = self._assignment_of(architecture)
        moves = [(slot, value) for slot, current in own.items() for value in self._domain(slot).neighbours(current)]
        step = max(1, -(-len(moves) // MAX_NEIGHBOURS))
        found: dict[str, Architecture] = {}
        for slot, value in moves[::step]:
            neighbour = self._decoded(self._moved({**own, slot: value}, None))
            found.setdefault(neighbour.hash, neighbour)
        found.pop(architecture.hash, None)
        return list(found.values())

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """One decision moved at random, numbers by a gaussian step; what applies only since then is drawn at random."""
        own = self._assignment_of(architecture)
        movable = [slot for slot in own if self._domain(slot).count != 1]
        for _ in range(_MAX_DRAWS if movable else 0):
            slot = movable[int(rng.integers(len(movable)))]
            mutant = self._decoded(self._moved({**own, slot: self._domain(slot).mutate(own[slot], rng)}, rng))
            if mutant.hash != architecture.hash:
                return mutant
        return architecture

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """Every decision, in every layer, from a parent drawn evenly; from the other where it does not apply in that one."""
        parents = (self._assignment_of(first), self._assignment_of(second))

        def propose(slot: Slot, _: Assignment) -> Value:
            taken = int(rng.integers(2))
            for parent in (parents[taken], parents[1 - taken]):
                if slot in parent:
                    return parent[slot]
            return self._domain(slot).sample(rng)

        return self._decoded(self._completed(propose))

    def size(self) -> int | None:
        """How many genotypes there are, exactly unless conditions are too entangled (see `declared_size`)."""
        return self._size

    def enumerate(self) -> Iterator[Architecture]:
        if self._size is None or self._size > MAX_ENUMERATED:
            came = "a continuous range" if self._size is None else shortened(self._size)
            raise SpaceTooLargeError(f"{self.name}: expected at most {MAX_ENUMERATED} genotypes to list, got {came}")
        return map(self._decoded, self._assignments.every())

    def stepwise(self) -> DeclaredSteps:
        """See `declared_steps`."""
        return self._steps

    def domain(self, slot: Slot) -> Domain:
        """What the decision may be."""
        return self._domain(slot)

    def assignment(self, architecture: Architecture) -> Assignment:
        """The value of every decision that applies.

        Raises:
            NotInSpaceError: if this space cannot express the architecture.
        """
        return self._assignment_of(architecture)

    def built(self, wanted: Assignment) -> Architecture:
        """The architecture with these values where they apply; what else applies is as in `neighbours`."""
        return self._decoded(self._moved(wanted, None))

    @property
    def num_features(self) -> int:
        """How many numbers `features` gives."""
        return sum(self._domain(slot).num_features for slot in self.definition.document_slots)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """(num_features,) such as depth, op[2]=conv3x3."""
        names: list[str] = []
        for name, layer in self.definition.document_slots:
            label, domain = name if layer < 0 else f"{name}[{layer}]", self._by_name[name].domain
            one_hot = isinstance(domain, Listed) and not domain.ordered
            names += [f"{label}={value}" for value in domain.values()] if one_hot else [label]
        return tuple(names)

    def features(self, architecture: Architecture) -> tuple[float, ...]:
        """(num_features,) decisions as numbers in [0, 1], in the document's order, a repeated one's layers together.

        A categorical decision is one-hot; an ordinal one is its place, a number its place between low and high (of the
        logarithm if so declared). All are 0 where the decision does not apply.

        Raises:
            NotInSpaceError: if this space cannot express the architecture.
        """
        own = self._assignment_by_text(architecture)
        found: list[float] = []
        for slot in self.definition.document_slots:
            domain = self._domain(slot)
            found += domain.features(own[slot]) if slot in own else (0.0,) * domain.num_features
        return tuple(found)

    def _read(self, notation: Notation) -> Assignment:
        document = read_json_object(notation, self.name)
        unknown = [key for key in document if key not in self._by_name]
        if unknown:
            raise NotationError(
                f"{self.name}: expected the decisions {', '.join(self._by_name)[:500]}, got also {shortened(unknown)}"
            )
        assignment = self._completed(lambda slot, _: self._read_slot(document, slot))
        for decision in self.decisions:
            self._check_rest(decision, document, assignment)
        return assignment

    def _domain(self, slot: Slot) -> Domain:
        return self._assignments.domain(slot)

    def _completed(self, propose: Propose) -> Assignment:
        assignment = self._assignments.settled(propose)
        if assignment is None:
            raise NotationError(f"{self.name}: expected a value of every decision that applies, got fewer")
        return assignment

    def _moved(self, wanted: Assignment, rng: np.random.Generator | None) -> Assignment:
        """The wanted values where they apply; what else applies is random or, without `rng`, like the layer before."""

        def propose(slot: Slot, known: Assignment) -> Value:
            if slot in wanted:
                return wanted[slot]
            domain = self._domain(slot)
            return known.get((slot[0], slot[1] - 1), domain.default) if rng is None else domain.sample(rng)

        return self._completed(propose)

    def _decoded(self, assignment: Assignment) -> Architecture:
        return self._graphs.build(assignment, self._write(assignment))

    def _assignment_of(self, architecture: Architecture) -> Assignment:
        """The decisions, from the graph alone; raises NotInSpaceError."""
        raw = self._graphs.read(architecture)
        assignment = self._assignments.settled(lambda slot, _: self._domain(slot).read(raw.get(slot)))
        if assignment is None or self._graphs.build(assignment, "").hash != architecture.hash:
            raise NotInSpaceError(
                f"{self.name}: expected an architecture of this space, got a graph of {architecture.num_nodes} nodes "
                "that none of its genotypes builds"
            )
        return assignment

    def _assignment_by_text(self, architecture: Architecture) -> Assignment:
        """Takes the genotype's word for it when it reads as one of this space; for speed."""
        if architecture.genotype is not None:
            try:
                return self._read(architecture.genotype)
            except NotationError:
                pass  # made by another space: only the graph counts
        return self._assignment_of(architecture)

    def _write(self, assignment: Assignment) -> str:
        document: dict[str, object] = {}
        for decision in self.decisions:
            if decision.repeat is not None:
                layers = range(self._num_layers(decision, assignment))
                document[decision.name] = [assignment.get((decision.name, layer)) for layer in layers]
            elif (decision.name, -1) in assignment:
                document[decision.name] = assignment[decision.name, -1]
        return compact_json(document)

    def _num_layers(self, decision: DeclaredDecision, assignment: Assignment) -> int:
        return num_layers(self._groups[decision.repeat], assignment) if decision.repeat is not None else 0

    def _read_slot(self, document: Mapping[str, object], slot: Slot) -> Value:
        name, layer = slot
        given = document.get(name)
        if layer >= 0:
            if not isinstance(given, list | tuple):
                raise NotationError(f"{self.name}: expected {name} to be a list, one entry a layer, got {_came(given)}")
            given = given[layer] if layer < len(given) else None
        value = self._domain(slot).read(given)
        if value is None:
            raise NotationError(
                f"{self.name}: expected {_label(slot)} to be {self._domain(slot).expected}, got {_came(given)}"
            )
        return value

    def _check_rest(self, decision: DeclaredDecision, document: Mapping[str, object], assignment: Assignment) -> None:
        """Lengths of lists, and that what does not apply is at least a value of its decision."""
        given = document.get(decision.name)
        if decision.repeat is not None:
            num, most = self._num_layers(decision, assignment), len(self.definition.layers_of(decision))
            if given is None and num == 0:
                return
            if not isinstance(given, list | tuple) or len(given) not in (num, most):
                came = f"{len(given)} of them" if isinstance(given, list | tuple) else _came(given)
                expected = f"{num} values" if num == most else f"{num} values (or {most}, the most possible)"
                raise NotationError(f"{self.name}: expected {decision.name} to be a list of {expected}, got {came}")
        entries = [(-1, given)] if decision.repeat is None else list(enumerate(given))  # type: ignore[arg-type]
        for layer, value in entries:
            slot = (decision.name, layer)
            if value is not None and self._domain(slot).read(value) is None:
                raise NotationError(
                    f"{self.name}: expected {_label(slot)}, which does not apply, to be null or "
                    f"{decision.domain.expected}, got {_came(value)}"
                )


def _label(slot: Slot) -> str:
    return slot[0] if slot[1] < 0 else f"{slot[0]}[{slot[1]}]"


def _came(value: object) -> str:
    return "none" if value is None else shortened(value)
