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
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.rangecoder import PRECISION, TOTAL, Cumulative, RangeDecoder, encode_intervals

if TYPE_CHECKING:
    from audiocodec.bitstream.entropy import EntropyModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEATURE_ONE = 256  # an index at the edge of [0, 1] has value +-256
SPREAD_MEAN = 85  # of value ** 2 / 256 for a uniform value: 256 / 3
SLOW_SHIFT = 3  # the slow average moves by an eighth of the difference a frame
OUTPUT_SHIFT = 25  # fraction bits of the network's outputs, whose unit is one table cell
# Tables of more levels are not kept: a list of 4096 takes 160 kB, and there are 1024 cells or more.
LISTED_LEVELS = 1024


def symbol_features(levels: Sequence[int]) -> list[Ints]:
    """Value and spread of each index: for each group an array [levels, 2]. A group with one level has zeros.

    Groups of equally many levels share one array.
    """
    tables = {}
    for count in set(levels):
        value = ((2 * np.arange(count, dtype=np.int64) + 1 - count) * FEATURE_ONE) // count
        spread = (value * value) // FEATURE_ONE - (SPREAD_MEAN if count > 1 else 0)
        tables[count] = np.stack([value, spread], axis=1)
    return [tables[count] for count in levels]


def spread_average(spread: Ints) -> Ints:
    """Slow average of the spreads [frames, groups] of all frames *before* each; zeros for the first."""
    averages = np.zeros(spread.shape, dtype=np.int64)
    # The state keeps SLOW_SHIFT fraction bits, so that it moves even for small differences.
    state = np.zeros(spread.shape[1], dtype=np.int64)
    for frame in range(1, len(spread)):
        state = state + spread[frame - 1] - (state >> SLOW_SHIFT)
        averages[frame] = state >> SLOW_SHIFT
    return averages


