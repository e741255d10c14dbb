"""How well the surrogate forecasts whole networks that were exported, and whether its out-of-distribution score is honest.

Networks of the shipped benchmark (NAS-Bench-201 cells, really trained on digits) are built in PyTorch, exported as a user would
and forecast in the search space `graph`, beside the same networks in their own space. Prints Kendall's τ against the measured
accuracies, the coverage of 90 % intervals, and out-of-distribution scores, for several numbers of observations.

    python scripts/evaluate_exports.py --networks 150
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from scipy.stats import kendalltau

from predictor.architecture import Architecture
from predictor.benchmarks.measured_cells import shipped_tasks
from predictor.champion import shipped_champion
from predictor.errors import FormatError
from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig
from predictor.formats.torch_export import architecture_from_module
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.nasbench201 import edge_operations
from predictor.search_spaces.registry import search_space
from predictor.tasks import SupportSet, Task

_OBSERVED = (0, 5, 20, 50)


def exported(cell: str) -> Architecture | None:
    """The network of the cell as a user would export it; None where its outputs do not depend on its input."""
    network = CellNetwork(edge_operations(cell), CellNetworkConfig(1, 10))
    try:
        return architecture_from_module(network, torch.zeros(1, 1, 8, 8))
    except FormatError:
        return None


def chosen(count: int, seed: int) -> list[tuple[str, Architecture, float]]:
    """Cells with their networks and measured accuracies."""
    table = next(one for one in shipped_tasks() if one.task.name == "nasbench201/digits/accuracy")
    rows = zip(table.cells, table.values, table.fidelities, strict=True)
    final = {cell: value for cell, value, fidelity in rows if fidelity == table.max_fidelity}
    order = np.random.default_rng(seed).permutation(len(final))
    cells = [list(final)[place] for place in order[: 2 * count]]
    networks = ((cell, exported(cell), final[cell]) for cell in cells)
    built = ((cell, network, value) for cell, network, value in networks if network is not None)
    return list(islice(built, count))


def report(
    champion: MetaPredictor, space_name: str, architectures: Sequence[Architecture], values: Sequence[float]
) -> None:
    """One line for each number of observations; the rest of the networks is what is forecast."""
    table = next(one for one in shipped_tasks() if one.task.name == "nasbench201/digits/accuracy")
    space, task = search_space(space_name), Task(space_name, "digits", table.task.metric)
    for count in _OBSERVED:
        support = SupportSet(tuple(architectures[:count]), tuple(values[:count]), (1,) * count)
        asked, measured = architectures[max(_OBSERVED) :], np.array(values[max(_OBSERVED) :])
        found = champion.adapt(task, space, support).predict(asked)
        inside = float(np.mean((found.lower <= measured) & (measured <= found.upper)))
        print(
            f"{space_name:12} {count:3} observations: τ {kendalltau(found.mean, measured)[0]:5.2f}, intervals hold "
            f"{inside:4.0%}, out-of-distribution score {np.median(found.ood_score):.2f} "
            f"({found.ood_score.min():.2f} to {found.ood_score.max():.2f})"
        )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=150, help="How many networks, the first 50 of them observed.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows = chosen(given.networks, given.seed)
    champion = MetaPredictor.load(shipped_champion())
    values = [value for _, _, value in rows]
    space = search_space("nasbench201")
    report(champion, "nasbench201", [space.parse(cell) for cell, _, _ in rows], values)
    report(champion, "graph", [network for _, network, _ in rows], values)


if __name__ == "__main__":
    main()
