"""Numbers to places in a drawing: linear and logarithmic axes, and the round values along them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` to coordinates from ``start`` to ``end``, in the units of the drawing."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate, rounded to a hundredth: what lies behind is not seen, and makes pages large."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        share = ((math.log(value) if self.log else value) - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 2)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what it says."""

    at: float
    label: str


def padded(values: Iterable[float], share: float, log: bool = False) -> tuple[float, float]:
    """Low and high of ``values`` with ``share`` of their range added at both ends; a range in any case."""
    found = [math.log(value) if log else value for value in values]
    low, high = min(found), max(found)
    room = (high - low) * share or (0.2 if log else max(abs(low) * share, 1e-3))
    ends = low - room, high + room
    return (math.exp(ends[0]), math.exp(ends[1])) if log else ends


def linear_ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """At most ``most`` + 1 round values between ``low`` and ``high``, with equal decimals."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= most)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**decimals - round(step * 10**decimals)) > 1e-6:
        decimals += 1
    first = math.ceil(low / step - 1e-9)
    values = [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(value, f"{value + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}")) for value in values]


# From coarse to fine: the first that gives enough values is taken.
_DECADES: Sequence[Sequence[float]] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 4, 6, 8),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9),
)


def log_ticks(low: float, high: float, least: int = 3, most: int = 6) -> list[tuple[float, str]]:
    """Round values between ``low`` and ``high`` (above 0) that look even on a logarithmic axis."""
    found: list[float] = []
    for decade in _DECADES:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [factor * 10.0**exponent for exponent in exponents for factor in decade]
        values = [value for value in values if low <= value <= high]
        if found and len(values) > most:
            break
        found = values
        if len(found) >= least:
            break
    return [(value, f"{value:g}") for value in found]
