"""An architecture's network as PyTorch source that runs by itself, for whoever wants to go on without Archcast.

It is written from the same plan as the module: parameters have the same names, so that weights of one load into the other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from predictor.architecture import Architecture
from predictor.evaluate import blocks
from predictor.evaluate.network import NetworkConfig, plan_network
from predictor.evaluate.plan import Join, Part, Plan, Step
from predictor.search_spaces.base import SearchSpace

_IMPORTS = """from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
"""
_IGNORED = re.compile(r"  # (?:type: ignore\[[^\]]*\]|fmt: skip)")
_BLOCKS = {
    name: made for name, made in vars(blocks).items() if inspect.isclass(made) and made.__module__ == blocks.__name__
}


def pytorch_source(architecture: Architecture, space: SearchSpace, config: NetworkConfig) -> str:
    """Runnable source of the network that `build_network` builds: a class `Network` and all that it is made of.

    Raises:
        EvaluationError: if the architecture has operations that cannot be built, or does not fit these images.
    """
    plan = plan_network(architecture, space, config)
    names = _class_names(plan)
    classes = [_class(one, names) for one in names]
    parts = [_block_source(name) for name in _used_blocks("\n".join(classes))]
    return "\n\n".join([_head(architecture, space, config) + _IMPORTS, *parts, *classes, _example(config)])


def _head(architecture: Architecture, space: SearchSpace, config: NetworkConfig) -> str:
    shape = " × ".join(map(str, config.image_shape))
    genotype = (architecture.genotype or "").replace("\\", "\\\\").replace('"""', "'''")
    written = f"\n\n{genotype}" if genotype else ""
    return (
        f'"""An image classifier of the search space {space.name}: {shape} images, {config.num_classes} classes.'
        f'{written}\n\nArchitecture {architecture.hash}. It needs PyTorch and nothing else.\n"""\n\n'
    )


def _class_names(plan: Plan) -> dict[Plan, str]:
    """Every plan once, inner ones first, under a name that no other has."""
    found: dict[Plan, str] = {}
    taken = set(_BLOCKS)
    for one in _nested(plan):
        if one not in found:
            number, name = 2, one.name
            while name in taken:
                name, number = f"{one.name}_{number}", number + 1
            taken.add(name)
            found[one] = name
    return found


def _nested(plan: Plan) -> Iterator[Plan]:
    for step in plan.steps:
        if isinstance(step.action, Plan):
            yield from _nested(step.action)
    yield plan


def _class(plan: Plan, names: dict[Plan, str]) -> str:
    made = [
        f"        self.{step.name} = {_made(step.action, names)}"
        for step in plan.steps
        if not isinstance(step.action, Join)
    ]
    arguments = ", ".join(f"{name}: Tensor" for name in plan.inputs)
    forward = [f"        {step.name} = {_called(step)}" for step in plan.steps]
    described = f'    """{plan.description}"""\n\n' if plan.description else ""
    return (
        f"class {names[plan]}(nn.Module):\n{described}"
        "    def __init__(self) -> None:\n        super().__init__()\n" + "\n".join(made) + ("\n" if made else "")
        + f"\n    def forward(self, {arguments}) -> Tensor:\n" + "\n".join(forward) + ("\n" if forward else "")
        + f"        return {plan.output}\n"
    )  # fmt: skip


def _made(action: Part | Plan, names: dict[Plan, str]) -> str:
    return action.text if isinstance(action, Part) else f"{names[action]}()"


def _called(step: Step) -> str:
    if isinstance(step.action, Join):
        return step.action.text(step.inputs)
    return f"self.{step.name}({', '.join(step.inputs)})"


def _used_blocks(text: str) -> list[str]:
    """Blocks that the classes name, and those that these name, in the order in which they are defined."""
    used: set[str] = set()
    waiting = [text]
    while waiting:
        words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", waiting.pop()))
        new = (words & set(_BLOCKS)) - used
        used |= new
        waiting += [_block_source(name) for name in new]
    return [name for name in _BLOCKS if name in used]


def _block_source(name: str) -> str:
    return _IGNORED.sub("", inspect.getsource(_BLOCKS[name]))


def _example(config: NetworkConfig) -> str:
    shape = ", ".join(map(str, config.image_shape))
    return (
        'if __name__ == "__main__":\n'
        "    network = Network().eval()\n"
        f"    scores = network(torch.zeros(2, {shape}))\n"
        '    print(tuple(scores.shape), sum(one.numel() for one in network.parameters()), "parameters")\n'
    )
