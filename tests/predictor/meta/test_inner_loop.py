"""learn2learn's MAML, the inner loop with torch.func, the batched engine and serving are held to the same numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from predictor.encoding import ArchitectureEncoder
from predictor.meta.episodes import draw, space_reference, support_pool
from predictor.meta.inner_loop import (
    InnerLoopConfig,
    gaussian_loss,
    initial_log_step_sizes,
    inner_loop,
    ranking_loss,
)
from predictor.meta.learn2learn_loop import adapted_surrogate
from predictor.meta.outer_loop import OuterLoopConfig, batch_loss, batched_engine, learn2learn_engine
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.standardisation import ScalePrior, Standardisation
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig, SurrogateInputs, task_context

REPOSITORY = Path(__file__).parents[3]
TOLERANCE = 1e-5  # float32 carries 7 digits; a few steps of two implementations differ in the last ones
RANKING_WEIGHT = 0.5


def learned_step_sizes(surrogate: Surrogate, num_steps: int) -> Tensor:
    """Different for every step and tensor, as if they had been learned."""
    log_step_sizes = initial_log_step_sizes(surrogate, InnerLoopConfig(num_steps=num_steps))
    noise = torch.randn(log_step_sizes.shape, generator=torch.Generator().manual_seed(3))
    return (log_step_sizes + 0.5 * noise).requires_grad_()


def targets_of(count: int) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(4))


def assert_same_parameters(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert list(first) == list(second)
    for name in first:
        torch.testing.assert_close(first[name], second[name], atol=TOLERANCE, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("num_steps", [1, 4])
def test_learn2learn_and_torch_func_give_the_same_parameters(tiny_surrogate, inputs_of, cells, num_steps) -> None:
    support, targets, weights = inputs_of(cells[:12]), targets_of(12), torch.linspace(0, 1, 12)
    log_step_sizes = learned_step_sizes(tiny_surrogate, num_steps)

    reference = adapted_surrogate(tiny_surrogate, log_step_sizes, support, targets, weights, RANKING_WEIGHT)
    initial = dict(tiny_surrogate.named_parameters())
    found = inner_loop(tiny_surrogate, initial, log_step_sizes, support, targets, weights, RANKING_WEIGHT)

    assert_same_parameters(dict(reference.module.named_parameters()), found)
    moved = max(float((found[name] - initial[name]).detach().abs().max()) for name in initial)
    assert moved > 10 * TOLERANCE  # or else the comparison would say nothing


@pytest.mark.parametrize("num_steps", [1, 4])
def test_learn2learn_and_torch_func_give_the_same_outer_gradients(tiny_surrogate, inputs_of, cells, num_steps) -> None:
    support, targets, weights = inputs_of(cells[:8]), targets_of(8), torch.ones(8)
    query = inputs_of(cells[8:16])
    log_step_sizes = learned_step_sizes(tiny_surrogate, num_steps)
    learned = [*tiny_surrogate.parameters(), log_step_sizes]

    learner = adapted_surrogate(tiny_surrogate, log_step_sizes, support, targets, weights, RANKING_WEIGHT)
    reference = torch.autograd.grad(learner(*query.tensors())[0].square().mean(), learned, allow_unused=True)
    adapted = inner_loop(
        tiny_surrogate,
        dict(tiny_surrogate.named_parameters()),
        log_step_sizes,
        support,
        targets,
        weights,
        RANKING_WEIGHT,
    )
    answer = functional_call(tiny_surrogate, dict(adapted), query.tensors())[0]
    found = torch.autograd.grad(answer.square().mean(), learned, allow_unused=True)

    for one, other in zip(found, reference, strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=1e-4)
    assert bool(found[-1].any())  # step sizes are learned too


def test_gradients_of_the_inner_loop_are_of_second_order(tiny_surrogate, inputs_of, cells) -> None:
    support, targets, weights = inputs_of(cells[:8]), targets_of(8), torch.ones(8)
    log_step_sizes = learned_step_sizes(tiny_surrogate, 1)
    initial = dict(tiny_surrogate.named_parameters())
    adapted = inner_loop(tiny_surrogate, initial, log_step_sizes, support, targets, weights, RANKING_WEIGHT)

    def outer_gradient(parameters: Mapping[str, Tensor], of: list[Tensor]) -> list[Tensor]:
        mean = functional_call(tiny_surrogate, dict(parameters), support.tensors())[0]
        return list(torch.autograd.grad(mean.square().mean(), of))

    names = [
        name for name in initial if "log_std" not in name
    ]  # the mean does not depend on the head's spread at first order
    second_order = outer_gradient(adapted, [initial[name] for name in names])
    detached = {name: value.detach().requires_grad_() for name, value in adapted.items()}
    first_order = outer_gradient(detached, [detached[name] for name in names])

    assert max(float((a - b).abs().max()) for a, b in zip(first_order, second_order, strict=True)) > 1e-4


@pytest.fixture
def batch(accuracy_task, space, cells, support_of, convolutions):
    encoder = ArchitectureEncoder()
    pool = support_pool(
        accuracy_task, "toy", support_of(cells[:60], convolutions), space_reference(space, encoder), encoder
    )
    return draw([pool] * 3, 6, 8, np.random.default_rng(0))


@pytest.mark.parametrize("num_steps", [1, 4])
def test_all_episodes_at_once_give_what_learn2learn_gives_one_after_the_other(tiny_surrogate, batch, num_steps) -> None:
    log_step_sizes = learned_step_sizes(tiny_surrogate, num_steps)
    config = OuterLoopConfig(inner=InnerLoopConfig(num_steps=num_steps))
    learned = [*tiny_surrogate.parameters(), log_step_sizes]
    answers, gradients = [], []

    for engine in (batched_engine, learn2learn_engine()):
        answers.append(engine(tiny_surrogate, log_step_sizes, batch, RANKING_WEIGHT))
        loss, _ = batch_loss(tiny_surrogate, log_step_sizes, batch, config, engine)
        gradients.append(torch.autograd.grad(loss, learned))

    for one, other in zip(*answers, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=TOLERANCE)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_serving_gives_the_same_parameters_as_learn2learn(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, count
) -> None:
    support = support_of(cells[:count], convolutions)

    adapted = tiny_meta.adapt(accuracy_task, space, support)

    encoder = ArchitectureEncoder()
    scale = Standardisation.warped(
        accuracy_task, support.targets, ScalePrior(**tiny_meta.manifest["priors"]["accuracy"])
    )
    inputs = SurrogateInputs.of(
        encoder.batch(support.architectures), space_reference(space, encoder), task_context(accuracy_task, count)
    )
    surrogate = Surrogate(SurrogateConfig(EncoderConfig(**tiny_meta.manifest["surrogate"])))
    surrogate.load_state_dict(tiny_meta.surrogate.state_dict())
    reference = adapted_surrogate(
        surrogate,
        tiny_meta.log_step_sizes,
        inputs,
        torch.from_numpy(scale.forward(support.targets)).float(),
        torch.ones(count),
        tiny_meta.inner_config.ranking_weight,
    )
    assert_same_parameters(dict(reference.module.named_parameters()), adapted._parameters)


ADAPT_IN_A_FRESH_PROCESS = """
import sys
from dataclasses import asdict
import torch
import predictor
import app.inference
from predictor.checkpoint import encoding_fingerprint
from predictor.encoding import NUM_GLOBAL_FEATURES, SpaceReference
from predictor.meta.inner_loop import InnerLoopConfig, initial_log_step_sizes
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import NUM_CONTEXT, Surrogate, SurrogateConfig

