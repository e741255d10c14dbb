"""How well could anybody rank a task? By thousands of its own values, and all that related tasks measured of the asked networks.

    python scripts/evaluate_ceilings.py --tables DIR --protocol P1 P2 P3 --cases 'nasbench201*' '*jigsaw*'

Beside the bars of few-shot forecasts: what they ask for beyond this is not in the tables. `predictor/contest/ceilings.py` says what is
measured; a case's related tasks are those that contestants may learn from.
"""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from predictor.baselines.features import Features
from predictor.benchmarks.protocols import protocol, protocols
from predictor.contest.ceilings import WAYS, ceilings
from predictor.contest.entrants import Allowed, Tables
from predictor.contest.ours import related_among
from predictor.contest.report import table


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of published tables")
    parser.add_argument("--protocol", nargs="+", choices=list(protocols()), default=["P1"])
    parser.add_argument("--cases", nargs="+", default=["*"], help="only cases whose name fits one of these patterns")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--num-query", type=int, default=1_000, help="architectures asked about")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    tables, features = Tables(args.tables), Features()
    cases = [
        (name, case)
        for name in args.protocol
        for case in protocol(name).cases
        if any(fnmatchcase(case.name, pattern) for pattern in args.cases) and case.task in tables.whole
    ]
    if not cases:
        asked = f"{' '.join(args.protocol)} that fit {' '.join(args.cases)}"
        sys.exit(f"expected cases of {asked} and whose tables are in {args.tables}, got none")
    rows = []
    for name, case in tqdm(cases, disable=None, unit="case"):
        measured = tables.whole[case.task]
        related = related_among(measured, Allowed(case, tables).own)
        found = [ceilings(measured, related, seed, args.num_query, features) for seed in range(args.seeds)]
        cells = [told(np.array([one[way] for one in found])) for way in WAYS]
        rows.append([f"{name} {case.name}", str(len(related)), *cells])
    print(table(["case, τ / ρ", "related tasks", *WAYS], rows))


def told(scores: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:  # (seeds, 2)
    """Mean and standard deviation over seeds, τ and ρ."""
    if np.isnan(scores).any():
        return "–"
    return " / ".join(f"{one.mean():.3f} ± {one.std():.3f}" for one in scores.T)


if __name__ == "__main__":
    main()
