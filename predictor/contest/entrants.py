"""Who takes part in which case: what each may know, prepared when it has something to compute and kept while it serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from predictor.baselines.features import Features
from predictor.baselines.registry import LearnedWhenLookedUp, Makers, forecasting_makers, meta_learned_makers
from predictor.baselines.sources import MAX_SOURCES
from predictor.benchmarks.base import ArchitecturePool, BenchmarkTask
from predictor.benchmarks.nasbench201 import NB201_ZERO_COST
from predictor.benchmarks.protocols import Case
from predictor.benchmarks.registry import read_all
from predictor.champion import shipped_champion
from predictor.contest.contestants import Contestant, rankings, single_task_contestants, source_contestants, sources_of
from predictor.contest.curves import curve_contestants
from predictor.contest.fingerprints import digest
from predictor.contest.ours import from_scratch, own_contestants, with_curve
from predictor.contest.versions import version_if_there
from predictor.meta_predictor import MetaPredictor
from predictor.tasks import MeasuredTask

SOURCE_ARCHITECTURES = 800
"""Of tasks of other search spaces, and of what has to serve all search spaces: architectures that are learned from at most."""

SHOWN_PROXIES = tuple(f"zero_cost_{name}" for name in ("jacov", "nwot", "snip", "synflow", "zen"))


@dataclass
class Tables:
    """Published tables as far as they are there: whole ones, and parts of them to learn from."""

    folder: Path | None
    _pool: ArchitecturePool = field(default_factory=ArchitecturePool, repr=False)

    @cached_property
    def whole(self) -> dict[str, BenchmarkTask]:
        """All tasks by name."""
        return {one.task.name: one for one in read_all(self.folder, pool=self._pool)}

    @cached_property
    def parts(self) -> dict[str, BenchmarkTask]:
        """The same tasks with some of their architectures."""
        read = read_all(self.folder, max_architectures_per_task=SOURCE_ARCHITECTURES, pool=self._pool)
        return {one.task.name: one for one in read}

    @cached_property
    def proxies(self) -> list[BenchmarkTask]:
        """Zero-cost proxies, where their table is there."""
        if self.folder is None or not (self.folder / NB201_ZERO_COST.file_name).is_file():
            return []
        read = read_all(self.folder, names=[NB201_ZERO_COST.name], pool=self._pool)
        return [one for one in read if one.task.metric.name in SHOWN_PROXIES]


@dataclass(frozen=True)
class Allowed:
    """The tasks that contestants of a case may learn from."""

    case: Case
    tables: Tables

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in self.tables.whole if self.case.training and not self.case.leaves_out(name))

    @property
    def space_name(self) -> str:
        """Of the asked task."""
        return self.tables.whole[self.case.task].task.search_space

    @property
    def own(self) -> list[BenchmarkTask]:
        """Those of the asked task's search space, whole."""
        found = [self.tables.whole[name] for name in self.names]
        return [one for one in found if one.task.search_space == self.space_name]

    def parts(self) -> list[MeasuredTask]:
        """A part of each."""
        return sources_of([self.tables.parts[name] for name in self.names])

    def own_whole(self) -> list[MeasuredTask]:
        """Those of the asked search space whole, a part of the others."""
        own = {one.task.name: one for one in self.own}
        return sources_of([own.get(name) or self.tables.parts[name] for name in self.names])


class Entrants:
    """Contestants of each case; those that learn from other tasks are kept while cases with the same ones last."""

    def __init__(self, tables: Tables, versions: Path, patterns: Sequence[str], tell: Callable[[str], None]) -> None:
        """`patterns` on names or kinds; `tell` hears once why somebody stays away."""
        self._tables, self._versions, self._patterns, self._tell = tables, versions, patterns, tell
        self._features = Features()
        self._single = single_task_contestants(self._features)
        self._learned: dict[str, tuple[str, list[Contestant]]] = {}
        self._loaded: tuple[Path, MetaPredictor] | None = None
        self._scratch: dict[str, Contestant] = {}
        self._told: set[str] = set()
        self.on_learning: Callable[[float], None] = lambda _fraction: None

    def version(self, case: Case) -> MetaPredictor | None:
        """The version of the case's training, or None and a note that says why."""
        return version_if_there(case, self._versions, self._note, self._load)

    def of(self, case: Case) -> list[Contestant]:
        """All that may answer the case and fit the patterns."""
        measured, version, allowed = self._tables.whole[case.task], self.version(case), Allowed(case, self._tables)
        found = own_contestants(version, measured, allowed.own) if version else []
        if case.fidelities:
            curves = curve_contestants(measured, case.fidelities)
            found += [with_curve(version, measured, case.fidelities, allowed.own)] if version else []
            return self._wanted([*found, *curves])
        found += [self._from_scratch(version), *self._single, *rankings(measured, self._tables.proxies)]
        return self._wanted([*found, *self._learners(allowed)])

    def _load(self, directory: Path) -> MetaPredictor:
        if self._loaded is None or self._loaded[0] != directory:
            self._loaded = (directory, MetaPredictor.load(directory))
        return self._loaded[1]

    def _from_scratch(self, version: MetaPredictor | None) -> Contestant:
        shape = "shipped" if version is None else version.version
        if shape not in self._scratch:
            self._scratch = {shape: from_scratch(version or MetaPredictor.load(shipped_champion()))}
        return self._scratch[shape]

    def _learners(self, allowed: Allowed) -> list[Contestant]:
        """Those that learn from other tasks: what the asked space's own say of it, then what serves all spaces alike."""
        names, space = allowed.names, allowed.space_name
        if not names:
            if allowed.case.training:
                self._note(f"no other tasks to learn from: {allowed.case.name} goes without contestants that do")
            return []
        known = digest(str(SOURCE_ARCHITECTURES), *sorted(names))
        dropped_for = space if len(names) > MAX_SOURCES else None
        forecasting = forecasting_makers(allowed.own_whole, 0, self._progress, self._features, space)
        meta_learned = meta_learned_makers(allowed.parts, 0, self._progress, self._features, dropped_for)
        return [
            *self._kept("forecasting", digest(known, space), forecasting),
            *self._kept("meta-learned", digest(known, dropped_for or ""), meta_learned),
        ]

    def _kept(self, role: str, learned_from: str, makers: Makers) -> list[Contestant]:
        """Those of the previous case where they learned from the same."""
        if role not in self._learned or self._learned[role][0] != learned_from:
            self._learned[role] = (learned_from, source_contestants(LearnedWhenLookedUp(makers), learned_from))
        return self._learned[role][1]

    def _progress(self, fraction: float) -> None:
        self.on_learning(fraction)

    def _wanted(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        return [
            one
            for one in contestants
            if any(fnmatchcase(one.name, pattern) or one.kind == pattern for pattern in self._patterns)
        ]

    def _note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
