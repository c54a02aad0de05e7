"""How a cost grows: its exponent where the growth is even, and the size at which a fixed cost stops mattering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STRAIGHT = 0.08  # how far a point may lie from a straight line in log-log, as a natural logarithm: 8 %
_RISE = 1.10  # of the cost of a unit at the largest size over the cheapest, that is told


@dataclass(frozen=True)
class Growth:
    """Of costs at some sizes.

    ``exponent``: the slope in log-log of the sizes from ``straight_from`` on; ``even``: whether they lie on a line.
    ``fixed`` and ``per_unit``: the best ``cost = fixed + per_unit * size`` of sizes up to those at which a unit gets
    dearer again. ``knee``: the size at which both are equal, None if that lies below all sizes. ``cheapest``: the size
    at which a unit costs least, and ``rise``: how many times as much it costs at the largest.
    """

    exponent: float
    straight_from: float
    even: bool
    fixed: float
    per_unit: float
    knee: float | None
    cheapest: float
    rise: float

    @property
    def bends_up(self) -> bool:
        """Whether a unit gets dearer again towards the largest sizes."""
        return self.rise > _RISE


def growth(sizes: Sequence[float], costs: Sequence[float]) -> Growth:
    """Fit costs above 0 at rising sizes, three or more."""
    x, y = np.asarray(sizes, np.float64), np.asarray(costs, np.float64)
    if len(x) < 3 or len(x) != len(y) or (np.diff(x) <= 0).any() or x[0] <= 0 or (y <= 0).any():
        raise ValueError("three or more costs above 0 are needed, at rising sizes above 0")
    exponent, first, off = straight_part(x, y)
    unit = y / x
    level = 1 + int(np.flatnonzero(unit <= _RISE * unit.min())[-1])  # beyond it something else makes units dearer
    fixed, per_unit = fixed_and_per_unit(x[:level], y[:level]) if level > 1 else (0.0, float(unit[0]))
    knee = fixed / per_unit if per_unit > 0 else float(x[-1])
    return Growth(
        exponent,
        float(x[first]),
        off <= STRAIGHT,
        fixed,
        per_unit,
        knee if knee >= x[0] else None,
        float(x[unit.argmin()]),
        float(unit[-1] / unit.min()),
    )


def straight_part(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, int, float]:
    """The largest sizes in log-log, as many as lie on one line but three at least: its slope, the place of the first,
    and how far they lie from it at most.

    The largest, because there what grows has outgrown what does not.
    """
    log_x, log_y = np.log(x), np.log(y)
    best = None
    for first in range(len(x) - 3, -1, -1):
        line = np.polyfit(log_x[first:], log_y[first:], 1)
        off = np.abs(np.polyval(line, log_x[first:]) - log_y[first:]).max()
        if best is not None and off > STRAIGHT:
            break
        best = float(line[0]), first, float(off)
    assert best is not None
    return best


def fixed_and_per_unit(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """``fixed, per_unit`` of the closest ``fixed + per_unit * x``, by relative error; neither is below 0."""
    ones = np.ones_like(y)
    (fixed, per_unit), *_ = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), ones, rcond=None)
    if fixed < 0:
        return 0.0, float((x / y).sum() / ((x / y) @ (x / y)))
    if per_unit < 0:
        return float((1 / y).sum() / ((1 / y) @ (1 / y))), 0.0
    return float(fixed), float(per_unit)
