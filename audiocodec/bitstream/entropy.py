"""The entropy model of ``range`` payloads: integer tables for the rate settings of one codec, saved and checked.

What they mean is told in :mod:`symbolcoder`, and in normative words in SPEC.md, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from audiocodec.bitstream.rangecoder import TOTAL
from audiocodec.bitstream.symbolcoder import FEATURE_ONE, SymbolCoder
from audiocodec.errors import ModelError

# Each level keeps one count of 65536, so that a symbol costs at most log2(65536 / (65536 - levels)) bits more than its
# density says: .023 at 1024 levels, .093 at 4096, .415 at 16384, a whole bit at 32768. Beyond this, only raw payloads.
MAX_LEVELS = 16384
_LAYOUT = {
    "levels": (np.uint16, "settings groups"),
    "relative": (np.uint8, "settings groups"),
    "history": (np.int16, "three groups hidden"),
    "current": (np.int16, "two groups hidden"),
    "readout": (np.int16, "two groups hidden"),
    "hidden_bias": (np.int32, "settings hidden"),
    "start_bias": (np.int32, "hidden"),
    "output_bias": (np.int32, "settings two groups"),
    "start_output_bias": (np.int32, "two groups"),
    "density": (np.uint16, "cells cells bins"),
}
_LIMITS = {"settings": 256, "groups": 256, "hidden": 1024, "cells": 256, "bins": 1024}


@dataclass(frozen=True, eq=False)
class EntropyModel:
    """Integer tables for several rate settings of one codec; the arrays' meaning is in SPEC.md, section 7.

    ``levels`` and ``relative [settings, groups]``, ``history [3, groups, hidden]``, ``current [2, groups, hidden]``,
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

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_values(self)

    @property
    def settings(self) -> tuple[tuple[int, ...], ...]:
        """The level counts of every rate setting that the model has tables for."""
        return tuple(tuple(row) for row in self.levels.tolist())

    def for_levels(self, levels: Sequence[int]) -> SymbolCoder | None:
        """The coder of one rate setting, or None when the model was not fitted for it (then only raw is possible)."""
        wanted = tuple(int(count) for count in levels)
        if wanted not in self.settings:
            return None
        return SymbolCoder(self, self.settings.index(wanted))

    def to_bytes(self) -> bytes:
        """The tables as the bytes of a safetensors file."""
        return save_tensors({name: np.ascontiguousarray(getattr(self, name)) for name in _LAYOUT})

    @classmethod
    def from_bytes(cls, data: bytes) -> EntropyModel:
        """Read :meth:`to_bytes`; raises ModelError when anything is malformed."""
        try:
            arrays = load_tensors(data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"the entropy tables are not a safetensors file: {error}") from error
        if set(arrays) != set(_LAYOUT):
            raise ModelError(f"the entropy tables hold {sorted(arrays)} where {sorted(_LAYOUT)} are expected")
        return cls(**arrays)

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
    sizes = {"two": 2, "three": 3}
    for name, (dtype, axes) in _LAYOUT.items():
        array = getattr(model, name)
        names = axes.split()
        if array.dtype != dtype or array.ndim != len(names):
            raise ModelError(f"entropy table {name} must be {np.dtype(dtype)} with axes [{axes}], "
                             f"found {array.dtype} {array.shape}")  # fmt: skip
        for axis, size in zip(names, array.shape, strict=True):
            if sizes.setdefault(axis, size) != size or not 1 <= size <= _LIMITS.get(axis, 3):
                raise ModelError(f"entropy table {name} has shape {array.shape}: axis {axis} does not fit the others")


def _check_values(model: EntropyModel) -> None:
    if model.levels.min() < 1 or model.levels.max() > MAX_LEVELS:
        raise ModelError(f"entropy tables name a level count outside 1 to {MAX_LEVELS}")
    if model.relative.max() > 1:
        raise ModelError("entropy tables mark groups as relative by something else than 0 and 1")
    if (model.density.sum(axis=2, dtype=np.int64) != TOTAL).any():
        raise ModelError(f"an entropy table's density does not sum to {TOTAL}")
    weights = np.abs(model.history.astype(np.int64)).sum(axis=(0, 1))
    weights += np.abs(model.current.astype(np.int64)).sum(axis=(0, 1))
    hidden = weights * FEATURE_ONE + np.abs(model.start_bias.astype(np.int64))
    hidden += np.abs(model.hidden_bias.astype(np.int64)).max(axis=0)
    # Python integers: the bound itself must not overflow on hostile tables.
    readout = np.abs(model.readout.astype(np.int64)).max(axis=(0, 1)).tolist()
    if sum(a * b for a, b in zip(hidden.tolist(), readout, strict=True)) + (1 << 32) >= 1 << 53:
        raise ModelError("entropy tables have weights too large for exact arithmetic")
