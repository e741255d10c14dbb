"""How many genotypes a declared space has, counted without listing them.

Decisions are taken in the order of their dependencies; parts that do not depend on one another are counted apart and
multiplied, and of a decision that others depend on only those values are told apart that make a difference to them. That is
exact. Where dependencies are so entangled that it takes more than `MAX_STEPS` steps, the answer is an upper bound instead:
the product over all decisions, as if no condition excluded another.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from predictor.search_spaces.declared_definition import DeclaredDecision, Definition, LayerGroup
from predictor.search_spaces.declared_values import value_key

MAX_STEPS = 5_000

_ABSENT: Hashable = ("absent",)
_OTHER: Hashable = ("other",)

Facts = Mapping[str, Hashable]
"""Of decisions that were taken, the value's key; of values that make no difference, one for all."""


def count_genotypes(definition: Definition) -> int | None:
    """How many there are; None when a decision has a continuous range."""
    if any(decision.domain.count is None for decision in definition.decisions):
        return None
    try:
        return _Counter(definition).total()
    except _TooEntangledError:
        return _upper_bound(definition)


class _TooEntangledError(Exception):
    """More steps than allowed."""


@dataclass(frozen=True)
class _Item:
    """A decision, or a whole layer group."""

    content: DeclaredDecision | LayerGroup
    names: frozenset[str]  # what others may depend on
    needs: frozenset[str]


class _Counter:
    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._steps = 0
        self._known: dict[object, int] = {}
        self._classes = {decision.name: _value_classes(definition, decision) for decision in definition.decisions}

    def total(self) -> int:
        singles = [_decision_item(decision) for decision in self._definition.singles]
        return self._count((*singles, *map(_group_item, self._definition.groups)), {})

    def _count(self, items: tuple[_Item, ...], facts: Facts) -> int:
        product = 1
        for part in _independent_parts(items):
            needed = frozenset().union(*(item.needs for item in part))
            own = {name: fact for name, fact in facts.items() if name in needed}
            key = (tuple(item.names for item in part), frozenset(own.items()))
            if key not in self._known:
                self._known[key] = self._count_part(part, own)
            product *= self._known[key]
        return product

    def _count_part(self, items: tuple[_Item, ...], facts: Facts) -> int:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooEntangledError
        first, rest = items[0], items[1:]
        if isinstance(first.content, LayerGroup):
            return self._count_layers(first.content, facts) * self._count(rest, facts)
        decision = first.content
        if not all(facts[name] in allowed for name, allowed in decision.when):
            return self._count(rest, {**facts, decision.name: _ABSENT})
        if not any(decision.name in item.needs for item in rest):
            return (decision.domain.count or 0) * self._count(rest, facts)
        total = 0
        for representative, how_many in self._classes[decision.name].items():
            total += how_many * self._count(rest, {**facts, decision.name: representative})
        return total

    def _count_layers(self, group: LayerGroup, facts: Facts) -> int:
        num_layers = group.max_layers
        if isinstance(group.repeat, str):
            fact = facts[group.repeat]
            num_layers = 0 if fact == _ABSENT else int(fact[1])  # type: ignore[index]
        return self._count(tuple(map(_decision_item, group.members)), facts) ** num_layers if num_layers else 1


def _decision_item(decision: DeclaredDecision) -> _Item:
    return _Item(decision, frozenset({decision.name}), frozenset(name for name, _ in decision.when))


def _group_item(group: LayerGroup) -> _Item:
    own = frozenset(member.name for member in group.members)
    needs = {name for member in group.members for name, _ in member.when} - own
    return _Item(group, own, frozenset(needs | ({group.repeat} if isinstance(group.repeat, str) else set())))


def _independent_parts(items: tuple[_Item, ...]) -> list[tuple[_Item, ...]]:
    """Items joined by dependencies among themselves, each part in the given order."""
    parts: list[tuple[list[int], set[str], set[str]]] = []
    for number, item in enumerate(items):
        joined: tuple[list[int], set[str], set[str]] = ([number], set(item.names), set(item.needs))
        apart = []
        for part in parts:
            if part[1] & joined[2] or part[2] & joined[1]:
                joined = (part[0] + joined[0], part[1] | joined[1], part[2] | joined[2])
            else:
                apart.append(part)
        parts = [*apart, joined]
    return [tuple(items[number] for number in sorted(numbers)) for numbers, _, _ in parts]


def _value_classes(definition: Definition, decision: DeclaredDecision) -> dict[Hashable, int]:
    """A representative value of every class that others tell apart, with how many values are in it."""
    conditions = [allowed for d in definition.decisions for name, allowed in d.when if name == decision.name]
    counts_layers = any(group.repeat == decision.name for group in definition.groups)
    mentioned = set().union(*conditions) if conditions else set()
    if counts_layers:
        mentioned |= {value_key(value) for value in decision.domain.values()}
    classes: dict[Hashable, tuple[Hashable, int]] = {}
    for key in mentioned:
        signature = (tuple(key in allowed for allowed in conditions), key if counts_layers else None)
        representative, how_many = classes.get(signature, (key, 0))
        classes[signature] = (representative, how_many + 1)
    others = (decision.domain.count or 0) - len(mentioned)
    return {**dict(classes.values()), **({_OTHER: others} if others > 0 else {})}


def _upper_bound(definition: Definition) -> int:
    bound = 1
    for decision in definition.decisions:
        absent = 1 if decision.when or isinstance(decision.repeat, str) else 0
        bound *= ((decision.domain.count or 0) + absent) ** len(definition.layers_of(decision))
    return bound
