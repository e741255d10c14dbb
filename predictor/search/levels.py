"""A space's decisions at three levels, from coarse to fine.

`whole`: every decision about the whole by itself (depths, resolution, wiring), and one common option for all decisions of a
kind, wherever they are. `modules`: one option for all decisions of a kind in a module (a stage, a cell, its layers).
`decisions`: each by itself. What is decided together at a level is a knob. Levels that have the same knobs as the next
finer one are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from predictor.search_spaces.stepwise import Path, Step, Stepwise

Knob = tuple[int, ...]
"""The numbers of the steps that are decided together; all have the same options."""


@dataclass(frozen=True)
class Level:
    """One way to decide together."""

    name: str
    knobs: tuple[Knob, ...]


def levels_of(steps: Stepwise) -> tuple[Level, ...]:
    """The levels of a space, the coarsest first; the last one decides each step by itself."""
    keys: Mapping[str, Callable[[int, Step], Hashable]] = {
        "whole": lambda number, step: (step.kind, step.options) if step.module else number,
        "modules": lambda number, step: (step.kind, step.options, step.module) if step.module else number,
        "decisions": lambda number, step: number,
    }
    found: list[Level] = []
    for name, key in keys.items():
        knobs: dict[Hashable, list[int]] = {}
        for number, step in enumerate(steps.steps):
            knobs.setdefault(key(number, step), []).append(number)
        level = Level(name, tuple(map(tuple, knobs.values())))
        if found and len(found[-1].knobs) == len(level.knobs):
            found.pop()
        found.append(level)
    return tuple(found)


def sketch(steps: Stepwise, level: Level, rng: np.random.Generator) -> Path:
    """A random path on which every knob of the level has one option, as far as options are open."""
    wanted: dict[int, int] = {}
    for knob in level.knobs:
        option = int(rng.integers(len(steps.steps[knob[0]].options)))
        wanted.update(dict.fromkeys(knob, option))
    return completed(steps, wanted, rng)


def moved(steps: Stepwise, level: Level, path: Path, rng: np.random.Generator) -> tuple[Path, Knob]:
    """The path with one knob of the level turned to another option, and which knob that was."""
    opened = [steps.open_options(path[:number]) for number in range(len(path))]
    turnable = [knob for knob in level.knobs if any(len(opened[number]) > 1 for number in knob)]
    if not turnable:
        return path, ()
    knob = turnable[int(rng.integers(len(turnable)))]
    applying = [number for number in knob if len(opened[number]) > 1]
    options = sorted({option for number in applying for option in opened[number]})
    if len({path[number] for number in applying}) == 1:
        options.remove(path[applying[0]])
    option = options[int(rng.integers(len(options)))]
    kept = {number: path[number] for number in range(len(path)) if len(opened[number]) > 1}
    return completed(steps, {**kept, **dict.fromkeys(knob, option)}, rng), knob


def completed(steps: Stepwise, wanted: Mapping[int, int], rng: np.random.Generator) -> Path:
    """A path of open options that is nearest to what is wanted. What applies without being wanted (in a layer that came with
    a greater depth) takes after the last decision of its kind in its module; without one it is random."""
    path: list[int] = []
    last: dict[tuple[str, str], int] = {}
    for number, step in enumerate(steps.steps):
        options = steps.open_options(tuple(path))
        alike = (step.module, step.kind)
        option = wanted.get(number, last.get(alike))
        if option is None:
            option = int(rng.integers(len(step.options)))
        path.append(min(options, key=lambda one: abs(one - option)))
        if len(options) > 1:
            last[alike] = path[-1]
    return tuple(path)
