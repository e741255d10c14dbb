"""The inner loop of MAML with learn2learn: the reference that meta-training runs and that serving is held to.

Importing learn2learn takes seconds and imports torchvision, whose compiled operators belong to one build of torch; beside
another (a CPU-only torch, say) that import stops at a missing operator schema. `_allow_torchvision_import` supplies the
schemas that are missing and does nothing where torchvision works; only meta-training imports this module.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor

from predictor.meta.inner_loop import adaptation_loss
from predictor.surrogate.surrogate import Surrogate, SurrogateInputs

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def _allow_torchvision_import() -> torch.library.Library | None:
    """Defines the operators whose schemas torchvision looks up while it is imported, where its own library cannot load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for compiled in sorted(Path(spec.origin).parent.glob("_C*.so")):
        with contextlib.suppress(OSError):
            torch.ops.load_library(compiled)  # type: ignore[no-untyped-call]
    missing = [schema for name, schema in _SCHEMAS.items() if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in missing:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


_torchvision_schemas = _allow_torchvision_import()  # kept: the operators live as long as the library object

with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice on import
    warnings.simplefilter("ignore")
    from learn2learn.algorithms import MAML
    from learn2learn.algorithms.maml import maml_update


def adapted_surrogate(
    surrogate: Surrogate,
    log_step_sizes: Tensor,  # (K, P)
    support: SurrogateInputs,
    targets: Tensor,  # (S,)
    weights: Tensor,  # (S,)
    ranking_weight: float,
) -> torch.nn.Module:
    """A clone of the surrogate after K second-order MAML steps; gradients flow back to the surrogate and the step sizes.

    `MAML.adapt` takes one step size for all tensors; with learned ones each gradient is scaled before learn2learn's update.
    """
    learner = MAML(surrogate, lr=1.0, first_order=False, allow_unused=True).clone()
    for step_sizes in log_step_sizes.exp():
        mean, log_std, _ = learner(*support.tensors())
        loss = adaptation_loss(mean, log_std, targets, weights, ranking_weight)
        gradients = torch.autograd.grad(loss, list(learner.module.parameters()), create_graph=True)
        scaled = [step_size * gradient for step_size, gradient in zip(step_sizes, gradients, strict=True)]
        learner.module = maml_update(learner.module, lr=1.0, grads=scaled)
    return learner  # type: ignore[no-any-return]
