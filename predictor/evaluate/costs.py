"""What a network costs: parameters, multiply-accumulates, and the time of a forward pass.

Latency is measured after warm-up passes, many times, with a fixed number of threads on the CPU and by the GPU's own clock on CUDA;
told are the median and the spread between quartiles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from predictor.errors import EvaluationError
from predictor.evaluate.plan import Plan, PlannedNetwork


@dataclass(frozen=True)
class LatencyConfig:
    """How latency is measured; the first batch size is the one that `latency_ms` speaks of.

    Raises:
        EvaluationError: if a number is not positive, or there are fewer than three repeats.
    """

    batch_sizes: tuple[int, ...] = (1, 64)
    warm_up: int = 10
    repeats: int = 50
    threads: int = 1

    def __post_init__(self) -> None:
        if (
            not self.batch_sizes
            or min(self.batch_sizes) < 1
            or self.warm_up < 1
            or self.repeats < 3
            or self.threads < 1
        ):
            raise EvaluationError(f"expected batch sizes, warm-up, threads from 1 and repeats from 3, got {self}")


@dataclass(frozen=True)
class Latency:
    """Of one forward pass of one batch."""

    batch_size: int
    median_ms: float
    spread_ms: float  # between the quartiles


def multiply_accumulates(plan: Plan, image_shape: tuple[int, int, int]) -> int:
    """Of one forward pass of one image: convolutions, linear maps and attention. Nothing is computed."""
    with torch.device("meta"):
        network, images = PlannedNetwork(plan).eval(), torch.empty(1, *image_shape)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(images)
    return int(counter.get_total_flops()) // 2


def measure_latency(
    network: nn.Module, image_shape: tuple[int, int, int], device: torch.device, config: LatencyConfig
) -> list[Latency]:
    """For every batch size, on the device where the network is. The number of threads is the process's: measure alone."""
    network.eval()
    clock = _cuda_ms if device.type == "cuda" else _cpu_ms
    found = []
    with _threads(config.threads), torch.inference_mode():
        for batch_size in config.batch_sizes:
            images = torch.zeros(batch_size, *image_shape, device=device)
            for _ in range(config.warm_up):
                network(images)
            spent = sorted(clock(network, images) for _ in range(config.repeats))
            lower, _, upper = statistics.quantiles(spent, n=4)
            found.append(Latency(batch_size, statistics.median(spent), upper - lower))
    return found


def _cpu_ms(network: nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter_ns()
    network(images)
    return (time.perf_counter_ns() - start) / 1e6


def _cuda_ms(network: nn.Module, images: torch.Tensor) -> float:
    begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    torch.cuda.synchronize(images.device)
    begin.record()
    network(images)
    end.record()
    torch.cuda.synchronize(images.device)
    return float(begin.elapsed_time(end))


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
