"""The document that declares a search space, read strictly.

    {
      "version": 1,
      "description": "optional text",
      "decisions": [
        {"name": "depth", "type": "integer", "low": 1, "high": 8},
        {"name": "op", "type": "categorical", "values": ["conv3x3", "mbconv_k3_e6", "skip_connect"], "repeat": "depth"},
        {"name": "width", "type": "ordinal", "values": [16, 32, 64], "repeat": "depth", "when": {"op": "conv3x3"}},
        {"name": "learning_rate", "type": "real", "low": 1e-5, "high": 0.1, "log": true}
      ]
    }

- categorical and ordinal decisions list `values` (text, numbers, truth values); ordinal ones in their order.
- integer and real decisions have `low` and `high`, both included, and optionally `step` or `log`.
- `repeat` makes a decision once per layer: a whole number of layers, or the name of a decision that is not repeated and
  whose values are whole numbers; the largest is the most layers there can be. Decisions with the same `repeat` share layers.
- `when` makes a decision conditional: it applies where every named decision applies and has the value, or one of the listed
  values. A repeated decision may depend on decisions of the same layer and on ones that are not repeated.
- `description` is for people.

Forward references are fine, circular ones are not.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from predictor.errors import InvalidDefinitionError
from predictor.search_spaces.declared_domains import MAX_VALUES, check_keys, read_domain
from predictor.search_spaces.declared_values import Domain, Grid, Range, value_key
from predictor.search_spaces.json_notation import is_storable_text, shortened

VERSION = 1
MAX_DECISIONS = 200
MAX_REPEATS = 200
MAX_SLOTS = 2_000
MAX_NAME = 64
MAX_DESCRIPTION = 4_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class DeclaredDecision:
    """One decision of a declared space. `when` holds names and the keys (see `value_key`) of the values that allow it."""

    name: str
    type: str
    domain: Domain
    repeat: int | str | None = None
    when: tuple[tuple[str, frozenset[Hashable]], ...] = ()
    description: str = ""


@dataclass(frozen=True)
class LayerGroup:
    """Decisions that share layers."""

    repeat: int | str
    max_layers: int
    members: tuple[DeclaredDecision, ...]  # each after those that it depends on


Slot = tuple[str, int]
"""A decision and its layer; the layer is -1 where the decision is not repeated."""


@dataclass(frozen=True)
class Definition:
    """A declared space, checked."""

    decisions: tuple[DeclaredDecision, ...]  # in the document's order
    description: str = ""

    @cached_property
    def by_name(self) -> dict[str, DeclaredDecision]:
        """Decisions by name."""
        return {decision.name: decision for decision in self.decisions}

    @cached_property
    def dependency_order(self) -> tuple[DeclaredDecision, ...]:
        """Every decision after those that it depends on."""
        sorter = TopologicalSorter({decision.name: _references(decision) for decision in self.decisions})
        return tuple(self.by_name[name] for name in sorter.static_order())

    @cached_property
    def singles(self) -> tuple[DeclaredDecision, ...]:
        """Decisions that are not repeated, each after those that it depends on."""
        return tuple(decision for decision in self.dependency_order if decision.repeat is None)

    @cached_property
    def groups(self) -> tuple[LayerGroup, ...]:
        """Layer groups in the order in which the document begins them."""
        repeats = dict.fromkeys(decision.repeat for decision in self.decisions if decision.repeat is not None)
        return tuple(
            LayerGroup(repeat, self.max_layers(repeat), tuple(d for d in self.dependency_order if d.repeat == repeat))
            for repeat in repeats
        )

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """Every slot after those that it depends on."""
        layers = ((d.name, layer) for g in self.groups for layer in range(g.max_layers) for d in g.members)
        return (*((decision.name, -1) for decision in self.singles), *layers)

    @cached_property
    def document_slots(self) -> tuple[Slot, ...]:
        """Every slot in the document's order, a repeated decision's layers together."""
        return tuple((decision.name, layer) for decision in self.decisions for layer in self.layers_of(decision))

    def layers_of(self, decision: DeclaredDecision) -> Sequence[int]:
        """All layers that the decision can have."""
        return (-1,) if decision.repeat is None else range(self.max_layers(decision.repeat))

    def max_layers(self, repeat: int | str) -> int:
        """The most layers that a repeat can mean."""
        if isinstance(repeat, int):
            return repeat
        domain = self.by_name[repeat].domain
        largest = domain.high if isinstance(domain, Grid) else max(map(int, domain.values()))
        return int(largest)


def read_definition(document: object) -> Definition:
    """The declared space that the document describes.

    Raises:
        InvalidDefinitionError: if the document is wrong; says which part, what was expected and what came.
    """
    if not isinstance(document, Mapping):
        raise InvalidDefinitionError(f"expected an object with version and decisions, got {type(document).__name__}")
    check_keys("definition", document, required={"version", "decisions"}, optional={"description"})
    version, listed = document["version"], document["decisions"]
    if isinstance(version, bool) or version != VERSION:
        raise InvalidDefinitionError(f"version: expected {VERSION}, got {shortened(version)}")
    if not isinstance(listed, list | tuple) or not 1 <= len(listed) <= MAX_DECISIONS:
        came = f"{len(listed)} of them" if isinstance(listed, list | tuple) else type(listed).__name__
        raise InvalidDefinitionError(f"decisions: expected a list of 1 to {MAX_DECISIONS} decisions, got {came}")
    domains = _read_domains(listed)
    definition = Definition(
        tuple(_read_decision(fields, domains) for fields in listed),
        _read_description("definition", document),
    )
    _check_references(definition)
    _check_cycles(definition)
    _check_slots(definition)
    return definition


def _references(decision: DeclaredDecision) -> list[str]:
    repeat = [decision.repeat] if isinstance(decision.repeat, str) else []
    return [*(name for name, _ in decision.when), *repeat]


def _read_description(part: str, fields: Mapping[str, object]) -> str:
    description = fields.get("description", "")
    if not is_storable_text(description, MAX_DESCRIPTION):
        raise InvalidDefinitionError(
            f"{part}: expected description to be text of at most {MAX_DESCRIPTION} characters without NUL, "
            f"got {shortened(description)}"
        )
    return str(description)


def _read_domains(listed: Sequence[object]) -> dict[str, Domain]:
    """Names and values of all decisions, so that references can be checked against them."""
    domains: dict[str, Domain] = {}
    for number, fields in enumerate(listed):
        part = f"decisions[{number}]"
        if not isinstance(fields, Mapping):
            raise InvalidDefinitionError(f"{part}: expected an object, got {type(fields).__name__}")
        name = fields.get("name")
        if not isinstance(name, str) or len(name) > MAX_NAME or _NAME.fullmatch(name) is None:
            raise InvalidDefinitionError(
                f"{part}: expected name to be at most {MAX_NAME} letters, digits and underscores that do not begin "
                f"with a digit, got {shortened(name)}"
            )
        if name in domains:
            raise InvalidDefinitionError(f"{part}: expected every name once, got {name!r} again")
        domains[name] = read_domain(f"decision {name!r}", fields)
    return domains


def _read_decision(fields: Mapping[str, object], domains: Mapping[str, Domain]) -> DeclaredDecision:
    name = str(fields["name"])
    part = f"decision {name!r}"
    return DeclaredDecision(
        name,
        str(fields["type"]),
        domains[name],
        _read_repeat(part, fields.get("repeat"), domains),
        _read_when(part, fields.get("when", {}), domains),
        _read_description(part, fields),
    )


def _read_repeat(part: str, repeat: object, domains: Mapping[str, Domain]) -> int | str | None:
    if repeat is None:
        return None
    if isinstance(repeat, str):
        if repeat not in domains:
            raise InvalidDefinitionError(f"{part}: expected repeat to name a decision, got {shortened(repeat)}")
        _check_layer_counts(part, repeat, domains[repeat])
        return repeat
    if isinstance(repeat, bool) or not isinstance(repeat, int) or not 1 <= repeat <= MAX_REPEATS:
        raise InvalidDefinitionError(
            f"{part}: expected repeat to be a whole number from 1 to {MAX_REPEATS} or the name of a decision, "
            f"got {shortened(repeat)}"
        )
    return repeat


def _check_layer_counts(part: str, repeat: str, domain: Domain) -> None:
    """The values of the decision that says how many layers there are."""
    numbers = (domain.low, domain.high) if isinstance(domain, Grid) else tuple(domain.values())
    whole = all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
    if not whole or not all(0 <= number <= MAX_REPEATS for number in numbers):  # type: ignore[operator]
        raise InvalidDefinitionError(
            f"{part}: expected repeat to name a decision whose values are whole numbers from 0 to {MAX_REPEATS}, "
            f"got {repeat!r}, which is {domain.expected}"
        )


def _read_when(part: str, when: object, domains: Mapping[str, Domain]) -> tuple[tuple[str, frozenset[Hashable]], ...]:
    if not isinstance(when, Mapping):
        raise InvalidDefinitionError(f"{part}: expected when to be an object, got {type(when).__name__}")
    conditions = []
    for name, allowed in when.items():
        if name not in domains:
            raise InvalidDefinitionError(f"{part}: expected when to name decisions, got {shortened(name)}")
        if isinstance(domains[name], Range):
            raise InvalidDefinitionError(f"{part}: expected when to name decisions with steps, got the real {name!r}")
        listed = allowed if isinstance(allowed, list | tuple) else [allowed]
        if not 1 <= len(listed) <= MAX_VALUES:
            raise InvalidDefinitionError(
                f"{part}: expected when.{name} to list 1 to {MAX_VALUES} values, got {len(listed)}"
            )
        conditions.append((name, frozenset(_read_allowed(part, name, value, domains[name]) for value in listed)))
    return tuple(conditions)


def _read_allowed(part: str, name: str, value: object, domain: Domain) -> Hashable:
    own = domain.read(value)
    if own is None:
        raise InvalidDefinitionError(f"{part}: expected when.{name} to be {domain.expected}, got {shortened(value)}")
    return value_key(own)


def _check_references(definition: Definition) -> None:
    for decision in definition.decisions:
        part = f"decision {decision.name!r}"
        if isinstance(decision.repeat, str) and definition.by_name[decision.repeat].repeat is not None:
            raise InvalidDefinitionError(
                f"{part}: expected repeat to name a decision that is not repeated, got {decision.repeat!r}, which is"
            )
        for name, _ in decision.when:
            if definition.by_name[name].repeat not in (None, decision.repeat):
                raise InvalidDefinitionError(
                    f"{part}: expected when to name decisions of the same layers or ones that are not repeated, "
                    f"got {name!r}, whose repeat is {definition.by_name[name].repeat!r}"
                )


def _check_cycles(definition: Definition) -> None:
    try:
        _ = definition.dependency_order
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise InvalidDefinitionError(
            f"decisions: expected no decision to depend on itself, got the circle {circle}"
        ) from None


def _check_slots(definition: Definition) -> None:
    num_slots = sum(len(definition.layers_of(decision)) for decision in definition.decisions)
    if num_slots > MAX_SLOTS:
        raise InvalidDefinitionError(
            f"decisions: expected at most {MAX_SLOTS} decisions with every repeat counted, got {num_slots}"
        )
