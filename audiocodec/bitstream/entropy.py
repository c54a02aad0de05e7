"""The entropy model of ``range`` payloads: integer tables for the rate settings of one codec, saved and checked.

What they mean is told in :mod:`referencecoder`, and in normative words in SPEC.md, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from audiocodec.bitstream import native
from audiocodec.bitstream.history import FEATURE_ONE, HISTORY_KINDS, Ints
from audiocodec.bitstream.nativecoder import NativeCoder
from audiocodec.bitstream.rangecoder import TOTAL
from audiocodec.bitstream.referencecoder import ReferenceCoder
from audiocodec.bitstream.symbolcoder import DEEP_SHIFT, SymbolCoder
from audiocodec.errors import ModelError

# Each level keeps one count of 65536, so that a symbol costs at most log2(65536 / (65536 - levels)) bits more than its
# density says: .023 at 1024 levels, .093 at 4096, .415 at 16384, a whole bit at 32768. Beyond this, only raw payloads.
MAX_LEVELS = 16384
_LAYOUT = {
    "levels": (np.uint16, "settings groups"),
    "relative": (np.uint8, "settings groups"),
    "history": (np.int16, "kinds groups hidden"),
    "current": (np.int16, "two groups hidden"),
    "readout": (np.int16, "two groups hidden"),
    "hidden_bias": (np.int32, "settings hidden"),
    "start_bias": (np.int32, "hidden"),
    "output_bias": (np.int32, "settings two groups"),
    "start_output_bias": (np.int32, "two groups"),
    "density": (np.uint16, "cells cells bins"),
}
_DEEP_LAYOUT = {
    "deep_inputs": (np.int16, "kinds groups deep"),
    "deep_bias": (np.int32, "settings deep"),
    "deep_outputs": (np.int16, "deep hidden"),
}
_LIMITS = {
    "settings": 256,
    "groups": 256,
    "hidden": 1024,
    "deep": 1024,
    "cells": 256,
    "bins": 1024,
    "kinds": max(HISTORY_KINDS),
}


@dataclass(frozen=True, eq=False)
class DeepLayer:
    """A layer between the past and the hidden sums, which the first tables were without.

    ``inputs [kinds, groups, deep]``, ``bias [settings, deep]``, ``outputs [deep, hidden]``.
    """

    inputs: npt.NDArray[np.int16]
    bias: npt.NDArray[np.int32]
    outputs: npt.NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class EntropyModel:
    """Integer tables for several rate settings of one codec; the arrays' meaning is in SPEC.md, section 7.

    ``levels`` and ``relative [settings, groups]``, ``history [kinds, groups, hidden]`` (3 or 8 kinds),
    ``current [2, groups, hidden]``,
    ``readout [2, groups, hidden]``, ``hidden_bias [settings, hidden]``, ``start_bias [hidden]``,
    ``output_bias [settings, 2, groups]``, ``start_output_bias [2, groups]``, ``density [cells, cells, bins]``.
    Raises ModelError when they do not fit together.
    """

    levels: npt.NDArray[np.uint16]
    relative: npt.NDArray[np.uint8]
    history: npt.NDArray[np.int16]
    current: npt.NDArray[np.int16]
    readout: npt.NDArray[np.int16]
    hidden_bias: npt.NDArray[np.int32]
    start_bias: npt.NDArray[np.int32]
    output_bias: npt.NDArray[np.int32]
    start_output_bias: npt.NDArray[np.int32]
    density: npt.NDArray[np.uint16]
    deep: DeepLayer | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @cached_property
    def settings(self) -> tuple[tuple[int, ...], ...]:
        """The level counts of every rate setting that the model has tables for."""
        return tuple(tuple(row) for row in self.levels.tolist())

    def for_levels(self, levels: Sequence[int]) -> SymbolCoder | None:
        """The coder of one rate setting, or None when the model was not fitted for it (then only raw is possible)."""
        wanted = tuple(int(count) for count in levels)
        key = wanted, native.extension is None
        if key not in self._coders and wanted in self.settings:
            setting = self.settings.index(wanted)
            # All streams share one, which holds nothing of theirs: what it keeps of the tables stays in the caches.
            self._coders[key] = (
                ReferenceCoder(self, setting)
                if native.extension is None
                else NativeCoder(self, setting, native.extension)
            )
        return self._coders.get(key)

    @cached_property
    def _coders(self) -> dict[tuple[tuple[int, ...], bool], SymbolCoder]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Without coders, which another process makes for itself."""
        return {name: value for name, value in vars(self).items() if name != "_coders"}

    def to_bytes(self) -> bytes:
        """The tables as the bytes of a safetensors file."""
        return save_tensors({name: np.ascontiguousarray(array) for name, array in self._arrays().items()})

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        arrays = {name: getattr(self, name) for name in _LAYOUT}
        if self.deep is not None:
            arrays |= {name: getattr(self.deep, name.removeprefix("deep_")) for name in _DEEP_LAYOUT}
        return arrays

    @classmethod
    def from_bytes(cls, data: bytes) -> EntropyModel:
        """Read :meth:`to_bytes`; raises ModelError when anything is malformed."""
        try:
            arrays = load_tensors(data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"the entropy tables are not a safetensors file: {error}") from error
        if set(arrays) not in (set(_LAYOUT), {*_LAYOUT, *_DEEP_LAYOUT}):
            raise ModelError(
                f"the entropy tables hold {sorted(arrays)} where {sorted(_LAYOUT)} are expected, "
                f"and all of {sorted(_DEEP_LAYOUT)} or none"
            )
        deep = {name.removeprefix("deep_"): arrays.pop(name) for name in _DEEP_LAYOUT if name in arrays}
        return cls(**arrays, deep=DeepLayer(**deep) if deep else None)

    def save(self, path: str | Path) -> None:
        """Write ``entropy.safetensors``."""
        Path(path).write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> EntropyModel:
        """Read ``entropy.safetensors``; raises ModelError when it is missing or malformed."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the entropy tables {path}: {error.strerror or error}") from error
        return cls.from_bytes(data)


def _check_shapes(model: EntropyModel) -> None:
    sizes = {"two": 2}
    for name, array in model._arrays().items():
        dtype, axes = (_LAYOUT | _DEEP_LAYOUT)[name]
        names = axes.split()
        if array.dtype != dtype or array.ndim != len(names):
            raise ModelError(f"entropy table {name} must be {np.dtype(dtype)} with axes [{axes}], "
                             f"found {array.dtype} {array.shape}")  # fmt: skip
        for axis, size in zip(names, array.shape, strict=True):
            if sizes.setdefault(axis, size) != size or not 1 <= size <= _LIMITS.get(axis, 2):
                raise ModelError(f"entropy table {name} has shape {array.shape}: axis {axis} does not fit the others")

    if sizes["kinds"] not in HISTORY_KINDS:
        raise ModelError(f"entropy table history has {sizes['kinds']} kinds of features, not one of {HISTORY_KINDS}")


def _check_values(model: EntropyModel) -> None:
    if model.levels.min() < 1 or model.levels.max() > MAX_LEVELS:
        raise ModelError(f"entropy tables name a level count outside 1 to {MAX_LEVELS}")
    if model.relative.max() > 1:
        raise ModelError("entropy tables mark groups as relative by something else than 0 and 1")
    if (model.density.sum(axis=2, dtype=np.int64) != TOTAL).any():
        raise ModelError(f"an entropy table's density does not sum to {TOTAL}")
    hidden = (_total(model.history) + _total(model.current)) * FEATURE_ONE
    hidden += np.abs(model.start_bias.astype(np.int64)) + _largest(model.hidden_bias, 0)
    if model.deep is not None:
        units = _total(model.deep.inputs) * FEATURE_ONE + _largest(model.deep.bias, 0) >> DEEP_SHIFT
        hidden += units @ np.abs(model.deep.outputs.astype(np.int64))
    # Python integers: the bound itself must not overflow on hostile tables.
    readout = _largest(model.readout, (0, 1)).tolist()
    if sum(a * b for a, b in zip(hidden.tolist(), readout, strict=True)) + (1 << 32) >= 1 << 53:
        raise ModelError("entropy tables have weights too large for exact arithmetic")


def _total(weights: npt.NDArray[np.int16]) -> Ints:
    return np.abs(weights.astype(np.int64)).sum(axis=(0, 1))


def _largest(values: npt.NDArray[np.int16] | npt.NDArray[np.int32], axes: int | tuple[int, int]) -> Ints:
    largest: Ints = np.abs(values.astype(np.int64)).max(axis=axes)
    return largest
