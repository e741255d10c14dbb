"""The one place where the name of a search space is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from predictor.errors import UnknownSearchSpaceError
from predictor.search_spaces.autoformer import AutoFormer
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.darts import Darts
from predictor.search_spaces.declared import DeclaredSpace
from predictor.search_spaces.fbnet import FBNet
from predictor.search_spaces.graph import GraphSpace
from predictor.search_spaces.mnasnet import MnasNet
from predictor.search_spaces.nasbench101 import NASBench101
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.search_spaces.nasbench_graph import NASBenchGraph
from predictor.search_spaces.nasbench_macro import NASBenchMacro
from predictor.search_spaces.ofa_mobilenetv3 import OFAMobileNetV3
from predictor.search_spaces.transnas_micro import TransNASMicro


@cache
def built_in_search_spaces() -> Mapping[str, SearchSpace]:
    """The search spaces that come with the library, by name. The instances are shared."""
    spaces: tuple[SearchSpace, ...] = (
        NASBench101(),
        NASBench201(),
        Darts(),
        TransNASMicro(),
        NASBenchMacro(),
        FBNet(),
        OFAMobileNetV3(),
        MnasNet(),
        NASBenchGraph(),
        AutoFormer(),
        GraphSpace(),
    )
    return MappingProxyType({space.name: space for space in spaces})


def search_space(name: str) -> SearchSpace:
    """The built-in search space of that name.

    Raises:
        UnknownSearchSpaceError: if there is none.
    """
    spaces = built_in_search_spaces()
    if name not in spaces:
        raise UnknownSearchSpaceError(f"expected one of {', '.join(spaces)}, got {name!r}")
    return spaces[name]


def declared_search_space(name: str, definition: Mapping[str, object]) -> SearchSpace:
    """The search space that a user's document declares.

    Raises:
        InvalidDefinitionError: if the document is wrong.
    """
    return DeclaredSpace(name, definition)