torch.set_num_threads(1)
encoder, inner = EncoderConfig(16, 1, NUM_CONTEXT), InnerLoopConfig()
surrogate = Surrogate(SurrogateConfig(encoder))
reference = SpaceReference(torch.zeros(NUM_GLOBAL_FEATURES), torch.ones(NUM_GLOBAL_FEATURES))
manifest = {"encoding": encoding_fingerprint(), "surrogate": asdict(encoder), "inner": asdict(inner)}
meta = predictor.MetaPredictor(surrogate, initial_log_step_sizes(surrogate, inner), reference, manifest)
space = predictor.search_space("nasbench_macro")
cells = [space.parse(f"{step:02d}"[0] * 4 + f"{step:02d}"[1] * 4) for step in (0, 1, 2, 10, 11, 12, 20, 21, 22)]
cells += [space.parse(text) for text in ("01201201", "21021021", "02102102")]  # enough for forests
task = predictor.Task("nasbench_macro", "toy", predictor.Metric("accuracy", "%", "maximize"))
support = predictor.SupportSet(tuple(cells), tuple(map(float, range(12))), (1,) * 12)
adapted = meta.adapt(task, space, support)
assert adapted.insides.forests is not None
assert len(adapted.predict(cells)) == 12
heavy = {name.split(".")[0] for name in sys.modules} & {"learn2learn", "torchvision", "gym", "sklearn", "matplotlib"}
print("imported:", sorted(heavy))
"""


def test_importing_the_library_and_adapting_imports_nothing_that_only_training_needs() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", ADAPT_IN_A_FRESH_PROCESS], capture_output=True, text=True, cwd=REPOSITORY, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "imported: []"


def test_the_gaussian_loss_is_the_weighted_negative_log_likelihood_less_its_constant() -> None:
    mean, log_std, targets = torch.randn(3, 9, generator=torch.Generator().manual_seed(0)).unbind()
    weights = torch.linspace(0.0, 2.0, 9)

    likelihood = torch.distributions.Normal(mean, log_std.exp()).log_prob(targets)

    expected = -(weights * (likelihood + 0.5 * np.log(2 * np.pi))).sum() / weights.sum()
    torch.testing.assert_close(gaussian_loss(mean, log_std, targets, weights), expected)


def test_the_ranking_loss_is_the_mean_hinge_over_pairs_that_differ() -> None:
    mean, targets = torch.tensor([0.0, 1.0, 0.95]), torch.tensor([0.0, 1.0, 2.0])

    # pairs (0, 1) and (0, 2) stand rightly by more than the margin of 0.1, (1, 2) wrongly by 0.05
    torch.testing.assert_close(ranking_loss(mean, targets, torch.ones(3)), torch.tensor(0.15 / 3))
    assert float(ranking_loss(mean, torch.ones(3), torch.ones(3))) == 0.0
    assert float(ranking_loss(mean, targets, torch.tensor([1.0, 1.0, 0.0]))) == 0.0


def test_observations_of_weight_0_are_as_if_they_had_not_been_made(tiny_surrogate, inputs_of, cells) -> None:
    log_step_sizes = learned_step_sizes(tiny_surrogate, 2)
    initial, inputs, targets = dict(tiny_surrogate.named_parameters()), inputs_of(cells[:8]), targets_of(8)
    few = SurrogateInputs(*(tensor[:5] for tensor in inputs.tensors()))

    without = inner_loop(tiny_surrogate, initial, log_step_sizes, few, targets[:5], torch.ones(5), RANKING_WEIGHT)
    masked = inner_loop(
        tiny_surrogate, initial, log_step_sizes, inputs, targets, (torch.arange(8) < 5).float(), RANKING_WEIGHT
    )

    assert_same_parameters(without, masked)
