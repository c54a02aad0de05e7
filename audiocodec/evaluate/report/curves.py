"""Curves of rate and quality against each other: Bjøntegaard's difference of rates at equal quality."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from audiocodec.evaluate.report.estimates import LEVEL, Floats, Interval, Numbers, draws

MOST_LEFT_OUT = 1 / 3


@dataclass(frozen=True)
class RateDifference:
    """How many more bits (percent; negative: fewer) curve a needs than curve b for the same quality."""

    percent: float | None
    overlap: Interval | None = None
    """The range of quality over which both curves exist, low and high, in the measure's own unit."""
    reason: str = ""
    """Why there is no percentage."""


def bd_rate(
    rates_a: Numbers, quality_a: Numbers, rates_b: Numbers, quality_b: Numbers, higher_is_better: bool = True
) -> RateDifference:
    """Bjøntegaard difference of the rate of curve a from that of curve b, in percent, at equal quality.

    Bjøntegaard (2001), ITU-T VCEG-M33: the mean over the common range of quality of the difference between the
    logarithms of the rates. As in the later VCEG-AI11 and the JCT-VC common test conditions, log rate is interpolated
    over quality by a piecewise cubic that keeps monotone curves monotone (PCHIP; Fritsch and Butland 1984), since the
    original single cubic swings between points that are far apart. With two points that is a straight line. Nothing is
    extrapolated.

    Rates in any unit above 0, the same for both, [points] each. No percentage, but a reason, for a curve of fewer than
    two points, for one whose quality does not rise with its rate, and for curves without a common range.
    """
    curves = []
    for rates, quality in ((rates_a, quality_a), (rates_b, quality_b)):
        curve = _curve(rates, quality, higher_is_better)
        if isinstance(curve, str):
            return RateDifference(None, reason=curve)
        curves.append(curve)
    (quality_1, log_1), (quality_2, log_2) = curves
    low, high = max(quality_1[0], quality_2[0]), min(quality_1[-1], quality_2[-1])
    overlap = (float(low), float(high)) if higher_is_better else (float(-high), float(-low))
    if not low < high:
        return RateDifference(None, reason="the curves share no range of quality")
    gap = _mean_log_rate(quality_1, log_1, low, high) - _mean_log_rate(quality_2, log_2, low, high)
    return RateDifference(100.0 * math.expm1(gap), overlap)


def efficient(rates: Numbers, quality: Numbers, higher_is_better: bool = True) -> list[int]:
    """Indices of the points that no point of a lower rate equals or beats, by rate: a curve as it would be used.

    A codec may do worse with more bits (a wider band at once, for instance), and then nobody would choose that
    setting; what is left rises with the rate. Points that are not finite, or have no rate above 0, are left out.
    """
    sign = 1.0 if higher_is_better else -1.0
    points = sorted(
        (float(rate), -sign * float(value), index)
        for index, (rate, value) in enumerate(zip(rates, quality, strict=True))
        if rate is not None and value is not None and math.isfinite(rate) and math.isfinite(value) and rate > 0.0
    )
    kept: list[int] = []
    best = math.inf
    for _, cost, index in points:
        if cost < best:
            best = cost
            kept.append(index)
    return kept


def efficient_bd_rate(
    rates_a: Floats, quality_a: Floats, rates_b: Floats, quality_b: Floats, higher_is_better: bool = True
) -> RateDifference:
    """:func:`bd_rate` of what :func:`efficient` keeps of both curves, [points] each.

    None where that leaves out more than MOST_LEFT_OUT of a curve: of many points the luckiest would be left.
    """
    kept_a = efficient(rates_a, quality_a, higher_is_better)
    kept_b = efficient(rates_b, quality_b, higher_is_better)
    for kept, rates in ((kept_a, rates_a), (kept_b, rates_b)):
        if len(rates) > 1 and len(rates) - len(kept) > MOST_LEFT_OUT * len(rates):
            return RateDifference(None, reason="quality hardly rises with the rate")
    return bd_rate(rates_a[kept_a], quality_a[kept_a], rates_b[kept_b], quality_b[kept_b], higher_is_better)


