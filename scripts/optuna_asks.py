"""Optuna's samplers on the history of `service_suggesting.py`: how long `ask` takes, in a process of its own.

    python scripts/optuna_asks.py tpe HISTORY.json REPEATS

The history is a list of [[operation, …], value]. Prints the milliseconds of each ask on a line of its own, as soon as it is known, so that
what came before a time limit is not lost. What was asked for stays out, as with workers that are still measuring.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path

import optuna

from predictor.search_spaces.nasbench201 import NASBench201

NUM_DECISIONS = 6


def sampler(name: str) -> optuna.samplers.BaseSampler:
    """Tree-structured Parzen estimators, or a Gaussian process, with the settings that Optuna gives them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}[name](seed=0)


def asks(name: str, history: list[tuple[list[str], float]], repeats: int) -> None:
    """Adds the history to a study in memory, and asks."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = NASBench201().decisions[0].choices
    decisions = {
        f"edge_{place}": optuna.distributions.CategoricalDistribution(choices) for place in range(NUM_DECISIONS)
    }
    study = optuna.create_study(direction="maximize", sampler=sampler(name))
    study.add_trials(
        optuna.trial.create_trial(
            params=dict(zip(decisions, chosen, strict=True)), distributions=decisions, value=value
        )
        for chosen, value in history
    )
    for _ in range(repeats):
        began = time.perf_counter()
        study.ask(decisions)
        print((time.perf_counter() - began) * 1e3, flush=True)


def main(given: list[str]) -> None:
    name, file, repeats = given
    asks(name, json.loads(Path(file).read_text()), int(repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
