"""Frequency tables: densities cut into levels. SPEC.md, section 7.4."""

from __future__ import annotations

import numpy as np

from audiocodec.bitstream.history import Ints
from audiocodec.bitstream.rangecoder import PRECISION, TOTAL


def cut_at(density: Ints, cell: Ints, level: Ints, count: Ints) -> Ints:
    """The frequency tables of ``cell`` cut into ``count`` levels, at ``level``; ``density [cells, bins + 1]``."""
    bins = density.shape[1] - 1
    below, rest = np.divmod(level * bins, count)
    return _frequency(density[cell, below], density[cell, np.minimum(below + 1, bins)], rest, level, count)


def cut_rows(density: Ints, count: int) -> Ints:
    """The same of all cells at all levels: ``[cells, count + 1]``."""
    bins = density.shape[1] - 1
    level = np.arange(count + 1, dtype=np.int64)
    below, rest = np.divmod(level * bins, count)
    return _frequency(density[:, below], density[:, np.minimum(below + 1, bins)], rest, level, count)


def _frequency(near: Ints, far: Ints, rest: Ints, level: Ints, count: Ints | int) -> Ints:
    # The cumulative density at level / count, linear between its points; each level keeps one count at least, so that
    # any index can be coded.
    value: Ints = near + (far - near) * rest // count
    return (value * (TOTAL - count) >> PRECISION) + level


def cut(density: Ints, count: int) -> list[int]:
    """The same of one cell, ``density [bins + 1]``."""
    table: list[int] = cut_rows(density[None], count)[0].tolist()
    return table


class CutOnDemand:
    """The integers of :func:`cut`, each worked out when it is asked for: memory does not grow with the levels."""

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
