"""Settings of a differentiable search."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from predictor.errors import SearchError
from predictor.evaluate.supernet.curvature import EarlyStopping
from predictor.evaluate.supernet.loop import check_at_least, check_whole
from predictor.evaluate.supernet.retraining import RetrainingConfig
from predictor.evaluate.supernet.stack import StackConfig

Order = Literal["first", "second", "second_exact"]
"""Whether the architecture's gradient sees the weights' next step, and whether it sees it exactly or as the paper does."""


@dataclass(frozen=True)
class DartsConfig:
    """How a supernet is searched. The defaults suit thousands of small images; DARTS on CIFAR-10 takes 50 epochs, a batch of
    64, 16 channels and an architecture rate of 3e-4.

    The guards against a collapse onto skip connections: `stack.partial_channels` above 1 with `normalises_edges` and some
    `warmup_epochs` is PC-DARTS, `early_stopping` DARTS-ES.

    Raises:
        SearchError: if a setting is out of its range.
    """

    epochs: int = 50
    order: Order = "first"
    batch_size: int = 50
    learning_rate: float = 0.025
    least_learning_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_limit: float = 5.0
    architecture_rate: float = 3e-3
    architecture_decay: float = 1e-3
    warmup_epochs: int = 0
    normalises_edges: bool = False
    early_stopping: EarlyStopping | None = None
    stack: StackConfig = field(default_factory=StackConfig)
    retraining: RetrainingConfig = field(default_factory=RetrainingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise SearchError(f"expected the order to be one of {', '.join(get_args(Order))}, got {self.order!r:.80}")
        check_whole(SearchError, {"epochs": self.epochs}, 1)
        check_whole(SearchError, {"batch_size": self.batch_size}, 2)
        check_whole(SearchError, {"warmup_epochs": self.warmup_epochs, "seed": self.seed})
        if not isinstance(self.normalises_edges, bool):
            raise SearchError(f"expected normalises_edges to be true or false, got {self.normalises_edges!r:.80}")
        positive = ("learning_rate", "gradient_limit", "architecture_rate")
        check_at_least(SearchError, {name: getattr(self, name) for name in positive}, strict=True)
        others = ("least_learning_rate", "momentum", "weight_decay", "architecture_decay")
        check_at_least(SearchError, {name: getattr(self, name) for name in others})
        if self.warmup_epochs >= self.epochs:
            raise SearchError(
                f"expected fewer warmup_epochs than the {self.epochs} epochs, got {self.warmup_epochs}: the architecture would never move"
            )
