from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from predictor.encoding import ArchitectureEncoder
from predictor.meta.episodes import EpisodeConfig, EpisodeSampler, TaskPool, space_reference
from predictor.meta.inner_loop import InnerLoopConfig
from predictor.meta.outer_loop import MetaLearnerState, OuterLoop, OuterLoopConfig, batched_engine
from predictor.surrogate.surrogate import SurrogateConfig
from predictor.tasks import Metric, Task

INNER = InnerLoopConfig(num_steps=2)


@pytest.fixture(scope="module")
def pools(space, cells) -> list[TaskPool]:
    """Tasks of one family: every one values the same operations, each at its own price."""
    encoder = ArchitectureEncoder()
    graphs, reference = encoder.batch(cells[:100]), space_reference(space, encoder)
    decisions = np.array([space.features(cell) for cell in cells[:100]])
    worth = np.tile(np.array([-1.0, 0.0, 0.5, 1.0, 0.2]), 6)
    found = []
    for number in range(4):
        task = Task("nasbench201", f"toy{number}", Metric("accuracy", "%", "maximize"))
        found.append(TaskPool(task, f"toy{number}", graphs, reference, 50.0 + (1 + number) * (decisions @ worth)))
    return found


@pytest.fixture
def new_loop(pools, tiny_encoder_config):
    def build(num_steps: int = 30, seed: int = 0) -> OuterLoop:
        state = MetaLearnerState.fresh(SurrogateConfig(tiny_encoder_config), INNER, seed)
        config = OuterLoopConfig(num_steps=num_steps, learning_rate=5e-3, warmup_steps=3, inner=INNER)
        sampler = EpisodeSampler(pools, EpisodeConfig(tasks_per_batch=3, max_support=10, num_query=12))
        return OuterLoop(state, sampler, config, seed)

    return build


def go_on(_step: int, _loss: float) -> bool:
    return True


def test_the_loss_after_adaptation_falls_on_a_simple_family_of_tasks(new_loop) -> None:
    losses: list[float] = []

    def note(_step: int, loss: float) -> bool:
        losses.append(loss)
        return True

    new_loop(num_steps=40).run(40, batched_engine, note)

    assert len(losses) == 40
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.2


def test_the_same_seed_learns_the_same(new_loop) -> None:
    loops = [new_loop(), new_loop()]
    for loop in loops:
        loop.run(3, batched_engine, go_on)

    for (name, first), (_, second) in zip(*(loop.state.named() for loop in loops), strict=True):
        assert torch.equal(first, second), name


def test_what_was_saved_goes_on_as_if_it_had_never_stopped(new_loop) -> None:
    stopped = new_loop()
    stopped.run(4, batched_engine, go_on)
    saved = save(stopped.tensors())

    others = [new_loop(seed=7), new_loop(seed=8)]  # whatever their own beginning
    for other in others:
        other.load_tensors(load(saved))
        assert other.step == 4
        for (name, value), (_, expected) in zip(other.state.named(), stopped.state.named(), strict=True):
            assert torch.equal(value, expected), name
        other.run(8, batched_engine, go_on)

    for (name, first), (_, second) in zip(*(other.state.named() for other in others), strict=True):
        assert torch.equal(first, second), name
        assert torch.equal(others[0].state.averages[name], others[1].state.averages[name]), name


def test_the_optimiser_keeps_its_memory_over_a_stop(new_loop) -> None:
    stopped, amnesic, other = new_loop(), new_loop(), new_loop()
    stopped.run(4, batched_engine, go_on)
    saved = load(save(stopped.tensors()))
    other.load_tensors(saved)
    amnesic.load_tensors({name: value for name, value in saved.items() if not name.startswith("optimizer.")})

    for loop in (amnesic, other):
        loop.run(5, batched_engine, go_on)

    assert any(
        not torch.equal(first, second)
        for (_, first), (_, second) in zip(amnesic.state.named(), other.state.named(), strict=True)
    )


def test_it_ends_when_it_is_told_to(new_loop) -> None:
    loop = new_loop()

    loop.run(10, batched_engine, lambda step, _loss: step < 2)

    assert loop.step == 2


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing(new_loop, what) -> None:
    loop = new_loop()
    before = [value.detach().clone() for _, value in loop.state.named()]

    def broken(surrogate, log_step_sizes, batch, ranking_weight):
        mean, log_std = batched_engine(surrogate, log_step_sizes, batch, ranking_weight)
        if what == "loss":
            return mean * float("nan"), log_std
        zero = (mean - mean.detach()) * 1.0
        return mean + zero.abs().clamp(min=0).sqrt(), log_std  # 0, with an infinite slope

    loop.run(1, broken, go_on)

    assert loop.step == 1
    for value, (name, after) in zip(before, loop.state.named(), strict=True):
        assert torch.equal(value, after), name


def test_averages_follow_what_is_learned(new_loop) -> None:
    state = new_loop().state
    start = state.averages["log_step_sizes"].clone()
    with torch.no_grad():
        state.log_step_sizes += 1.0

    state.update_averages(0.75)

    torch.testing.assert_close(state.averages["log_step_sizes"], start + 0.25)
