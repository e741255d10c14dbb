"""Optuna's samplers on the history of `service_suggesting.py`: how long `ask` takes, in a process of its own.

    python scripts/optuna_asks.py tpe HISTORY.json REPEATS

The history is a list of [{decision: choice}, value]; each decision has the choices that occur in it. Prints the milliseconds of each ask on a line of its own, as soon as it is known, so that
what came before a time limit is not lost. What was asked for stays out, as with workers that are still measuring.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import optuna

_MOST_BYTES = 16 * 2**30


def sampler(name: str) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimators, or a Gaussian process, with the settings that Optuna gives them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[name](seed=0)


def asks(name: str, history: list[tuple[dict[str, str], float]], repeats: int) -> None:
    """Adds the history to a study in memory, and asks."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    decisions = {
        decision: optuna.distributions.CategoricalDistribution(sorted({chosen[decision] for chosen, _ in history}))
        for decision in history[0][0]
    }
    study = optuna.create_study(direction="maximize", sampler=sampler(name))
    study.add_trials(
        optuna.trial.create_trial(params=chosen, distributions=decisions, value=value) for chosen, value in history
    )
    for _ in range(repeats):
        began = time.perf_counter()
        study.ask(decisions)
        print((time.perf_counter() - began) * 1e3, flush=True)


def main(given: list[str]) -> None:
    name, file, repeats = given
    if sys.platform == "linux":  # a Gaussian process on thousands of trials wants gigabytes: of this machine not all
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    asks(name, json.loads(Path(file).read_text()), int(repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
