"""A small surrogate with random parameters, and architectures and tasks to try it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pytest
import torch

from predictor.architecture import Architecture, Operation
from predictor.checkpoint import encoding_fingerprint
from predictor.encoding import NUM_GLOBAL_FEATURES, ArchitectureEncoder, SpaceReference
from predictor.meta.episodes import TaskPool, space_reference
from predictor.meta.inner_loop import InnerLoopConfig
from predictor.meta.outer_loop import MetaLearnerState
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import with_universal_mean
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.search_spaces.registry import search_space
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import NUM_CONTEXT, Surrogate, SurrogateConfig, SurrogateInputs, task_context
from predictor.tasks import Metric, SupportSet, Task


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from several threads, and wait for them where other work is running."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def space() -> NASBench201:
    return NASBench201()


@pytest.fixture(scope="session")
def cells(space: NASBench201) -> list[Architecture]:
    """300 different cells."""
    rng = np.random.default_rng(0)
    return list({cell.hash: cell for cell in (space.sample(rng) for _ in range(500))}.values())[:300]


@pytest.fixture(scope="session")
def accuracy_task() -> Task:
    return Task("nasbench201", "toy", Metric("accuracy", "%", "maximize"))


@pytest.fixture(scope="session")
def convolutions() -> Callable[[Architecture], float]:
    """A simple additive target: 60 plus 5 for every 3 × 3 convolution in the cell."""
    three = Operation.of("conv", kernel_size=3, stride=1)
    return lambda cell: 60.0 + 5.0 * cell.operations.count(three)


@pytest.fixture(scope="session")
def support_of() -> Callable[[Sequence[Architecture], Callable[[Architecture], float]], SupportSet]:
    """A support set of these architectures, each measured once."""

    def build(architectures: Sequence[Architecture], value: Callable[[Architecture], float]) -> SupportSet:
        return SupportSet(tuple(architectures), tuple(map(value, architectures)), (1,) * len(architectures))

    return build


@pytest.fixture(scope="session")
def tiny_encoder_config() -> EncoderConfig:
    return EncoderConfig(width=16, num_blocks=1, num_context=NUM_CONTEXT)


@pytest.fixture
def tiny_surrogate(tiny_encoder_config: EncoderConfig) -> Surrogate:
    return MetaLearnerState.fresh(SurrogateConfig(tiny_encoder_config), InnerLoopConfig(), seed=0).surrogate


@pytest.fixture(scope="session")
def tiny_meta(tiny_encoder_config: EncoderConfig) -> MetaPredictor:
    """A model version that learned nothing yet, with priors of accuracies and latencies."""
    inner = InnerLoopConfig()
    state = MetaLearnerState.fresh(SurrogateConfig(tiny_encoder_config), inner, seed=0)
    manifest = {
        "encoding": encoding_fingerprint(),
        "surrogate": asdict(tiny_encoder_config),
        "inner": asdict(inner),
        "priors": {
            "accuracy": {"location": 70.0, "location_spread": 10.0, "scale": 5.0},
            "latency": {"location": 2.0, "location_spread": 1.0, "scale": 0.4},
        },
        "kept_out": {"validation": [], "test": ["nasbench201/digits/accuracy"]},
    }
    reference = SpaceReference(torch.zeros(NUM_GLOBAL_FEATURES), torch.ones(NUM_GLOBAL_FEATURES))
    return MetaPredictor(state.surrogate, state.log_step_sizes, reference, manifest)


@pytest.fixture(scope="session")
def universal_meta(
    tiny_meta: MetaPredictor, space: NASBench201, convolutions: Callable[[Architecture], float]
) -> MetaPredictor:
    """The same with a universal mean that learned from two spaces what many 3 × 3 convolutions are worth."""
    pools, encoder = [], ArchitectureEncoder()
    for one in (space, search_space("nasbench101")):
        drawn = [one.sample(np.random.default_rng(number)) for number in range(120)]
        task = Task(one.name, "other", Metric("accuracy", "%", "maximize"))
        values = np.array([convolutions(architecture) for architecture in drawn])
        pools.append(TaskPool(task, one.name, encoder.batch(drawn), space_reference(one, encoder), values))
    return with_universal_mean(tiny_meta, pools)


@pytest.fixture(scope="session")
def inputs_of(space: NASBench201, accuracy_task: Task) -> Callable[[Sequence[Architecture]], SurrogateInputs]:
    """Architectures as a surrogate reads them."""
    encoder = ArchitectureEncoder()

    def read(architectures: Sequence[Architecture]) -> SurrogateInputs:
        batch = encoder.batch(architectures)
        return SurrogateInputs.of(batch, SpaceReference.of(batch), task_context(accuracy_task, len(architectures)))

    return read


@pytest.fixture(scope="session")
def random_graph() -> Callable[[np.random.Generator, int], Architecture]:
    """A random DAG of a few kinds of operations, some nodes without edges."""
    choices = (
        Operation.of("conv", kernel_size=3, stride=1),
        Operation.of("conv", kernel_size=1, stride=2, channels=32),
        Operation.of("mbconv", kernel_size=5, expansion=6, se=True),
        Operation.of("identity"),
        Operation.of("max_pool", kernel_size=3),
        Operation.of("attention", heads=4, flavour="local"),
        Operation.of("my_own_mixer", temperature=0.5),
    )

    def build(rng: np.random.Generator, num_nodes: int) -> Architecture:
        operations = [choices[int(rng.integers(len(choices)))] for _ in range(num_nodes)]
        pairs = [(i, j) for j in range(num_nodes) for i in range(j) if rng.random() < 0.4]
        return Architecture.build(operations, pairs)

    return build
