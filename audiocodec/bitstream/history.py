"""What the entropy network reads: features of indices, and a channel's past. SPEC.md, section 7.3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEATURE_ONE = 256  # an index at the edge of [0, 1] has value +-256
SPREAD_MEAN = 85  # of value ** 2 / 256 for a uniform value: 256 / 3
SLOW_SHIFT, SLOWER_SHIFT = 3, 5  # averages move by an eighth, or a 32nd, of the difference a frame
# What a channel's past is told by: the first tables had three numbers a group, newer ones have eight.
HISTORY_KINDS = (3, 8)


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


def slow_average(features: Ints, shift: int) -> Ints:
    """Average, of time constant ``2**shift`` frames, of all ``features [frames, n]`` *before* each; 0 for the first."""
    averages = np.zeros(features.shape, dtype=np.int64)
    # The state keeps ``shift`` fraction bits, so that it moves even for small differences.
    state = np.zeros(features.shape[1], dtype=np.int64)
    for frame in range(1, len(features)):
        state = state + features[frame - 1] - (state >> shift)
        averages[frame] = state >> shift
    return averages


def packet_history(features: Ints, kinds: int) -> Ints:
    """What the network reads of the past: ``[frames, kinds, groups]``, from one packet's features.

    ``features [frames, 2, groups]``; the order of the kinds (3 or 8 of them) is that of SPEC.md, section 7.3.
    """
    frames, _, groups = features.shape
    history = np.zeros((frames, kinds, groups), dtype=np.int64)
    history[1:, :2] = features[:-1]
    if kinds == HISTORY_KINDS[0]:
        history[:, 2] = slow_average(features[:, 1], SLOW_SHIFT)
        return history
    flat = features.reshape(frames, 2 * groups)
    slow = slow_average(flat, SLOW_SHIFT).reshape(features.shape)
    history[:, 2], history[:, 5] = slow[:, 1], slow[:, 0]
    history[2:, 3:5] = features[:-2]
    history[:, 6:8] = slow_average(flat, SLOWER_SHIFT).reshape(features.shape)
    return history


class History:
    """:func:`packet_history` frame by frame, for all channels of a packet that is being decoded."""

    def __init__(self, channels: int, groups: int, kinds: int) -> None:
        self._context: Floats = np.zeros((channels, kinds, groups))
        self._slow = np.zeros((channels, 2, groups), dtype=np.int64)
        self._slower = np.zeros((channels, 2, groups), dtype=np.int64)

    def after(self, features: Ints) -> Floats:
        """The network's inputs for the frame after one of ``features [channels, 2, groups]``: ``[channels, n]``."""
        context, slow, slower = self._context, self._slow, self._slower
        slow += features - (slow >> SLOW_SHIFT)
        context[:, 2] = slow[:, 1] >> SLOW_SHIFT
        if context.shape[1] > HISTORY_KINDS[0]:
            slower += features - (slower >> SLOWER_SHIFT)
            context[:, 3:5] = context[:, :2]
            context[:, 5] = slow[:, 0] >> SLOW_SHIFT
            context[:, 6:] = slower >> SLOWER_SHIFT
        context[:, :2] = features
        return context.reshape(len(context), -1)
