"""How fast this core multiplies: the rate of large float32 matrix products, which no network can exceed."""

from __future__ import annotations

import time

import numpy as np

SIZES = (256, 512, 1024, 1536)
_SECONDS_A_TURN = 0.25


class MatrixPeak:
    """The best rate seen so far, over square matrices of several sizes; call it once a turn.

    The best and not the median: a floor under what others take is what the core can do, not what it did while it was
    disturbed. On one thread, if numpy's library was told so before it was imported.
    """

    def __init__(self, sizes: tuple[int, ...] = SIZES) -> None:
        numbers = np.random.default_rng(0)
        self._operands = {size: numbers.standard_normal((3, size, size), dtype=np.float32) for size in sizes}
        self.rates: dict[int, float] = dict.fromkeys(sizes, 0.0)

    def __call__(self) -> None:
        """Multiply for a quarter of a second."""
        for size, (left, right, result) in self._operands.items():
            rate, end = 0.0, time.perf_counter() + _SECONDS_A_TURN / len(self._operands)
            while rate == 0.0 or time.perf_counter() < end:
                start = time.perf_counter()
                np.matmul(left, right, out=result)
                rate = size**3 / (time.perf_counter() - start)
                self.rates[size] = max(self.rates[size], rate)

    @property
    def macs_per_second(self) -> float:
        """Multiply-accumulates a second of the best size."""
        return max(self.rates.values())
