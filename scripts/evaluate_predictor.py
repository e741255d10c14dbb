"""The contest: our forecasts beside what people would use instead, on data that took no part in training.

Contestants see the same support sets. Results go to `--results`, one small file each; a run stops and goes on anywhere, and
computes again only what belongs to a contestant that changed. Protocols are described in `predictor/benchmarks/protocols.py`.

    python scripts/evaluate_predictor.py                                     the shipped version on our own benchmark
    python scripts/evaluate_predictor.py --list                              protocols, cases, trainings
    python scripts/meta_train.py --tables DIR --leave-out p2_transnas_micro --output var/leave_out/p2_transnas_micro
    python scripts/evaluate_predictor.py --tables DIR --protocol P2          what that protocol asks for
    python scripts/evaluate_predictor.py --protocol P2 --report              tables and plots of what is there
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from tqdm import tqdm

from predictor import MetaPredictor, PredictorError, SupportSet
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.leave_out import trainings
from predictor.benchmarks.protocols import Case, Protocol, protocol, protocols
from predictor.contest.entrants import Entrants, Tables
from predictor.contest.episodes import DIVERSE, OWN, RANDOM, Features, remembered
from predictor.contest.plots import plot_against_observations
from predictor.contest.report import protocol_report
from predictor.contest.results import ResultStore
from predictor.contest.running import Failure, Plan, run_case, sizes_of
from predictor.contest.versions import directory_of

NUM_QUERY = 2_000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--protocol", nargs="+", choices=list(protocols()), default=["P0"])
    parser.add_argument("--cases", nargs="+", default=["*"], help="only cases whose name fits one of these patterns")
    parser.add_argument(
        "--contestants", nargs="+", default=["*"], help="only those whose name or kind fits one of these patterns"
    )
    parser.add_argument("--seeds", type=int, default=5, help="how many support sets of each size")
    parser.add_argument("--sizes", type=int, nargs="+", help="only these of a case's numbers of observations")
    parser.add_argument(
        "--num-query", type=int, help=f"architectures asked about (default: the case's, or {NUM_QUERY})"
    )
    parser.add_argument(
        "--selection",
        nargs="+",
        choices=(RANDOM, OWN, DIVERSE),
        default=[RANDOM],
        help="support sets at random, asked the same for all sizes; the same support sets, asked whatever is not in the own one; support sets unlike each other",
    )
    parser.add_argument("--versions", type=Path, default=Path("var/leave_out"), help="one model version per training")
    parser.add_argument("--results", type=Path, default=Path("var/evaluation"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="show protocols, cases and trainings, and which exist")
    parser.add_argument("--report", action="store_true", help="compute nothing; print tables and draw plots")
    return parser.parse_args()


def chosen_cases(chosen: Protocol, patterns: Sequence[str], tables: Tables) -> Iterator[Case]:
    """Cases that fit and whose task is in the tables, those of one training and search space after each other."""
    cases = [case for case in chosen.cases if any(fnmatchcase(case.name, pattern) for pattern in patterns)]
    for case in sorted(cases, key=lambda one: (one.training or "", one.left_out, one.task.split("/")[0])):
        if case.task in tables.whole:
            yield case
        else:
            print(f"not in the tables: {case.task}")


def features_of(version: MetaPredictor, measured: BenchmarkTask) -> Features:
    """What diverse support sets are chosen by: the surrogate's embedding before anything of the task was measured."""
    return remembered(version.adapt(measured.task, measured.space, SupportSet()).features)


def plans(case: Case, name: str, args: argparse.Namespace, entrants: Entrants, tables: Tables) -> Iterator[Plan]:
    num_query = args.num_query or case.num_query or NUM_QUERY
    sizes = sizes_of(case, args.sizes)
    for selection in args.selection:
        version = entrants.version(case) if selection == DIVERSE else None
        if selection == DIVERSE and version is None:
            print(f"{case.name}: no version to choose diverse support sets by")
            continue
        features = features_of(version, tables.whole[case.task]) if version else None
        yield Plan(name, args.seeds, sizes, num_query, selection, features)


def evaluate(chosen: Protocol, args: argparse.Namespace, tables: Tables, entrants: Entrants) -> list[Failure]:
    """Computes what is missing of one protocol."""
    store, failures = ResultStore(args.results), []
    cases = list(chosen_cases(chosen, args.cases, tables))
    bar = tqdm(total=len(cases), desc=chosen.name, disable=None, unit="case")
    entrants.on_learning = lambda fraction: bar.set_postfix_str(f"learning from other tasks: {fraction:.0%}")
    for case in cases:
        contestants = entrants.of(case)
        for plan in plans(case, chosen.name, args, entrants, tables):
            steps = max(len(contestants) * plan.seeds, 1)

            def progress(name: str, share: float = 1.0 / steps / len(args.selection)) -> None:
                bar.set_postfix_str(name, refresh=False)
                bar.update(share)

            failures += run_case(case, tables.whole[case.task], contestants, plan, store, progress)
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


def show_list(names: Sequence[str], versions: Path, tables: Tables) -> None:
    """Protocols, their cases, and which trainings and tables are there."""
    for chosen in map(protocol, names):
        print(f"{chosen.name}  {chosen.title}: {len(chosen.cases)} cases")
        for case in chosen.cases:
            there = "" if case.task in tables.whole else "  (not in the tables)"
            print(f"  {case.training or 'alone':20} {case.name}{there}")
    print("trainings")
    for training, patterns in trainings().items():
        served = sum(case.training == training for one in protocols().values() for case in one.cases)
        directory = directory_of(training, versions)
        print(f"  {training:20} {served:3} cases  {directory or 'missing'}  leaves out {len(patterns)} patterns")


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    tables = Tables(args.tables)
    if args.list:
        show_list(list(protocols()), args.versions, tables)
        return 0
    if args.report:
        for name in args.protocol:
            report(protocol(name), args.results)
        return 0
    entrants = Entrants(tables, args.versions, args.contestants, tqdm.write)
    try:
        failures = [one for name in args.protocol for one in evaluate(protocol(name), args, tables, entrants)]
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
