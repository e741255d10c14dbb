"""An Optuna study that asks Archcast: how deep and how wide a small network for scikit-learn's digits should be.

    make run                                       # in another terminal
    uv sync --inexact --extra optuna
    .venv/bin/python scripts/example_optuna.py --trials 20

Start it several times at once: with `--storage sqlite:///study.sqlite3` all of them work on one study.
"""

from __future__ import annotations

import argparse
import os

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from app.client import DEFAULT_URL
from app.integrations.optuna_sampler import ArchcastSampler

SPACE = {
    "depth": IntDistribution(1, 4),
    "width": IntDistribution(8, 128, log=True),
    "activation": CategoricalDistribution(["relu", "tanh"]),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}


def objective(trial: optuna.Trial) -> float:
    """Accuracy over three folds."""
    depth, width = trial.suggest_int("depth", 1, 4), trial.suggest_int("width", 8, 128, log=True)
    network = MLPClassifier(
        (width,) * depth,
        activation=trial.suggest_categorical("activation", ["relu", "tanh"]),
        learning_rate_init=trial.suggest_float("rate", 1e-4, 1e-1, log=True),
        max_iter=20,
        early_stopping=True,
        random_state=0,
    )
    images, digits = load_digits(return_X_y=True)
    return float(cross_val_score(network, images / 16, digits, cv=3).mean())


def main() -> None:
    """Runs the study and prints the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("ARCHCAST_URL", DEFAULT_URL))
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--storage", help="Optuna's, for several processes.")
    given = parser.parse_args()
    study = optuna.create_study(
        study_name="archcast-digits",
        direction="maximize",
        storage=given.storage,
        load_if_exists=True,
        sampler=ArchcastSampler(given.url, search_space=SPACE),
    )
    study.optimize(objective, n_trials=given.trials)
    print(f"{study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    main()
