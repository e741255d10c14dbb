"""Reinforcement learning of a controller that writes architectures down decision by decision.

The policy is that of Zoph & Le ("Neural Architecture Search with Reinforcement Learning", ICLR 2017), with their moving
average of rewards as baseline. It is trained by REINFORCE (Williams, Machine Learning 1992) or by proximal policy
optimisation with clipped ratios (Schulman et al., "Proximal Policy Optimization Algorithms", 2017; for architectures Zoph et
al., CVPR 2018), either with an entropy bonus.

The policy gradient holds for what the policy itself drew: other architectures that it is told of enter the scale of rewards
alone. Where it draws what is known already, it learns from that at once and draws again; where it draws nothing else any
more, something new near to what it draws is proposed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from predictor.architecture import Architecture
from predictor.search.adam import Adam, clipped
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.breeding import Breeder
from predictor.search.merit import RewardScale
from predictor.search.policy import Draw, Policy, tensors_as_text, tensors_from_text
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings, setting
from predictor.search.step_spaces import steps_of, steps_refusal

_MAX_DRAWS = 12
_MAX_NORM = 1.0  # of the gradient


@dataclass(frozen=True)
class ControllerSettings(StrategySettings):
    """How the policy is trained."""

    algorithm: str = setting("ppo", "How the gradient is taken.", choices=("ppo", "reinforce"))
    batch: int = setting(8, "Rewards between two updates.", low=1, high=10_000)
    epochs: int = setting(4, "Gradient steps an update (PPO alone; REINFORCE takes one).", low=1, high=1_000)
    clip: float = setting(0.2, "How far PPO lets a probability move in one update.", low=0.001, high=1.0)
    learning_rate: float = setting(0.02, "Step size of Adam.", low=1e-6, high=1.0)
    entropy_bonus: float = setting(
        0.02, "Reward for being undecided, so that it goes on exploring.", low=0.0, high=10.0
    )
    baseline_decay: float = setting(0.9, "How slowly the moving average of rewards follows.", low=0.0, high=0.9999)
    hidden: int = setting(32, "Width of the recurrent network.", low=1, high=1_024)


class Controller(RememberingStrategy):
    """A recurrent policy that is rewarded for good architectures."""

    name = "controller"
    description = (
        "Reinforcement learning: a recurrent controller writes architectures and is rewarded by their outcomes (PPO)."
    )
    source = (
        "Zoph & Le, Neural Architecture Search with Reinforcement Learning, ICLR 2017; "
        "Schulman et al., Proximal Policy Optimization Algorithms, 2017"
    )
    settings_type = ControllerSettings

    def __init__(self, problem: SearchProblem, settings: ControllerSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._config = settings
        self._steps = steps_of(problem, self.name)
        self._breeder = Breeder(problem.space, self._history)
        generator = torch.Generator().manual_seed(int(self._rng.integers(2**31)))
        self.policy = Policy(self._steps, settings.hidden, generator)
        self._optimizer = Adam(list(self.policy.parameters()), settings.learning_rate)
        self._drawn: dict[str, Draw] = {}  # by hash, what is awaited
        self._batch: list[tuple[str, Draw]] = []
        self._baseline: float | None = None

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return steps_refusal(problem, cls.name)

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        known: list[Architecture] = []
        for _ in range(_MAX_DRAWS):
            draw = self.policy.draw(self._rng)
            architecture = self._steps.build(draw.path, self._rng)
            if self._is_new(architecture):
                self._drawn[architecture.hash] = draw
                return [Proposal(architecture, origin="drawn by the controller")]
            known.append(architecture)
            if self._history.outcome(architecture.hash) is not None:
                self._reward(architecture.hash, draw)
        nearby = self._breeder.new_child(lambda: known[int(self._rng.integers(len(known)))], self._rng)
        return (
            self._random_proposal() if nearby is None else [Proposal(nearby, origin="near what the controller draws")]
        )

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        draw = self._drawn.pop(outcome.architecture.hash, None) if outcome.fidelity == 1.0 else None
        if draw is not None:
            self._reward(outcome.architecture.hash, draw)

    def _reward(self, architecture_hash: str, draw: Draw) -> None:
        self._batch.append((architecture_hash, draw))
        if len(self._batch) >= self._config.batch:
            self._update()
            self._batch = []

    def _update(self) -> None:
        """One batch of rewards against the baseline as it was before them."""
        scale = RewardScale(self.problem, self._history.outcomes())
        outcomes = [self._history.outcome(name) for name, _ in self._batch]
        rewards = torch.tensor([scale.reward(outcome) for outcome in outcomes if outcome is not None])
        baseline = float(rewards.mean()) if self._baseline is None else self._baseline
        draws = [draw for _, draw in self._batch]
        for _ in range(self._config.epochs if self._config.algorithm == "ppo" else 1):
            loss = policy_loss(self.policy, draws, rewards - baseline, self._config)
            gradients = torch.autograd.grad(loss, list(self.policy.parameters()))
            self._optimizer.step(clipped(gradients, _MAX_NORM))
        decay = self._config.baseline_decay ** len(draws)
        self._baseline = decay * baseline + (1.0 - decay) * float(rewards.mean())

    def _own_state(self) -> State:
        return {
            "parameters": tensors_as_text(dict(self.policy.state_dict())),
            "moments": tensors_as_text(self._optimizer.tensors()),
            "baseline": self._baseline,
            "drawn": [[name, list(draw.path), draw.log_probability] for name, draw in self._drawn.items()],
            "batch": [[name, list(draw.path), draw.log_probability] for name, draw in self._batch],
        }

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        self.policy.load_state_dict(tensors_from_text(state["parameters"]))
        self._optimizer.restore(tensors_from_text(state["moments"]))
        self._baseline = None if state["baseline"] is None else float(state["baseline"])
        self._drawn = dict(_read_draw(one) for one in state["drawn"])
        self._batch = [_read_draw(one) for one in state["batch"]]


def policy_loss(
    policy: Policy, draws: list[Draw], advantages: torch.Tensor, settings: ControllerSettings
) -> torch.Tensor:
    """What is to be minimised: PPO's equation 7 or REINFORCE, less the entropy bonus."""
    now = policy([draw.path for draw in draws])
    if settings.algorithm == "ppo":
        ratios = torch.exp(now.log_probabilities - torch.tensor([draw.log_probability for draw in draws]))
        clipped = ratios.clamp(1.0 - settings.clip, 1.0 + settings.clip)
        gain = torch.minimum(ratios * advantages, clipped * advantages)
    else:
        gain = now.log_probabilities * advantages
    loss: torch.Tensor = -(gain + settings.entropy_bonus * now.entropies).mean()
    return loss


def _read_draw(document: Any) -> tuple[str, Draw]:
    name, path, log_probability = document
    return str(name), Draw(tuple(map(int, path)), float(log_probability))
