"""How sharply the validation loss bends in the architecture parameters, and stopping before it bends too sharply.

Source: Zela et al., "Understanding and Robustifying Differentiable Architecture Search", ICLR 2020: the dominant eigenvalue of
∇²α L_val grows before the search collapses onto skip connections (DARTS-ES). The eigenvalue is found by Lanczos' method with full
orthogonalisation through Hessian-vector products (Golub & Van Loan, "Matrix Computations", chapter 10); the Hessian is never made.

Notation: A architecture parameters in all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from predictor.errors import SearchError
from predictor.evaluate.supernet.loop import check_at_least, check_whole

_SMALL = 1e-7  # relative: below it the Krylov space holds no new direction


@dataclass(frozen=True)
class EarlyStopping:
    """DARTS-ES: stop when the mean eigenvalue of the last `window` epochs is more than 1 / `ratio` times that of the window
    before `distance` epochs, and take the architecture of back then.

    Raises:
        SearchError: if a number is out of its range.
    """

    window: int = 3
    distance: int = 5
    ratio: float = 0.75
    first_epoch: int = 0  # what came before it does not count: while weights are still raw, curvature says little
    iterations: int = 10  # Hessian-vector products for one eigenvalue

    def __post_init__(self) -> None:
        positive = {"window": self.window, "distance": self.distance, "iterations": self.iterations}
        check_whole(SearchError, {f"{name} of early stopping": value for name, value in positive.items()}, 1)
        check_whole(SearchError, {"first_epoch of early stopping": self.first_epoch})
        check_at_least(SearchError, {"ratio of early stopping": self.ratio}, strict=True)
        if self.ratio >= 1.0:
            raise SearchError(f"expected the ratio of early stopping to lie between 0 and 1, got {self.ratio}")

    def goes_back_to(self, eigenvalues: Sequence[float]) -> int | None:
        """The number of the epoch whose architecture to take, given the eigenvalue of every epoch so far; None: go on."""
        last = len(eigenvalues) - 1
        before = last - self.distance
        if before - self.window + 1 < self.first_epoch:
            return None
        now = _mean(eigenvalues[last - self.window + 1 :])
        then = _mean(eigenvalues[before - self.window + 1 : before + 1])
        return before if now > 0.0 and then / now < self.ratio else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def dominant_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int
) -> float:  # (A,) -> (A,), (A,)
    """The eigenvalue of largest magnitude of a symmetric linear map, with its sign; exact once `iterations` reach A."""
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(iterations, len(start))):
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        known = torch.stack(basis)  # (k, A)
        rest = image - known.T @ (known @ image)
        rest = rest - known.T @ (known @ rest)  # once more: once leaves rounding errors
        length = float(rest.norm())
        if length <= _SMALL * max(float(image.norm()), 1e-30):
            break
        beside.append(length)
        basis.append(rest / length)
    between = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    projected = (
        torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(between, 1) + torch.diag(between, -1)
    )
    values = torch.linalg.eigvalsh(projected)
    return float(values[values.abs().argmax()])


def hessian_product(loss: Tensor, parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """v ↦ ∇²L v over the parameters laid end to end, (A,) -> (A,), by differentiating the gradient's product with v."""
    leaves = list(parameters)
    gradient = torch.cat([one.reshape(-1) for one in torch.autograd.grad(loss, leaves, create_graph=True)])

    def product(vector: Tensor) -> Tensor:
        parts = torch.autograd.grad(gradient @ vector, leaves, retain_graph=True, materialize_grads=True)
        return torch.cat([one.reshape(-1) for one in parts])

    return product
