"""The entropy model of ``range`` payloads in C: :mod:`referencecoder`, whole packets at a call."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.history import Ints
from audiocodec.bitstream.rangecoder import OUTSIDE, RangeDecoder
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import BitstreamError

if TYPE_CHECKING:
    from audiocodec.bitstream.entropy import EntropyModel


class NativeCoder(SymbolCoder):
    """Reads the model's own tensors and makes no tables, since one is made for every file, however short."""

    def __init__(self, model: EntropyModel, setting: int, extension: ModuleType) -> None:
        self.levels: tuple[int, ...] = tuple(model.levels[setting].tolist())
        self._present = sum(count > 1 for count in self.levels)
        deep = model.deep
        tables = (
            model.levels[setting],
            model.relative[setting],
            model.history,
            model.current,
            model.readout,
            model.hidden_bias[setting],
            model.start_bias,
            model.output_bias[setting],
            model.start_output_bias,
            model.density,
            *((None,) * 3 if deep is None else (deep.inputs, deep.bias[setting], deep.outputs)),
        )
        self._coder = extension.Coder(*(None if table is None else _plain(table) for table in tables))

    def intervals(self, indices: Ints) -> Ints:
        """Where each symbol lies in its frequency table: see :meth:`SymbolCoder.intervals`."""
        frames, channels, _ = indices.shape
        pairs = np.empty((frames * channels, self._present, 2), np.int64)
        self._coder.intervals(np.ascontiguousarray(indices, np.int64), pairs)
        return pairs.reshape(-1, 2)

    def read(self, decoder: RangeDecoder, frames: int, channels: int) -> Ints:
        """The next frames of a code: see :meth:`SymbolCoder.read`."""
        indices = np.empty((frames, channels, len(self.levels)), np.int64)
        state = self._coder.read(*decoder.state, indices)
        if state is None:
            raise BitstreamError(OUTSIDE)
        decoder.resume(*state)
        return indices


def _plain(table: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.require(table, requirements=["C", "A"])
