"""Searches beside each other: every strategy with and without forecasts, and what others would use, on published tables.

Searches of one case start from nothing; what they find goes to `--results`, one small file each. A run stops and goes on
anywhere. In the view `task` a version answers that has not seen the asked data set, and hears other tasks of the space; in the view
`space` one that has seen nothing of the space, and hears nothing.

    python scripts/compare_search.py --list                                  views, cases, and which versions are there
    python scripts/compare_search.py --tables DIR --seeds 5 --budget 100     what is missing
    python scripts/compare_search.py --tables DIR --searchers hyperband 'Archcast, hyperband' --cases 'nasbench101*'
    python scripts/compare_search.py --report                                tables and a picture of what is there

An evaluation is a full training. Strategies that use smaller budgets, where a table knows some, pay for them by their share of a full
training's epochs, and whoever they promote is trained anew.

Results know of changes of versions and of the code that adapts them, not of those of strategies: remove what a changed one found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from tqdm import tqdm

from predictor import PredictorError
from predictor.contest.entrants import Tables
from predictor.contest.search_cases import VIEWS, SearchedTask, search_cases, searched_task
from predictor.contest.search_report import plot_searches, search_report
from predictor.contest.search_results import SearchKey, SearchResults
from predictor.contest.searchers import MEASURED, Peers, Searcher, check_patterns, measuring, ours
from predictor.contest.versions import directory_of, version_if_there

TITLES = {"task": "The task left out of meta-training", "space": "The whole space left out of meta-training"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument("--view", nargs="+", choices=list(VIEWS), default=list(VIEWS))
    parser.add_argument("--cases", nargs="+", default=["*"], help="only cases whose name fits one of these patterns")
    parser.add_argument("--searchers", nargs="+", default=["*"], help="only those whose name or kind fits a pattern")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--budget", type=int, default=200, help="full trainings")
    parser.add_argument("--versions", type=Path, default=Path("var/leave_out"), help="one model version per training")
    parser.add_argument("--results", type=Path, default=Path("var/searches"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="show views and cases, and which versions are there")
    parser.add_argument("--report", action="store_true", help="compute nothing; print tables and draw pictures")
    return parser.parse_args()


def fits(patterns: Sequence[str], *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def searchers_of(asked: SearchedTask, args: argparse.Namespace, peers: list[Searcher]) -> list[Searcher]:
    """Those that are asked for and can search the task; who cannot is named."""
    version = version_if_there(asked.case, args.versions, tqdm.write)
    every = [*(ours(version) if version else []), *peers]
    every += [measuring(name) for name in MEASURED]
    wanted = [one for one in every if fits(args.searchers, one.name, one.kind)]
    refusals = {one.name: one.refusal(asked) for one in wanted}
    for name, reason in refusals.items():
        if reason is not None:
            tqdm.write(f"{asked.case.name} goes without {name}: {reason}")
    return [one for one in wanted if refusals[one.name] is None]


def missing(
    view: str, asked: SearchedTask, searchers: Sequence[Searcher], args: argparse.Namespace, store: SearchResults
) -> Iterator[tuple[Searcher, int]]:
    """Seed by seed, so that whatever is there at any moment compares everybody."""
    for seed in range(args.seeds):
        for one in searchers:
            key = SearchKey(view, asked.case.name, one.name, seed)
            if not store.is_done(key, one.fingerprint, args.budget):
                yield one, seed


def compare(view: str, args: argparse.Namespace, tables: Tables, store: SearchResults, peers: list[Searcher]) -> None:
    """Computes what is missing of one view."""
    for case in search_cases(view):
        asked = searched_task(view, case, tables.whole) if fits(args.cases, case.name) else None
        if asked is None:
            continue
        waiting = list(missing(view, asked, searchers_of(asked, args, peers), args, store))
        bar = tqdm(waiting, desc=f"{view}: {case.name}", disable=None, unit="search")
        for searcher, seed in bar:
            bar.set_postfix_str(searcher.name)
            store.save(searcher.result(view, asked, args.budget, seed))


def report(view: str, args: argparse.Namespace, store: SearchResults) -> None:
    """Prints the tables and writes them with a picture beside the results."""
    results = [
        one for one in store.load(view) if fits(args.cases, one.case) and fits(args.searchers, one.searcher, one.kind)
    ]
    if not results:
        print(f"{view}: no results in {store.folder}")
        return
    text = search_report(results, TITLES[view])
    target = store.folder / "report"
    target.mkdir(parents=True, exist_ok=True)
    (target / f"{view}.md").write_text(text)
    print(text)
    plot_searches(results, TITLES[view], target / f"{view}.png")
    print(f"picture: {target / f'{view}.png'}")


def show_list(args: argparse.Namespace) -> None:
    for view in VIEWS:
        print(f"{view}: {TITLES[view]}")
        for case in search_cases(view):
            there = directory_of(case.training, args.versions) if case.training else None
            print(f"  {case.name:55} {case.training:28} {there or 'missing'}")


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    store = SearchResults(args.results)
    if args.list:
        show_list(args)
        return 0
    if args.report:
        for view in args.view:
            report(view, args, store)
        return 0
    try:
        check_patterns(args.searchers)
        tables, peers = Tables(args.tables), Peers().all()
        for view in args.view:
            compare(view, args, tables, store, peers)
    except PredictorError as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 2
    print("tables and a picture: the same command with --report")
    return 0


if __name__ == "__main__":
    sys.exit(main())
