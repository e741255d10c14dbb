"""The contest: our forecasts beside what people would use instead, on data that took no part in training.

Contestants see the same support sets. Results go to `--results`, one small file each; a run stops and goes on anywhere, and
computes again only what belongs to a contestant that changed. Protocols are described in `predictor/benchmarks/protocols.py`.

    python scripts/evaluate_predictor.py                                     the shipped version on our own benchmark
    python scripts/evaluate_predictor.py --list                              protocols, cases, trainings
    python scripts/meta_train.py --tables DIR --leave-out p2_fbnet --output var/leave_out/p2_fbnet
    python scripts/evaluate_predictor.py --tables DIR --protocol P2          what that protocol asks for
    python scripts/evaluate_predictor.py --protocol P2 --report              tables and plots of what is there
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import torch
from tqdm import tqdm

from predictor import CheckpointError, MetaPredictor, PredictorError, SupportSet, shipped_champion
from predictor.baselines.registry import source_baselines
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.leave_out import trainings
from predictor.benchmarks.nasbench201 import NB201_ZERO_COST
from predictor.benchmarks.protocols import Case, Protocol, protocol, protocols
from predictor.benchmarks.registry import read_all
from predictor.contest.contestants import (
    Contestant,
    from_scratch,
    own_contestants,
    rankings,
    single_task_contestants,
    source_contestants,
    sources_of,
)
from predictor.contest.curves import curve_contestants
from predictor.contest.episodes import DIVERSE, RANDOM, Features
from predictor.contest.fingerprints import digest
from predictor.contest.plots import plot_against_observations
from predictor.contest.report import protocol_report
from predictor.contest.results import ResultStore
from predictor.contest.running import Failure, Plan, run_case, sizes_of
from predictor.contest.versions import directory_of, version_for

NUM_QUERY = 2_000
SOURCE_ARCHITECTURES = 800
SHOWN_PROXIES = tuple(f"zero_cost_{name}" for name in ("jacov", "nwot", "snip", "synflow", "zen"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--protocol", nargs="+", choices=list(protocols()), default=["P0"])
    parser.add_argument("--cases", nargs="+", default=["*"], help="only cases whose name fits one of these patterns")
    parser.add_argument(
        "--contestants", nargs="+", default=["*"], help="only those whose name or kind fits one of these patterns"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", help="only these of a case's numbers of observations")
    parser.add_argument(
        "--num-query", type=int, help=f"architectures asked about (default: the case's, or {NUM_QUERY})"
    )
    parser.add_argument("--selection", nargs="+", choices=(RANDOM, DIVERSE), default=[RANDOM])
    parser.add_argument("--versions", type=Path, default=Path("var/leave_out"), help="one model version per training")
    parser.add_argument("--results", type=Path, default=Path("var/evaluation"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="show protocols, cases and trainings, and which exist")
    parser.add_argument("--report", action="store_true", help="compute nothing; print tables and draw plots")
    return parser.parse_args()


@dataclass
class Data:
    """Published tables as far as they are there: whole ones to ask about, parts of them to learn from."""

    folder: Path | None

    @cached_property
    def asked(self) -> dict[str, BenchmarkTask]:
        return {one.task.name: one for one in read_all(self.folder)}

    @cached_property
    def to_learn_from(self) -> list[BenchmarkTask]:
        return read_all(self.folder, max_architectures_per_task=SOURCE_ARCHITECTURES)

    @cached_property
    def proxies(self) -> list[BenchmarkTask]:
        if self.folder is None or not (self.folder / NB201_ZERO_COST.file_name).is_file():
            return []
        read = read_all(self.folder, names=[NB201_ZERO_COST.name])
        return [one for one in read if one.task.metric.name in SHOWN_PROXIES]


class Entrants:
    """Contestants of each case; those that learn from other tasks are kept while the cases of one training last."""

    def __init__(self, data: Data, versions: Path, patterns: Sequence[str]) -> None:
        self._data, self._versions, self._patterns = data, versions, patterns
        self._single = single_task_contestants()
        self._sources: tuple[tuple[str, ...], list[Contestant]] = ((), [])
        self._loaded: tuple[Path, MetaPredictor] | None = None
        self._notes: list[str] = []
        self.on_learning: Callable[[float], None] = lambda _fraction: None

    def version(self, case: Case) -> MetaPredictor | None:
        """The version of the case's training, or None and a note that says why."""
        if case.training is None:
            return None
        directory = directory_of(case.training, self._versions)
        if directory is None:
            self._note(f"missing: the version of training {case.training} ({case.name} goes without ours)")
            return None
        try:
            meta = version_for(case, directory)
        except CheckpointError as error:
            self._note(f"refused: {error}")
            return None
        if self._loaded is None or self._loaded[1].version != meta.version:
            self._loaded = (directory, meta)
        return self._loaded[1]

    def of(self, case: Case) -> list[Contestant]:
        """All that may answer the case and fit the patterns."""
        measured, version = self._data.asked[case.task], self.version(case)
        found = own_contestants(version) if version else []
        if case.fidelities:
            return self._wanted([*found, *curve_contestants(measured, case.fidelities, version)])
        found += [from_scratch(version or MetaPredictor.load(shipped_champion())), *self._single]
        found += rankings(measured, self._data.proxies)
        return self._wanted([*found, *(self._learned(case) if case.training else [])])

    def _learned(self, case: Case) -> list[Contestant]:
        if self._sources[0] != case.left_out:
            tasks = [one for one in self._data.to_learn_from if not case.leaves_out(one.task.name)]
            if not tasks:
                self._note(f"no other tasks to learn from: {case.name} goes without contestants that do")
            learned_from = digest(str(SOURCE_ARCHITECTURES), *sorted(one.task.name for one in tasks))
            baselines = source_baselines(sources_of(tasks), on_progress=self._tell) if tasks else {}
            self._sources = (case.left_out, source_contestants(baselines, learned_from))
        return self._sources[1]

    def _tell(self, fraction: float) -> None:
        self.on_learning(fraction)

    def _wanted(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        return [
            one
            for one in contestants
            if any(fnmatchcase(one.name, pattern) or one.kind == pattern for pattern in self._patterns)
        ]

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)
            tqdm.write(text)


