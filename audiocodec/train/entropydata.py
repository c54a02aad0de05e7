"""Tokens as the entropy network is fitted to them: cut at random into packets, with what it knows of the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from audiocodec.bitstream.history import HISTORY_KINDS, SLOW_SHIFT, SLOWER_SHIFT, Ints, symbol_features
from audiocodec.errors import DataError
from audiocodec.train.entropynet import Alphabets, Batch

KINDS = HISTORY_KINDS[-1]
SCALE = 128.0  # features in training are the integers over this: about unit variance
# Found with speech tokens: the change of a pitch (64 levels) is 2.4 bits more certain than its value, and coding it
# saves 0.9 bits a frame over coding the value in context; for envelopes (1.5 bits) the value in context is as good.
RELATIVE_LEVELS = 16
RELATIVE_BITS = 1.8
_LONGEST_PACKET = 400  # frames: what files have


@dataclass(frozen=True, eq=False)
class SettingFrames:
    """The frames of one rate setting.

    ``relative [groups]`` bool: the group's change is coded; ``symbols [frames, groups]``; ``age [frames]``: how many
    frames of the same packet are before each; ``slow [frames, 4, groups]``: the features' slow averages, kinds 2 and 5
    to 7 of ``packet_history``; ``features [groups, most levels, 2]``, each index's.
    """

    levels: tuple[int, ...]
    relative: npt.NDArray[np.bool_]
    symbols: npt.NDArray[np.uint16]
    age: npt.NDArray[np.int64]
    slow: npt.NDArray[np.int16]
    features: npt.NDArray[np.int16]
    alphabets: Alphabets
    _middle: Ints = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_middle", np.array(self.levels) // 2)

    def __len__(self) -> int:
        return len(self.symbols)

    def history(self, rows: Ints) -> npt.NDArray[np.int16]:
        """What the network reads of the past, ``[n, kinds, groups]``: ``packet_history``, for frames ``rows [n]``."""
        groups = np.arange(len(self.levels))
        history = np.empty((len(rows), KINDS, len(groups)), np.int16)
        for frames, kinds in ((1, slice(0, 2)), (2, slice(3, 5))):
            before = self.features[groups, self.symbols[rows - frames]].transpose(0, 2, 1)
            history[:, kinds] = before * (self.age[rows] >= frames)[:, None, None]
        history[:, [2, 5, 6, 7]] = self.slow[rows]
        return history

    def batch(self, rows: Ints) -> Batch:
        """The frames ``rows [n]`` in the network's terms."""
        present = self.alphabets.present.numpy()
        symbols = self.symbols[rows].astype(np.int64)
        start = self.age[rows] == 0
        before = np.where(start[:, None], self._middle, self.symbols[rows - 1])
        changes = (symbols - before + self._middle) % np.array(self.levels)
        coded = np.where(self.relative, changes, symbols)[:, present].T
        current = self.features[present, symbols[:, present]].transpose(1, 0, 2)
        return Batch(
            torch.from_numpy(self.history(rows).reshape(len(rows), -1) / np.float32(SCALE)),
            torch.from_numpy(current / np.float32(SCALE)),
            torch.from_numpy(np.ascontiguousarray(coded)),
            torch.from_numpy(start.astype(np.float32)),
        )


def choose_relative(levels: tuple[int, ...], sequences: Sequence[Ints]) -> npt.NDArray[np.bool_]:
    """Which groups have many levels, and change from frame to frame with much more certainty than their value has."""
    chosen = np.zeros(len(levels), dtype=bool)
    for group, count in enumerate(levels):
        if count >= RELATIVE_LEVELS:
            values = np.concatenate([sequence[1:, group] for sequence in sequences])
            changes = np.concatenate([np.diff(sequence[:, group]) for sequence in sequences]) % count
            chosen[group] = _entropy(values, count) - _entropy(changes, count) > RELATIVE_BITS
    return chosen


def _entropy(values: Ints, count: int) -> float:
    share = (np.bincount(values, minlength=count) + 0.1) / (len(values) + 0.1 * count)
    return float(-(share * np.log2(share)).sum())


def checked(levels: tuple[int, ...], sequences: Sequence[Ints]) -> list[Ints]:
    """The sequences ``[frames, groups]`` that have frames. Raises DataError where one does not fit ``levels``."""
    arrays = [np.asarray(sequence) for sequence in sequences if len(sequence)]
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != len(levels) or (array < 0).any() or (array >= levels).any():
            raise DataError(f"tokens of shape {array.shape} do not fit levels {levels}")
    if not arrays:
        raise DataError("no frames to fit entropy tables to")
    return arrays


def setting_frames(
    levels: tuple[int, ...],
    relative: npt.NDArray[np.bool_],
    sequences: Sequence[Ints],
    bins: int,
    rng: np.random.Generator,
) -> SettingFrames:
    """Join ``sequences [frames, groups]`` of one setting, and cut them into packets of 1 to 400 frames."""
    symbols = np.concatenate(sequences).astype(np.uint16)
    start = np.zeros(len(symbols), dtype=bool)
    start[np.cumsum([0] + [len(sequence) for sequence in sequences[:-1]])] = True
    # Their lengths are drawn evenly in the logarithm: about 2 in 100 frames begin one.
    cuts = np.cumsum(np.exp(rng.uniform(0, np.log(_LONGEST_PACKET), len(symbols))).astype(np.int64))
    start[cuts[cuts < len(symbols)]] = True
    first = np.flatnonzero(start)
    lengths = np.diff(np.append(first, len(symbols)))
    features = np.zeros((len(levels), max(levels), 2), dtype=np.int16)
    for group, rows in enumerate(symbol_features(levels)):
        features[group, : len(rows)] = rows
    seen = features[np.arange(len(levels)), symbols].transpose(0, 2, 1)  # [frames, 2, groups]
    slow = _packet_averages(seen, first, lengths, SLOW_SHIFT)
    slower = _packet_averages(seen, first, lengths, SLOWER_SHIFT)
    return SettingFrames(
        levels,
        relative,
        symbols,
        np.arange(len(symbols)) - np.repeat(first, lengths),
        np.concatenate([slow[:, ::-1], slower], axis=1),
        features,
        Alphabets(levels, bins),
    )


def _packet_averages(features: npt.NDArray[np.int16], first: Ints, lengths: Ints, shift: int) -> npt.NDArray[np.int16]:
    """``slow_average`` within each packet, of all packets at once: the k-th frames of all are worked out together."""
    order = np.argsort(-lengths, kind="stable")
    first, lengths = first[order], lengths[order]
    averages = np.zeros_like(features)
    state = np.zeros((len(first), *features.shape[1:]), dtype=np.int32)
    for frame in range(1, int(lengths[0])):
        longer = int(np.searchsorted(-lengths, -frame))  # packets with a frame of this number come first
        rows = first[:longer] + frame
        state = state[:longer]
        state += features[rows - 1] - (state >> shift)
        averages[rows] = state >> shift
    return averages
