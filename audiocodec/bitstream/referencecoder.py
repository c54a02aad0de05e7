"""The entropy model of ``range`` payloads in Python: what each symbol is likely to be, in integers alone.

A small network with integer weights reads the channel's last two frames, slow averages of those before, and the
symbols of this frame that are already coded (a neural autoregressive distribution estimator, Larochelle and Murray,
AISTATS 2011, made conditional). For each symbol it names one cell of a two-dimensional table of densities over [0, 1];
the density, cut at the multiples of 1/levels, is the symbol's frequency table. SPEC.md, section 7, is the same in
normative words. Why this shape: tables in the context of neighbouring symbols alone see too little, since the latents
of speech say more about each other's *spread* than about each other's value.

Every sum below is below 2**53 in magnitude (checked when a model is made), so that float64 matrix products, which are
fast, are exact in any order of summation: no machine can disagree about a single bit. :mod:`nativecoder` does the same
in C, and is tested against this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from audiocodec.bitstream.frequencies import CutOnDemand, cut, cut_at, cut_rows
from audiocodec.bitstream.history import Floats, History, Ints, packet_history, symbol_features
from audiocodec.bitstream.rangecoder import Cumulative, RangeDecoder
from audiocodec.bitstream.symbolcoder import DEEP_SHIFT, OUTPUT_SHIFT, SymbolCoder

if TYPE_CHECKING:
    from audiocodec.bitstream.entropy import EntropyModel

# Tables of more levels are not kept: a list of 4096 takes 160 kB, and there are 1024 cells or more.
LISTED_LEVELS = 1024
_CUT_AT_ONCE = 64  # levels of which the tables of all cells are made together: a megabyte for 4096 cells


class ReferenceCoder(SymbolCoder):
    """Holds tables and lists that make Python faster, of the cells that were met so far."""

    def __init__(self, model: EntropyModel, setting: int) -> None:
        self.levels: tuple[int, ...] = model.settings[setting]
        self._counts: Ints = np.array(self.levels, dtype=np.int64)
        self._present: Ints = np.flatnonzero(self._counts > 1)
        tables = symbol_features(self.levels)
        self._feature_table = np.zeros((len(self.levels), max(self.levels), 2), dtype=np.int16)
        for group, table in enumerate(tables):
            self._feature_table[group, : len(table)] = table
        self._relative = model.relative[setting] != 0
        self._take_network(model, setting)
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
        self._cuts: dict[int, Ints] = {}
        places = {count: rows.tolist() for count, rows in self._step_rows.items()}
        self._plan = [
            (group, count, self._rows[count], list(self._steps[group]), places[count], bool(self._relative[group]))
            for group, count in enumerate(self.levels)
            if count > 1
        ]

    def _take_network(self, model: EntropyModel, setting: int) -> None:
        # Shifts to the right are powers of two in the weights, which are exact, and roundings down.
        self._kinds, _, hidden = model.history.shape
        # One more hidden unit is always 1: the outputs' biases are its weights, which saves an addition per symbol.
        inputs: list[Floats] = [np.pad(model.history.astype(np.float64), ((0, 0), (0, 0), (0, 1)))]
        biases: list[Floats] = [model.hidden_bias[setting].astype(np.float64), np.ones(1)]
        self._deep_out: Floats = np.zeros((0, hidden + 1))
        if model.deep is not None:
            inputs.append(model.deep.inputs.astype(np.float64) * 2.0**-DEEP_SHIFT)
            biases.append(model.deep.bias[setting].astype(np.float64) * 2.0**-DEEP_SHIFT)
            self._deep_out = np.pad(model.deep.outputs.astype(np.float64), ((0, 0), (0, 1)))
        # The history of groups with one level is 0, and left out.
        weights = np.concatenate(inputs, axis=2)[:, self._present]
        self._inputs: Floats = weights.reshape(-1, weights.shape[2])
        self._bias: Floats = np.concatenate(biases)
        self._start: Floats = np.append(model.start_bias.astype(np.float64), 0.0)
        self._start += self._sums(np.zeros((1, len(self._inputs))))[0]
        readout = model.readout.astype(np.float64).transpose(1, 0, 2)
        offset = model.output_bias[setting].astype(np.float64).T[..., None]
        weights = np.concatenate([readout, offset], axis=2) * 2.0**-OUTPUT_SHIFT
        self._readout: Floats = np.ascontiguousarray(weights)  # [groups, 2, hidden + 1]
        self._start_readout: Floats = self._readout.copy()
        self._start_readout[..., -1] += model.start_output_bias.T.astype(np.float64) * 2.0**-OUTPUT_SHIFT

    def _sums(self, context: Floats) -> Floats:
        """The hidden sums [n, hidden + 1] that frames begin with, from what is known of their past [n, inputs]."""
        sums = context @ self._inputs + self._bias
        if not len(self._deep_out):
            return sums
        hidden = self._deep_out.shape[1]
        deep = np.maximum(sums[:, hidden:], 0.0)
        return sums[:, :hidden] + np.floor(deep, out=deep) @ self._deep_out

    def cumulative(self, cell: int, count: int) -> Cumulative:
        """The frequency table of one cell cut into ``count`` levels: ``count + 1`` integers from 0 to 65536."""
        if count > LISTED_LEVELS:
            return CutOnDemand(self._density[cell], count)
        row = self._rows[count].get(cell)
        if row is None:
            row = self._rows[count][cell] = (
                self._cut_all(count)[cell].tolist() if count <= _CUT_AT_ONCE else cut(self._density[cell], count)
            )
        return row

    def _cut_all(self, count: int) -> Ints:
        # Of all cells at once: thirty of them by themselves take as long.
        if count not in self._cuts:
            self._cuts[count] = cut_rows(self._density, count).astype(np.int32)
        return self._cuts[count]

    def intervals(self, indices: Ints) -> Ints:
        """Where each symbol lies in its frequency table: see :meth:`SymbolCoder.intervals`."""
        if not indices.size:
            return np.zeros((0, 2), np.int64)
        present, count = self._present, self._counts
        channels = range(indices.shape[1])
        cells = np.stack([self._packet_cells(indices[:, channel]) for channel in channels], axis=1)
        changes = indices.copy()
        changes[1:] = (indices[1:] - indices[:-1] + count // 2) % count
        coded = np.where(self._relative, changes, indices)[..., present]
        low, high = (cut_at(self._density, cells, level, count[present]) for level in (coded, coded + 1))
        return np.stack([low, high - low], axis=-1).reshape(-1, 2)

    def _packet_cells(self, indices: Ints) -> Ints:
        # Cells of the present groups' symbols [frames, present], of one channel's indices [frames, groups]: all frames
        # at once, since the encoder knows them all.
        frames, present = len(indices), self._present
        features = self._feature_table[present, indices[:, present]].astype(np.int64).transpose(0, 2, 1)
        context = packet_history(features, self._kinds).reshape(frames, -1).astype(np.float64)
        hidden = self._sums(context)
        hidden[0] = self._start
        cells = np.zeros((frames, len(present)), dtype=np.int64)
        for place, group in enumerate(present.tolist()):
            active = np.maximum(hidden, 0.0)
            outputs = active @ self._readout[group].T
            outputs[0] = self._start_readout[group] @ active[0]
            at = np.clip(outputs, 0, self._cells - 1).astype(np.int64)
            cells[:, place] = at[:, 0] * self._cells + at[:, 1]
            hidden += self._steps[group][self._step_rows[self.levels[group]][indices[:, group]]]
        return cells

    def read(self, decoder: RangeDecoder, frames: int, channels: int) -> Ints:
        """The next frames of a code: see :meth:`SymbolCoder.read`."""
        present = self._present
        indices = np.zeros((frames, channels, len(self.levels)), dtype=np.int64)
        if not indices.size:
            return indices
        history = History(channels, len(present), self._kinds)
        hidden, readout = np.repeat(self._start[None], channels, axis=0), list(self._start_readout)
        later = list(self._readout)
        known = [(self._counts // 2).tolist() for _ in range(channels)]
        for frame in range(frames):
            if frame:
                features = self._feature_table[present, indices[frame - 1][:, present]]
                hidden, readout = self._sums(history.after(features.transpose(0, 2, 1))), later
            for channel in range(channels):
                known[channel] = self._decode_row(decoder, hidden[channel], readout, known[channel])
                indices[frame, channel] = known[channel]
        return indices

    def _decode_row(self, decoder: RangeDecoder, hidden: Floats, readout: list[Floats], before: list[int]) -> list[int]:
        # The one loop that nothing can vectorise: each symbol's table depends on the symbol before it. Results
        # in arrays that are there already, and lists of arrays, make it a tenth faster.
        symbols = [0] * len(self.levels)
        cells, top, maximum, read_symbol = self._cells, self._cells - 1, np.maximum, decoder.symbol
        active, outputs = np.empty_like(hidden), np.empty(2)
        for group, count, known, steps, places, relative in self._plan:
            maximum(hidden, 0.0, out=active)
            readout[group].dot(active, outputs)
            first, second = outputs.tolist()
            # Truncation is a shift but for what is negative, and goes to cell 0 either way.
            first = 0 if first < 0.0 else top if first > top else int(first)
            cell = first * cells + (0 if second < 0.0 else top if second > top else int(second))
            symbol = read_symbol(known.get(cell) or self.cumulative(cell, count))
            if relative:
                symbol = (symbol + before[group] - count // 2) % count
            symbols[group] = symbol
            hidden += steps[places[symbol]]
        return symbols