def _curve(rates: Numbers, quality: Numbers, higher_is_better: bool) -> tuple[Floats, Floats] | str:
    """(quality [points] ascending and higher is better, natural log of the rate), or why it is no curve."""
    pairs = [
        (float(rate), float(value))
        for rate, value in zip(rates, quality, strict=True)
        if rate is not None and value is not None and math.isfinite(rate) and math.isfinite(value) and rate > 0.0
    ]
    if len(pairs) < 2:
        return "a curve needs two settings, the dearer one better"
    ordered = np.array(sorted(pairs))
    value = ordered[:, 1] if higher_is_better else -ordered[:, 1]
    if np.any(np.diff(value) <= 0.0) or np.any(np.diff(ordered[:, 0]) <= 0.0):
        return "quality does not rise with the rate all along a curve"
    return value, np.log(ordered[:, 0])


def _mean_log_rate(quality: Floats, log_rate: Floats, low: float, high: float) -> float:
    """Mean over quality from ``low`` to ``high`` of the piecewise cubic through the points.

    Written out, as a bootstrap asks for it thousands of times with a handful of points.
    """
    x, y = quality.tolist(), log_rate.tolist()
    slopes = _pchip_slopes(x, y)
    area = 0.0
    for k in range(len(x) - 1):
        h = x[k + 1] - x[k]
        ends = [(min(max(at, x[k]), x[k + 1]) - x[k]) / h for at in (low, high)]
        if ends[0] < ends[1]:
            area += h * (
                _hermite_integral(ends[1], y[k], y[k + 1], h * slopes[k], h * slopes[k + 1])
                - _hermite_integral(ends[0], y[k], y[k + 1], h * slopes[k], h * slopes[k + 1])
            )
    return area / (high - low)


def _hermite_integral(t: float, y0: float, y1: float, d0: float, d1: float) -> float:
    """From 0 to ``t`` of the cubic with these values and slopes at 0 and 1."""
    t2, t3, t4 = t * t, t**3, t**4
    return y0 * (t4 / 2 - t3 + t) + d0 * (t4 / 4 - 2 * t3 / 3 + t2 / 2) + y1 * (t3 - t4 / 2) + d1 * (t4 / 4 - t3 / 3)


def _pchip_slopes(x: list[float], y: list[float]) -> list[float]:
    """Slopes at the points (Fritsch and Butland 1984): weighted harmonic means, 0 where the direction turns."""
    h = [b - a for a, b in pairwise(x)]
    m = [(b - a) / width for (a, b), width in zip(pairwise(y), h, strict=True)]
    if len(m) == 1:
        return [m[0], m[0]]
    inner = []
    for k in range(1, len(m)):
        w1, w2 = 2 * h[k] + h[k - 1], h[k] + 2 * h[k - 1]
        inner.append((w1 + w2) / (w1 / m[k - 1] + w2 / m[k]) if m[k - 1] * m[k] > 0.0 else 0.0)
    return [_end_slope(h[0], h[1], m[0], m[1]), *inner, _end_slope(h[-1], h[-2], m[-1], m[-2])]


def _end_slope(h0: float, h1: float, m0: float, m1: float) -> float:
    """Three-point slope at an end, bounded so that the curve keeps its direction."""
    slope = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    if slope * m0 <= 0.0:
        return 0.0
    return 3 * m0 if m0 * m1 <= 0.0 and abs(slope) > 3 * abs(m0) else slope


def bd_interval(
    curve_a: tuple[Floats, Floats],
    curve_b: tuple[Floats, Floats],
    higher_is_better: bool,
    seed: int,
    resamples: int = 200,
    level: float = LEVEL,
) -> Interval | None:
    """Percentile bootstrap interval of :func:`efficient_bd_rate`, over the recordings that the points are means of.

    A curve is (rates, quality), [points, files] each, with the same recordings in the same order for both, drawn
    together. None where a tenth or more of the draws have no rate difference, or with fewer than three recordings: an
    interval of the rest would be too favourable.
    """
    count = curve_a[0].shape[1]
    if count < 3:
        return None
    found = []
    for draw in draws(count, seed, resamples):
        rates_a, quality_a, rates_b, quality_b = (values[:, draw].mean(axis=1) for values in (*curve_a, *curve_b))
        percent = efficient_bd_rate(rates_a, quality_a, rates_b, quality_b, higher_is_better).percent
        if percent is not None:
            found.append(percent)
    if len(found) <= 0.9 * resamples:
        return None
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
