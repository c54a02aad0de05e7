"""The entropy model of ``range`` payloads: what each symbol is likely to be, in integers alone.

A small network with integer weights reads the channel's previous frame, a slow average of its activity, and the
symbols of this frame that are already coded (a neural autoregressive distribution estimator, Larochelle and Murray,
AISTATS 2011, made conditional). For each symbol it names one cell of a two-dimensional table of densities over [0, 1];
the density, cut at the multiples of 1/levels, is the symbol's frequency table. SPEC.md, section 7, is the same in
normative words. Why this shape: tables in the context of neighbouring symbols alone see too little, since the latents
of speech say more about each other's *spread* than about each other's value.

Every sum below is below 2**53 in magnitude (checked when a model is made), so that float64 matrix products, which are
fast, are exact in any order of summation: no machine can disagree about a single bit.
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

from audiocodec.bitstream.rangecoder import PRECISION, TOTAL, RangeDecoder, encode_intervals
from audiocodec.errors import ModelError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MAX_LEVELS = 1024  # beyond this a symbol's frequency table would crowd a 16-bit total: only raw payloads then
FEATURE_ONE = 256  # an index at the edge of [0, 1] has value +-256
SPREAD_MEAN = 85  # of value ** 2 / 256 for a uniform value: 256 / 3
SLOW_SHIFT = 3  # the slow average moves by an eighth of the difference a frame
OUTPUT_SHIFT = 25  # fraction bits of the network's outputs, whose unit is one table cell
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


def symbol_features(levels: Sequence[int]) -> list[Ints]:
    """Value and spread of each index: for each group an array [levels, 2]. A group with one level has zeros."""
    tables = []
    for count in levels:
        value = ((2 * np.arange(count, dtype=np.int64) + 1 - count) * FEATURE_ONE) // count
        spread = (value * value) // FEATURE_ONE - (SPREAD_MEAN if count > 1 else 0)
        tables.append(np.stack([value, spread], axis=1))
    return tables


def spread_average(spread: Ints) -> Ints:
    """Slow average of the spreads [frames, groups] of all frames *before* each; zeros for the first."""
    averages = np.zeros_like(spread)
    # The state keeps SLOW_SHIFT fraction bits, so that it moves even for small differences.
    state = np.zeros(spread.shape[1], dtype=np.int64)
    for frame in range(1, len(spread)):
        state = state + spread[frame - 1] - (state >> SLOW_SHIFT)
        averages[frame] = state >> SLOW_SHIFT
    return averages


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


class SymbolCoder:
    """Codes indices [frames, channels, groups] of one rate setting; holds no state between calls."""

    def __init__(self, model: EntropyModel, setting: int) -> None:
        self.levels: tuple[int, ...] = model.settings[setting]
        self._present = [group for group, count in enumerate(self.levels) if count > 1]
        self._features = symbol_features(self.levels)
        self._relative = model.relative[setting] != 0
        groups, hidden = model.history.shape[1:]
        self._history: Floats = model.history.astype(np.float64).reshape(3 * groups, hidden)
        self._bias: Floats = model.hidden_bias[setting].astype(np.float64)
        self._start: Floats = self._bias + model.start_bias
        self._readout: Floats = model.readout.astype(np.float64).transpose(1, 0, 2).copy()
        self._offset: Floats = model.output_bias[setting].astype(np.float64).T.copy()
        self._start_offset: Floats = self._offset + model.start_output_bias.T
        # What each index of a group adds to the hidden sums: [levels, hidden].
        self._steps: list[Floats] = [
            table.astype(np.float64) @ model.current[:, group].astype(np.float64)
            for group, table in enumerate(self._features)
        ]
        self._cells = int(model.density.shape[0])
        self._density = np.zeros((self._cells**2, model.density.shape[2] + 1), dtype=np.int64)
        np.cumsum(model.density.reshape(self._cells**2, -1), axis=1, out=self._density[:, 1:])
        self._rows: dict[int, dict[int, list[int]]] = {count: {} for count in set(self.levels)}

    def cumulative(self, cell: int, count: int) -> list[int]:
        """The frequency table of one cell cut into ``count`` levels: ``count + 1`` integers from 0 to 65536."""
        row = self._rows[count].get(cell)
        if row is None:
            row = self._rows[count][cell] = _cut(self._density[cell], count)
        return row

    def encode(self, indices: Ints) -> bytes:
        """Code a whole packet. The coder starts afresh in each: the first frame has no history."""
        return encode_intervals(self.intervals(indices))

    def intervals(self, indices: Ints) -> list[tuple[int, int]]:
        """Where each symbol lies in its frequency table, in coding order: (cumulative frequency, frequency)."""
        channels = range(indices.shape[1])
        cells = np.stack([self._packet_cells(indices[:, channel]) for channel in channels], axis=1)
        middle, count = np.array(self.levels) // 2, np.array(self.levels)
        changes = indices.copy()
        changes[1:] = (indices[1:] - indices[:-1] + middle) % count
        coded = np.where(self._relative, changes, indices)
        groups = [(group, self._rows[self.levels[group]], self.levels[group]) for group in self._present]
        width = len(self.levels)
        intervals = []
        flat = zip(coded.reshape(-1, width).tolist(), cells.reshape(-1, width).tolist(), strict=True)
        for symbols, row in flat:
            for group, known, levels in groups:
                table = known.get(row[group]) or self.cumulative(row[group], levels)
                symbol = symbols[group]
                start = table[symbol]
                intervals.append((start, table[symbol + 1] - start))
        return intervals

    def _packet_cells(self, indices: Ints) -> Ints:
        # Cells of one channel's symbols [frames, groups]: all frames at once, since the encoder knows them all.
        frames, groups = indices.shape
        features = np.stack([self._features[g][indices[:, g]] for g in range(groups)], axis=2)  # [frames, 2, groups]
        context = np.zeros((frames, 3 * groups), dtype=np.float64)
        context[1:, : 2 * groups] = features[:-1].reshape(frames - 1, 2 * groups)
        context[:, 2 * groups :] = spread_average(features[:, 1])
        hidden = context @ self._history + self._bias
        hidden[0] = self._start
        cells = np.zeros((frames, groups), dtype=np.int64)
        for group in self._present:
            outputs = np.maximum(hidden, 0.0) @ self._readout[group].T
            outputs[:1] += self._start_offset[group]
            outputs[1:] += self._offset[group]
            at = np.clip(outputs.astype(np.int64) >> OUTPUT_SHIFT, 0, self._cells - 1)
            cells[:, group] = at[:, 0] * self._cells + at[:, 1]
            hidden += self._steps[group][indices[:, group]]
        return cells

    def decode(self, data: bytes, frames: int, channels: int) -> Ints:
        """Undo :meth:`encode`: indices [frames, channels, groups]. Raises BitstreamError when the bytes are no code."""
        decoder = RangeDecoder(data)
        indices = self.read(decoder, frames, channels)
        decoder.finish()
        return indices

    def read(self, decoder: RangeDecoder, frames: int, channels: int) -> Ints:
        """The next frames of a code: indices [frames, channels, groups], the first frame without history."""
        groups = len(self.levels)
        indices = np.zeros((frames, channels, groups), dtype=np.int64)
        slow = np.zeros((channels, groups), dtype=np.int64)
        features = np.zeros((channels, 2, groups), dtype=np.int64)
        hidden, offset = np.repeat(self._start[None], channels, axis=0), self._start_offset
        known = [[count // 2 for count in self.levels] for _ in range(channels)]
        for frame in range(frames):
            if frame:
                slow += features[:, 1] - (slow >> SLOW_SHIFT)
                context = np.concatenate([features.reshape(channels, -1), slow >> SLOW_SHIFT], axis=1)
                hidden, offset = context.astype(np.float64) @ self._history + self._bias, self._offset
            for channel in range(channels):
                symbols = known[channel] = self._decode_row(decoder, hidden[channel], offset, known[channel])
                indices[frame, channel] = symbols
                for group in self._present:
                    features[channel, :, group] = self._features[group][symbols[group]]
        return indices

    def _decode_row(self, decoder: RangeDecoder, hidden: Floats, offset: Floats, before: list[int]) -> list[int]:
        symbols = [0] * len(self.levels)
        top = self._cells - 1
        for group in self._present:
            outputs = np.dot(self._readout[group], np.maximum(hidden, 0.0))
            outputs += offset[group]
            first, second = outputs.tolist()
            first, second = int(first) >> OUTPUT_SHIFT, int(second) >> OUTPUT_SHIFT
            cell = min(max(first, 0), top) * self._cells + min(max(second, 0), top)
            count = self.levels[group]
            symbol = decoder.symbol(self._rows[count].get(cell) or self.cumulative(cell, count))
            if self._relative[group]:
                symbol = (symbol + before[group] - count // 2) % count
            symbols[group] = symbol
            hidden += self._steps[group][symbol]
        return symbols


def _cut(density: Ints, count: int) -> list[int]:
    # The cumulative density at the multiples of 1/count, linear between its points; each level keeps one count at
    # least, so that any index can be coded.
    bins = len(density) - 1
    position = np.arange(count + 1, dtype=np.int64) * bins
    below, rest = position // count, position % count
    above = np.minimum(below + 1, bins)
    cumulative = density[below] + (density[above] - density[below]) * rest // count
    levels = np.arange(count + 1, dtype=np.int64)
    table: list[int] = ((cumulative * (TOTAL - count) >> PRECISION) + levels).tolist()
    return table
