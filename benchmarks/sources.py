"""Whether stored results are those of the code at hand: a digest of what bears on them.

It follows imports, so that nobody keeps a list. Comments, docstrings and types change nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

from common import REPOSITORY

PACKAGE = "audiocodec"


def digest(modules: Iterable[str], besides: Iterable[Path] = (), without: Collection[str] = ()) -> str:
    """Of ``files`` and of those ``besides``, which count without what they import."""
    whole = hashlib.sha256()
    for path in sorted({*files(modules, without), *besides}):
        content = read(path)[0] if path.suffix == ".py" else hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.name} {content}\n".encode())
    return whole.hexdigest()[:16]


def files(modules: Iterable[str], without: Collection[str] = ()) -> set[Path]:
    """Of modules of the package and all that they import, lazily or not; and sources in C beside them.

    Args:
        modules: by their full names.
        without: modules that are neither taken nor followed; of a package, neither are those in it.
    """
    found: dict[str, Path] = {}
    left = list(modules)
    while left:
        name = left.pop()
        path = _file(name)
        if name in found or path is None or any(f"{name}.".startswith(f"{one}.") for one in without):
            continue
        found[name] = path
        left += [name.rpartition(".")[0], *read(path)[1]]
    return {*found.values(), *_compiled(found.values())}


def _compiled(paths: Iterable[Path]) -> Iterator[Path]:
    """Sources in C beside those in Python."""
    for folder in {path.parent for path in paths}:
        yield from folder.glob("*.[ch]")


def _file(module: str) -> Path | None:
    """Of the package; its own ``__init__``, which says where names are and loads nothing, is left out."""
    if not module.startswith(f"{PACKAGE}."):
        return None
    place = REPOSITORY.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


@cache
def read(path: Path) -> tuple[str, list[str]]:
    """What a source does, and the modules that it may import (some of these names are no modules)."""
    tree = _Bare().visit(ast.parse(path.read_text(encoding="utf-8")))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), names


class _Bare(ast.NodeTransformer):
    """Without docstrings, and without what is imported for types alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else self.generic_visit(node)