def chosen_cases(chosen: Protocol, patterns: Sequence[str], data: Data) -> Iterator[Case]:
    """Cases that fit and whose task is in the tables, those of one training after each other."""
    cases = [case for case in chosen.cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]
    for case in sorted(cases, key=lambda one: (one.training or "", one.left_out)):
        if case.task in data.asked:
            yield case
        else:
            print(f"not in the tables: {case.task}")


def features_of(version: MetaPredictor, measured: BenchmarkTask) -> Features:
    """What diverse support sets are chosen by: the surrogate's embedding before anything of the task was measured."""
    return version.adapt(measured.task, measured.space, SupportSet()).features


def plans(case: Case, name: str, args: argparse.Namespace, entrants: Entrants, data: Data) -> Iterator[Plan]:
    num_query = args.num_query or case.num_query or NUM_QUERY
    sizes = sizes_of(case, args.sizes)
    for selection in args.selection:
        version = entrants.version(case) if selection == DIVERSE else None
        if selection == DIVERSE and version is None:
            print(f"{case.name}: no version to choose diverse support sets by")
            continue
        features = features_of(version, data.asked[case.task]) if version else None
        yield Plan(name, args.seeds, sizes, num_query, selection, features)


def evaluate(chosen: Protocol, args: argparse.Namespace, data: Data, entrants: Entrants) -> list[Failure]:
    """Computes what is missing of one protocol."""
    store, failures = ResultStore(args.results), []
    cases = list(chosen_cases(chosen, args.cases, data))
    bar = tqdm(total=len(cases), desc=chosen.name, disable=None, unit="case")
    entrants.on_learning = lambda fraction: bar.set_postfix_str(f"learning from other tasks: {fraction:.0%}")
    for case in cases:
        contestants = entrants.of(case)
        for plan in plans(case, chosen.name, args, entrants, data):
            steps = max(len(contestants) * plan.seeds, 1)

            def progress(name: str, share: float = 1.0 / steps / len(args.selection)) -> None:
                bar.set_postfix_str(name, refresh=False)
                bar.update(share)

            failures += run_case(case, data.asked[case.task], contestants, plan, store, progress)
    bar.close()
    return failures


def report(chosen: Protocol, folder: Path) -> None:
    """Prints the tables and writes them with plots beside the results."""
    results = ResultStore(folder).load([chosen.name])
    current = {case.name for case in chosen.cases}
    results = [one for one in results if one.case in current]
    if not results:
        print(f"{chosen.name}: no results in {folder}")
        return
    text = protocol_report(results, f"{chosen.name}: {chosen.title}")
    target = folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{chosen.name}.md").write_text(text)
    print(text)
    for selection in sorted({one.selection for one in results}):
        own = [one for one in results if one.selection == selection]
        for score in ("kendall_tau", "spearman_rho", "coverage"):
            path = target / f"{chosen.name}_{score}_{selection}.png"
            plot_against_observations(own, f"{chosen.name}: {chosen.title}", path, score)
            print(f"plot: {path}")


def show_list(names: Sequence[str], versions: Path, data: Data) -> None:
    """Protocols, their cases, and which trainings and tables are there."""
    for chosen in map(protocol, names):
        print(f"{chosen.name}  {chosen.title}: {len(chosen.cases)} cases")
        for case in chosen.cases:
            there = "" if case.task in data.asked else "  (not in the tables)"
            print(f"  {case.training or 'alone':20} {case.name}{there}")
    print("trainings")
    for training, patterns in trainings().items():
        served = sum(case.training == training for one in protocols().values() for case in one.cases)
        directory = directory_of(training, versions)
        print(f"  {training:20} {served:3} cases  {directory or 'missing'}  leaves out {len(patterns)} patterns")


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    data = Data(args.tables)
    if args.list:
        show_list(list(protocols()), args.versions, data)
        return 0
    if args.report:
        for name in args.protocol:
            report(protocol(name), args.results)
        return 0
    entrants = Entrants(data, args.versions, args.contestants)
    try:
        failures = [one for name in args.protocol for one in evaluate(protocol(name), args, data, entrants)]
    except PredictorError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 2
    for failure in failures:
        print(
            f"failed: {failure.case}, {failure.contestant}, seed {failure.seed}, at {failure.num_observations}: {failure.reason}"
        )
    print("tables and plots: the same command with --report")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
