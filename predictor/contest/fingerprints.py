"""What a contestant's results depend on, as short text: when it changes they are computed anew.

Code counts by its syntax tree without docstrings, so that comments and formatting cost nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_LENGTH = 12


def digest(*parts: str) -> str:
    """12 hexadecimal digits of these texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_LENGTH]


@cache
def code_digest(module: str, within: tuple[str, ...]) -> str:
    """12 hexadecimal digits of a module's code and of what it imports, directly or not, from modules that start so."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        tree = _tree(name)
        if tree is None:
            continue
        found[name] = ast.dump(tree)
        waiting += [one for one in _imported(tree) if one.startswith(within)]
    return digest(*(f"{name} {found[name]}" for name in sorted(found)))


def _tree(module: str) -> ast.Module | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the name of a class, not of a module
        return None
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse(Path(spec.origin).read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_docstring(one)]  # type: ignore[attr-defined]
    return tree


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
