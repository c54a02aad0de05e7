"""Importing the packages that measures come from: whatever is wrong with one, the message names the remedy."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from types import ModuleType

from audiocodec.errors import MissingExtraError

# package -> what it imports and no measure here ever calls. torchaudio's wheels on PyPI do not load beside a CPU
# build of torch (distillmos reads files with it; arrays come in here), and webrtcvad 2.0.10 asks for pkg_resources,
# which setuptools dropped (resemblyzer trims silence with it, which would take different parts off the two signals).
NEVER_CALLED: dict[str, tuple[str, ...]] = {"distillmos": ("torchaudio",), "resemblyzer": ("webrtcvad",)}


# What a package is called where it is installed from, unless it is the same.
_DISTRIBUTIONS = {"visqol": "visqol-python"}


@lru_cache
def versions(modules: tuple[str, ...]) -> str:
    """``speechmos 0.0.1.1, ...``: names and versions of the packages that modules are in."""
    found = []
    for package in dict.fromkeys(name.partition(".")[0] for name in modules):
        name = _DISTRIBUTIONS.get(package, package)
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} of unknown version")
    return ", ".join(found)


def extra(name: str) -> ModuleType:
    """Import a package of the ``eval`` extra, without its warnings. Raises MissingExtraError with the remedy."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _stand_ins(NEVER_CALLED.get(name.partition(".")[0], ())):
                return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: a shared library of the package's does not load
        raise MissingExtraError(f"{name} does not import ({error}); run: pip install 'audiocodec[eval]'") from error


@contextmanager
def _stand_ins(names: tuple[str, ...]) -> Iterator[None]:
    """Empty modules in the place of those of ``names`` that do not import, for as long as the block runs."""
    placed = []
    for name in names:
        try:
            importlib.import_module(name)
        except (ImportError, OSError):
            sys.modules[name] = ModuleType(name, "A stand-in: this package does not import here.")
            placed.append(name)
    try:
        yield
    finally:
        for name in placed:
            del sys.modules[name]


@contextmanager
def seeded_numpy(seed: int = 0) -> Iterator[None]:
    """Numpy's global generator at ``seed`` for packages that draw from it, and put back after."""
    import numpy as np

    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
