"""A PyTorch module as an architecture, on the side of whoever has the module: nothing is saved or sent but the graph.

`torch.export` traces the module on example inputs; where it cannot, `make_fx` tries. Both follow no path that depends on data:
a module with such a path is refused. Nothing is computed, whatever the module's size: tensors have shapes and no contents.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from predictor.architecture import Architecture
from predictor.errors import FormatError
from predictor.formats.assembly import assembled
from predictor.formats.torch_operators import operators_of

ExampleInputs = Tensor | Sequence[object] | Mapping[str, object]


def architecture_from_module(module: nn.Module, example_inputs: ExampleInputs) -> Architecture:
    """The network that the module is in evaluation mode; `example_inputs` are a tensor, a sequence of arguments or a mapping
    of keyword arguments. Training mode and parameters are left as they were.

    Raises:
        FormatError: if it cannot be traced, such as where its path depends on the data.
    """
    if not isinstance(module, nn.Module):
        raise FormatError(f"expected a torch.nn.Module, got {type(module).__name__}")
    args, kwargs = _arguments(example_inputs)
    with _evaluated(module), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about things that only matter to who runs the graph
        graph, inputs = _traced(module, args, kwargs)
    return assembled(operators_of(graph, inputs))


def _arguments(example_inputs: ExampleInputs) -> tuple[tuple[object, ...], dict[str, object]]:
    match example_inputs:
        case Tensor():
            return (example_inputs,), {}
        case Mapping():
            return (), dict(example_inputs)
        case list() | tuple():
            return tuple(example_inputs), {}
    raise FormatError(
        f"expected example inputs as a tensor, a sequence or a mapping of them, got {type(example_inputs).__name__}"
    )


@contextmanager
def _evaluated(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, in which dropout does nothing, and each part's own mode afterwards."""
    modes = [(one, one.training) for one in module.modules()]
    fast_path = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)  # it would hide whole transformer layers in one operator
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for one, mode in modes:
            one.training = mode


def _traced(
    module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[fx.Graph, frozenset[str] | None]:
    """The graph, and the names of its inputs that are the user's; None: all of them."""
    try:
        program = torch.export.export(module, args, kwargs)
    except Exception as error:  # the exporter raises whatever the module's own code does, and much of its own
        if _depends_on_data(error):
            raise _refused(module, error) from error
        return _traced_by_fx(module, args, kwargs, error)
    return program.graph, frozenset(program.graph_signature.user_inputs)


def _traced_by_fx(
    module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], first_error: Exception
) -> tuple[fx.Graph, frozenset[str] | None]:
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            names, fakes = list(kwargs), [_faked(mode, one) for one in (*args, *kwargs.values())]
            count = len(args)

            def call(*given: object) -> object:
                return module(*given[:count], **dict(zip(names, given[count:], strict=True)))

            return make_fx(call, pre_dispatch=True)(*fakes).graph, None
    except Exception as error:
        if _depends_on_data(error):
            raise _refused(module, error) from error
        raise _refused(module, first_error) from first_error


def _faked(mode: FakeTensorMode, value: object) -> object:
    return mode.from_tensor(value) if isinstance(value, Tensor) else value


_ABOUT_DATA = ("DataDependent", "GuardOnDataDependent", "UserError", "Unbacked")


def _depends_on_data(error: BaseException) -> bool:
    names = [type(one).__name__ for one in _causes(error)]
    return any(name.startswith(_ABOUT_DATA[:2]) for name in names) or "data-dependent" in str(error).lower()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _refused(module: nn.Module, error: Exception) -> FormatError:
    name = type(module).__name__
    reason = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:300]}"
    if _depends_on_data(error):
        return FormatError(f"expected a module whose path does not depend on its data, got {name} with one ({reason})")
    return FormatError(f"expected a module that can be traced on its example inputs, got {name} with {reason}")
