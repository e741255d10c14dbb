"""A Ray Tune experiment that asks Archcast: how deep and how wide a small network for scikit-learn's digits should be.

make run                                       # in another terminal
uv sync --inexact --extra ray
.venv/bin/python scripts/example_ray.py --trials 20
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from ray import tune
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from app.client import DEFAULT_URL
from app.integrations.ray_searcher import ArchcastSearcher

SPACE = {
    "depth": tune.randint(1, 5),
    "width": tune.lograndint(8, 129),
    "activation": tune.choice(["relu", "tanh"]),
    "rate": tune.loguniform(1e-4, 1e-1),
}


def objective(config: dict[str, Any]) -> None:
    """Reports the accuracy over three folds."""
    network = MLPClassifier(
        (config["width"],) * config["depth"],
        activation=config["activation"],
        learning_rate_init=config["rate"],
        max_iter=20,
        early_stopping=True,
        random_state=0,
    )
    images, digits = load_digits(return_X_y=True)
    tune.report({"accuracy": float(cross_val_score(network, images / 16, digits, cv=3).mean())})


def main() -> None:
    """Runs the experiment and prints the best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("ARCHCAST_URL", DEFAULT_URL))
    parser.add_argument("--trials", type=int, default=20)
    given = parser.parse_args()
    searcher = ArchcastSearcher("accuracy", "max", url=given.url)
    tuner = tune.Tuner(
        objective,
        param_space=SPACE,
        tune_config=tune.TuneConfig(search_alg=searcher, num_samples=given.trials, max_concurrent_trials=2),
    )
    best = tuner.fit().get_best_result("accuracy", "max")
    print(f"{best.metrics['accuracy']:.4f} with {best.config}")


if __name__ == "__main__":
    main()