class SymbolCoder:
    """Codes indices [frames, channels, groups] of one rate setting; holds no state between calls."""

    def __init__(self, model: EntropyModel, setting: int) -> None:
        self.levels: tuple[int, ...] = model.settings[setting]
        self._present = [group for group, count in enumerate(self.levels) if count > 1]
        tables = symbol_features(self.levels)
        self._feature_table = np.zeros((len(self.levels), max(self.levels), 2), dtype=np.int16)
        for group, table in enumerate(tables):
            self._feature_table[group, : len(table)] = table
        self._relative = model.relative[setting] != 0
        groups, hidden = model.history.shape[1:]
        # One more hidden unit is always 1: the outputs' biases are its weights, which saves an addition per symbol.
        history = model.history.astype(np.float64).reshape(3 * groups, hidden)
        self._history: Floats = np.pad(history, ((0, 0), (0, 1)))
        self._bias: Floats = np.append(model.hidden_bias[setting].astype(np.float64), 1.0)
        self._start: Floats = self._bias + np.append(model.start_bias, 0)
        readout = model.readout.astype(np.float64).transpose(1, 0, 2)
        offset = model.output_bias[setting].astype(np.float64).T[..., None]
        self._readout: Floats = np.concatenate([readout, offset], axis=2)  # [groups, 2, hidden + 1]
        self._start_readout: Floats = self._readout.copy()
        self._start_readout[..., -1] += model.start_output_bias.T
        # What an index adds to a group's hidden sums: [features, hidden + 1]. There are 513 different values at most,
        # and the spread follows from the value, so that large alphabets share rows.
        distinct = {
            count: np.unique(table[:, 0], return_index=True, return_inverse=True)[1:]
            for count, table in zip(self.levels, tables, strict=True)
        }
        self._step_rows: dict[int, Ints] = {count: rows for count, (_, rows) in distinct.items()}
        self._steps: list[Floats] = [
            np.pad(
                table[distinct[count][0]].astype(np.float64) @ model.current[:, group].astype(np.float64),
                ((0, 0), (0, 1)),
            )
            for group, (count, table) in enumerate(zip(self.levels, tables, strict=True))
        ]
        self._cells = int(model.density.shape[0])
        self._density = np.zeros((self._cells**2, model.density.shape[2] + 1), dtype=np.int64)
        np.cumsum(model.density.reshape(self._cells**2, -1), axis=1, out=self._density[:, 1:])
        self._rows: dict[int, dict[int, list[int]]] = {count: {} for count in set(self.levels)}
        places = {count: rows.tolist() for count, rows in self._step_rows.items()}
        self._plan = [
            (group, count, self._rows[count], list(self._steps[group]), places[count], self._relative[group])
            for group, count in enumerate(self.levels)
            if count > 1
        ]

    def cumulative(self, cell: int, count: int) -> Cumulative:
        """The frequency table of one cell cut into ``count`` levels: ``count + 1`` integers from 0 to 65536."""
        if count > LISTED_LEVELS:
            return CutOnDemand(self._density[cell], count)
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
        features = self._feature_table[np.arange(groups), indices].transpose(0, 2, 1)  # [frames, 2, groups]
        context = np.zeros((frames, 3 * groups), dtype=np.float64)
        context[1:, : 2 * groups] = features[:-1].reshape(frames - 1, 2 * groups)
        context[:, 2 * groups :] = spread_average(features[:, 1])
        hidden = context @ self._history + self._bias
        hidden[0] = self._start
        cells = np.zeros((frames, groups), dtype=np.int64)
        for group in self._present:
            active = np.maximum(hidden, 0.0)
            outputs = active @ self._readout[group].T
            outputs[0] = self._start_readout[group] @ active[0]
            at = np.clip(outputs.astype(np.int64) >> OUTPUT_SHIFT, 0, self._cells - 1)
            cells[:, group] = at[:, 0] * self._cells + at[:, 1]
            hidden += self._steps[group][self._step_rows[self.levels[group]][indices[:, group]]]
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
        groups_range = np.arange(groups)
        indices = np.zeros((frames, channels, groups), dtype=np.int64)
        slow = np.zeros((channels, groups), dtype=np.int64)
        features = np.zeros((channels, 2, groups), dtype=np.int64)
        hidden, readout = np.repeat(self._start[None], channels, axis=0), self._start_readout
        known = [[count // 2 for count in self.levels] for _ in range(channels)]
        for frame in range(frames):
            if frame:
                slow += features[:, 1] - (slow >> SLOW_SHIFT)
                context = np.concatenate([features.reshape(channels, -1), slow >> SLOW_SHIFT], axis=1)
                hidden, readout = context.astype(np.float64) @ self._history + self._bias, self._readout
            for channel in range(channels):
                symbols = known[channel] = self._decode_row(decoder, hidden[channel], readout, known[channel])
                indices[frame, channel] = symbols
                features[channel] = self._feature_table[groups_range, symbols].T
        return indices

    def _decode_row(self, decoder: RangeDecoder, hidden: Floats, readout: Floats, before: list[int]) -> list[int]:
        # The one loop that nothing can vectorise: each symbol's table depends on the symbol before it.
        symbols = [0] * len(self.levels)
        cells, top, active = self._cells, self._cells - 1, np.empty_like(hidden)
        for group, count, known, steps, places, relative in self._plan:
            np.maximum(hidden, 0.0, out=active)
            first, second = readout[group].dot(active).tolist()
            first, second = int(first) >> OUTPUT_SHIFT, int(second) >> OUTPUT_SHIFT
            first = 0 if first < 0 else top if first > top else first
            cell = first * cells + (0 if second < 0 else top if second > top else second)
            symbol = decoder.symbol(known.get(cell) or self.cumulative(cell, count))
            if relative:
                symbol = (symbol + before[group] - count // 2) % count
            symbols[group] = symbol
            hidden += steps[places[symbol]]
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


class CutOnDemand:
    """The integers of :func:`_cut`, each worked out when it is asked for: memory does not grow with the levels."""

    __slots__ = ("_bins", "_count", "_density", "_scale")

    def __init__(self, density: Ints, count: int) -> None:
        self._density: memoryview[int] = density.data  # gives Python integers, several times faster than the array
        self._bins = len(density) - 1
        self._count = count
        self._scale = TOTAL - count

    def __len__(self) -> int:
        return self._count + 1

    def __getitem__(self, level: int) -> int:
        if not 0 <= level <= self._count:
            raise IndexError(level)
        position = level * self._bins
        below, rest = position // self._count, position % self._count
        value = self._density[below]
        if rest:  # never at the last level, which has no point above it
            value += (self._density[below + 1] - value) * rest // self._count
        return (value * self._scale >> PRECISION) + level
