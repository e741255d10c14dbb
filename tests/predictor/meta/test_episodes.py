from __future__ import annotations

import numpy as np
import pytest
import torch

from predictor.encoding import NUM_NODE_FEATURES, ArchitectureEncoder, SpaceReference
from predictor.meta.episodes import (
    EpisodeBatch,
    EpisodeConfig,
    EpisodeSampler,
    TaskPool,
    draw,
    space_reference,
    without_features,
)
from predictor.surrogate.standardisation import Standardisation
from predictor.surrogate.surrogate import SurrogateInputs
from predictor.tasks import Metric, Task


def pool_of(cells, name="toy", group=None, values=None) -> TaskPool:
    graphs = ArchitectureEncoder().batch(cells)
    task = Task("space", name, Metric("accuracy", "%", "maximize"))
    numbers = np.arange(len(cells), dtype=float) if values is None else values
    return TaskPool(task, group or name, graphs, SpaceReference.of(graphs), numbers)


def test_targets_are_standardised_by_the_support_set_alone(cells) -> None:
    pool = pool_of(cells[:40])
    batch = draw([pool], 10, 20, np.random.default_rng(0))

    chosen = np.random.default_rng(0).permutation(40)[:30]
    known = pool.values[chosen[:10]]
    scale = Standardisation.warped(pool.task, known)

    np.testing.assert_allclose(batch.support_targets[0], scale.forward(known), atol=1e-5)
    expected = np.clip(scale.forward(pool.values[chosen[10:]]), -5, 5)
    np.testing.assert_allclose(batch.query_targets[0], expected, atol=1e-5)


def test_support_and_query_share_no_architecture(cells) -> None:
    pool = pool_of(cells[:30], values=np.arange(30.0))
    batch = draw([pool], 10, 20, np.random.default_rng(0))

    known = pool.values[np.random.default_rng(0).permutation(30)[:10]]
    scale = Standardisation.warped(pool.task, known)
    standardised = torch.cat([batch.support_targets[0], batch.query_targets[0]]).double().numpy()
    assert sorted(np.round(scale.inverse(standardised)).tolist()) == list(range(30))


def test_the_query_is_told_that_something_was_measured_and_its_zero_shot_twin_is_not(cells) -> None:
    batch = draw([pool_of(cells[:30])], 5, 10, np.random.default_rng(0))

    assert torch.equal(batch.query.nodes, batch.zero_shot_query.nodes)
    assert bool((batch.query.context[..., -1] == 0).all())
    assert bool((batch.zero_shot_query.context[..., -1] == 1).all())


def test_episodes_of_graphs_of_different_size_are_stacked_by_padding(cells, random_graph) -> None:
    large = [random_graph(np.random.default_rng(seed), 11) for seed in range(20)]

    batch = draw([pool_of(cells[:20]), pool_of(large, "large")], 5, 6, np.random.default_rng(0))

    assert batch.support.nodes.shape[:3] == (2, 5, 11)
    assert batch.support.adjacency.shape == (2, 5, 11, 11)
    assert float(batch.support.mask[1].sum()) == 55.0
    assert float(batch.support.mask[0].sum()) < 55.0


def test_every_group_has_the_same_chance_however_many_tasks_it_has(cells) -> None:
    graphs = cells[:20]
    many = [pool_of(graphs, f"many{number}", "many", np.full(20, 1.0)) for number in range(9)]
    sampler = EpisodeSampler([*many, pool_of(graphs, "one", "one")], EpisodeConfig(tasks_per_batch=50, max_support=4))

    batch = sampler.sample(np.random.default_rng(0))

    from_one = sum(bool(targets.unique().numel() > 1) for targets in batch.query_targets)
    assert 12 <= from_one <= 38  # 25 expected; 3.7 standard deviations either way


def test_tasks_with_too_few_architectures_are_left_out(cells) -> None:
    sampler = EpisodeSampler([pool_of(cells[:10]), pool_of(cells[:11], "enough")], EpisodeConfig())

    assert sampler.num_tasks == 1
    for seed in range(20):
        batch = sampler.sample(np.random.default_rng(seed))
        assert batch.support_targets.shape[1] == 3
        assert batch.query_targets.shape[1] == 8


@pytest.mark.parametrize("seed", range(5))
def test_support_sizes_stay_within_the_configuration(cells, seed) -> None:
    config = EpisodeConfig(tasks_per_batch=2, min_support=4, max_support=9, num_query=7)
    sampler = EpisodeSampler([pool_of(cells[:60])], config)

    batch = sampler.sample(np.random.default_rng(seed))

    assert 4 <= batch.support_targets.shape[1] <= 9
    assert batch.query_targets.shape == (2, 7)


def test_the_reference_of_a_space_is_always_the_same(space) -> None:
    first, second = (space_reference(space, ArchitectureEncoder()) for _ in range(2))

    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)


def test_an_episode_misses_the_same_features_everywhere_and_another_one_others() -> None:
    features = torch.ones(2, 3, 4, NUM_NODE_FEATURES)
    part = SurrogateInputs(
        features, torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4), torch.ones(2, 3, 40), torch.ones(2, 3, 5)
    )
    batch = EpisodeBatch(part, torch.zeros(2, 3), part, torch.zeros(2, 3), part)

    reduced = without_features(batch, 0.3, np.random.default_rng(0))

    kept = reduced.support.nodes[:, 0, 0]
    assert torch.equal(reduced.support.nodes, kept[:, None, None].expand_as(features))
    assert torch.equal(reduced.query.nodes, reduced.support.nodes)
    assert not torch.equal(kept[0], kept[1])
    assert 0.5 < float(kept.mean()) < 0.9
    assert torch.equal(reduced.support.context, part.context)
