"""A network as a plan: named steps, each with its inputs. A plan is built as a module and written as source; both do the same.

Plans nest: a cell is a plan, and a step of the network that contains it. Shapes are found by running each part on tensors
without storage, so no part needs a shape rule of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from predictor.errors import UnbuildableError
from predictor.evaluate import blocks

Argument = int | float | str | bool
Shape = tuple[int, ...]
"""Of one example, without the batch: (C, H, W), (T, D) or (C,)."""

_EXAMPLES = 2  # of a batch without storage


@dataclass(frozen=True)
class Part:
    """A module by its constructor: a class of `blocks` by its name, or of torch.nn as `nn.Name`."""

    constructor: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[tuple[str, Argument], ...] = ()

    @classmethod
    def of(cls, constructor: str, /, *arguments: Argument, **options: Argument) -> Part:
        """From plain arguments."""
        return cls(constructor, arguments, tuple(options.items()))

    def build(self) -> nn.Module:
        """The module with new weights."""
        home: object = nn if self.constructor.startswith("nn.") else blocks
        made = getattr(home, self.constructor.removeprefix("nn."))
        module: nn.Module = made(*self.arguments, **dict(self.options))
        return module

    @property
    def text(self) -> str:
        """As Python."""
        options = (f"{name}={value!r}" for name, value in self.options)
        return f"{self.constructor}({', '.join([*map(repr, self.arguments), *options])})"


@dataclass(frozen=True)
class Join:
    """What has no weights of its own: a sum, product or concatenation of values, the first channels of one."""

    kind: Literal["add", "multiply", "concat", "first"]
    count: int = 0

    def __call__(self, values: Sequence[Tensor]) -> Tensor:
        """The joined value."""
        match self.kind:
            case "add" | "multiply":
                total = values[0]
                for value in values[1:]:
                    total = total + value if self.kind == "add" else total * value
                return total
            case "concat":
                return torch.cat(list(values), dim=1)
            case "first":
                return values[0][:, : self.count]

    def text(self, names: Sequence[str]) -> str:
        """As Python."""
        match self.kind:
            case "add":
                return " + ".join(names)
            case "multiply":
                return " * ".join(names)
            case "concat":
                return f"torch.cat([{', '.join(names)}], dim=1)"
            case "first":
                return f"{names[0]}[:, :{self.count}]"


@dataclass(frozen=True)
class Plan:
    """A network, or a cell of one: `name` is that of its class, `inputs` those of what it is called with."""

    name: str
    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    output: str
    description: str = ""


@dataclass(frozen=True)
class Step:
    """One value and how it is made of earlier ones."""

    name: str
    action: Part | Join | Plan
    inputs: tuple[str, ...]


class PlannedNetwork(nn.Module):
    """A plan with weights. Its parameters have the names that they have in the plan's source."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        for step in plan.steps:
            if isinstance(step.action, Part):
                self.add_module(step.name, step.action.build())
            elif isinstance(step.action, Plan):
                self.add_module(step.name, PlannedNetwork(step.action))

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output for a batch."""
        values = dict(zip(self.plan.inputs, inputs, strict=True))
        for step in self.plan.steps:
            given = [values[name] for name in step.inputs]
            if isinstance(step.action, Join):
                values[step.name] = step.action(given)
            else:
                values[step.name] = getattr(self, step.name)(*given)
        return values[self.plan.output]


@dataclass(frozen=True)
class Value:
    """A value of a plan in the making."""

    name: str
    shape: Shape

    @property
    def channels(self) -> int:
        """Of an image or a vector."""
        return self.shape[0]

    @property
    def is_image(self) -> bool:
        """(C, H, W), not a vector."""
        return len(self.shape) == 3


@dataclass
class Planner:
    """Makes a plan step by step, and knows the shape of every value."""

    name: str
    inputs: tuple[Value, ...]
    description: str = ""
    _steps: list[Step] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, name: str, inputs: Mapping[str, Shape], description: str = "") -> Planner:
        """An empty plan with named inputs."""
        return cls(name, tuple(Value(one, shape) for one, shape in inputs.items()), description)

    def add(self, name: str, action: Part | Join | Plan, *inputs: Value) -> Value:
        """One more step; `name` gets a number where it is taken.

        Raises:
            UnbuildableError: if the part cannot take its inputs.
        """
        own = self._free(name)
        try:
            shape = _shape_of(action, tuple(value.shape for value in inputs))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise UnbuildableError(_refusal(own, action, inputs, error)) from error
        self._steps.append(Step(own, action, tuple(value.name for value in inputs)))
        return Value(own, shape)

    def part(self, name: str, value: Value, constructor: str, /, *arguments: Argument, **options: Argument) -> Value:
        """One more step that is a part."""
        return self.add(name, Part.of(constructor, *arguments, **options), value)

    def join(self, kind: Literal["add", "multiply", "concat"], values: Sequence[Value], name: str) -> Value:
        """Several values as one; a single one is itself."""
        return values[0] if len(values) == 1 else self.add(name, Join(kind), *values)

    def entered_by(self, entry: Value) -> Planner:
        """The same plan in the making, for whoever begins with another value than its input."""
        return Planner(self.name, (entry,), self.description, self._steps, self._names)

    @property
    def last_part(self) -> Part | None:
        """The newest step, if it is a part."""
        action = self._steps[-1].action if self._steps else None
        return action if isinstance(action, Part) else None

    def end(self, output: Value) -> Plan:
        """The plan."""
        names = tuple(value.name for value in self.inputs)
        return Plan(self.name, names, tuple(self._steps), output.name, self.description)

    def _free(self, name: str) -> str:
        taken = self._names | {value.name for value in self.inputs}
        number, own = 2, name
        while own in taken:
            own, number = f"{name}_{number}", number + 1
        self._names.add(own)
        return own


@lru_cache(maxsize=4_096)
def _shape_of(action: Part | Join | Plan, shapes: tuple[Shape, ...]) -> Shape:
    """Cells and layers come again and again, so those seen lately are kept."""
    given = [torch.empty((_EXAMPLES, *shape), device="meta") for shape in shapes]
    if isinstance(action, Join):
        return tuple(action(given).shape[1:])
    with torch.device("meta"):
        module = PlannedNetwork(action) if isinstance(action, Plan) else action.build()
    with torch.no_grad():
        made: Tensor = module.eval()(*given)
    return tuple(made.shape[1:])


def _refusal(name: str, action: Part | Join | Plan, inputs: Sequence[Value], error: Exception) -> str:
    shapes = ", ".join(" × ".join(map(str, value.shape)) for value in inputs)
    shown = action.text if isinstance(action, Part) else type(action).__name__.lower()
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return f"expected {name} to take a value of {shapes}, got one that {shown} refuses: {reason}"
