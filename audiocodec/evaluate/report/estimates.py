"""What a difference between codecs is worth: intervals of means, paired tests, Bjøntegaard rate differences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.evaluate.metrics.base import extra

Floats = npt.NDArray[np.float64]
Numbers = Sequence[float | None] | Floats
Interval = tuple[float, float]

RESAMPLES = 2000
LEVEL = 0.95


def finite(values: Numbers) -> Floats:
    """``values`` [n] as float64 with None as NaN, the finite ones of them."""
    array = np.array([math.nan if value is None else float(value) for value in values], dtype=np.float64)
    return array[np.isfinite(array)]


def bootstrap_interval(values: Numbers, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval | None:
    """Confidence interval of the mean of ``values`` [files], which are drawn again with replacement.

    Bias-corrected and accelerated (BCa; Efron 1987, "Better Bootstrap Confidence Intervals", JASA 82), which keeps
    its level with the skewed scores of few recordings where plain percentiles are too narrow. The same seed gives the
    same interval. None for fewer than two finite values.
    """
    sample = finite(values)
    if sample.size < 2:
        return None
    if np.ptp(sample) == 0.0:
        return float(sample[0]), float(sample[0])
    with warnings.catch_warnings():  # a degenerate resampling is answered below, not printed
        warnings.simplefilter("ignore")
        found = (
            extra("scipy.stats")
            .bootstrap(
                (sample,),
                np.mean,
                n_resamples=resamples,
                confidence_level=level,
                method="BCa",
                rng=np.random.default_rng(seed),
            )
            .confidence_interval
        )
    if math.isfinite(found.low) and math.isfinite(found.high):
        return float(found.low), float(found.high)
    means = sample[_draws(sample.size, seed, resamples)].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _draws(count: int, seed: int, resamples: int) -> npt.NDArray[np.int64]:
    """Indices [resamples, count] of recordings drawn with replacement."""
    return np.random.default_rng(seed).integers(count, size=(resamples, count))


@dataclass(frozen=True)
class PairedTest:
    """A paired comparison over ``n`` recordings: the mean of a - b, and how surprising it is were there none."""

    n: int
    difference: float | None
    p: float | None
    reason: str = ""
    """Why there is no p."""

    @property
    def smallest_p(self) -> float:
        """The least p that ``n`` pairs can give, all differences of one sign: 2 in 2^n orders."""
        return min(1.0, 2.0 ** (1 - self.n))


def wilcoxon(a: Numbers, b: Numbers) -> PairedTest:
    """Signed-rank test of Wilcoxon (1945, "Individual comparisons by ranking methods"), paired and two-sided.

    ``a`` and ``b`` [files] in the same order; pairs of which one is not finite are left out, and ``n`` is what is left.
    Zero differences do not rank, as in the paper. The null distribution is exact up to 50 pairs without ties.

    Raises:
        ValueError: different lengths.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}")
    gaps = finite([None if x is None or y is None else x - y for x, y in zip(a, b, strict=True)])
    n = int(gaps.size)
    if n == 0:
        return PairedTest(0, None, None, "no recording was measured with both")
    difference = float(gaps.mean())
    # Differences at the level of rounding are none: their signs would be drawn by the compiler.
    scale = float(np.max(np.abs(finite([*a, *b]))))
    gaps = np.where(np.abs(gaps) <= 1e-12 * max(scale, 1.0), 0.0, gaps)
    if n < 2:
        return PairedTest(n, difference, None, "one recording alone has no spread")
    if not gaps.any():
        return PairedTest(n, difference, None, "all differences are zero")
    with warnings.catch_warnings():  # scipy warns of small samples; the caller states n
        warnings.simplefilter("ignore")
        p = float(extra("scipy.stats").wilcoxon(gaps, zero_method="wilcox", alternative="two-sided").pvalue)
    return PairedTest(n, difference, p if math.isfinite(p) else None)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for how many were asked (Holm 1979, "A simple sequentially rejective multiple test procedure").

    Compared with a level, they bound the chance of even one false finding among them. None stays None.
    """
    asked = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for rank, (p, index) in enumerate(asked):
        so_far = max(so_far, min(1.0, p * (len(asked) - rank)))
        adjusted[index] = so_far
    return adjusted


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
    over quality by a piecewise cubic that keeps monotone curves monotone (PCHIP; Fritsch and Carlson 1980), since the
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
    """:func:`bd_rate` of what :func:`efficient` keeps of both curves, [points] each."""
    kept_a = efficient(rates_a, quality_a, higher_is_better)
    kept_b = efficient(rates_b, quality_b, higher_is_better)
    return bd_rate(rates_a[kept_a], quality_a[kept_a], rates_b[kept_b], quality_b[kept_b], higher_is_better)


def _curve(rates: Numbers, quality: Numbers, higher_is_better: bool) -> tuple[Floats, Floats] | str:
    """(quality [points] ascending and higher is better, natural log of the rate), or why it is no curve."""
    pairs = [
        (float(rate), float(value))
        for rate, value in zip(rates, quality, strict=True)
        if rate is not None and value is not None and math.isfinite(rate) and math.isfinite(value) and rate > 0.0
    ]
    if len(pairs) < 2:
        return "a curve needs two settings or more"
    ordered = np.array(sorted(pairs))
    value = ordered[:, 1] if higher_is_better else -ordered[:, 1]
    if np.any(np.diff(value) <= 0.0) or np.any(np.diff(ordered[:, 0]) <= 0.0):
        return "quality does not rise with the rate all along a curve"
    return value, np.log(ordered[:, 0])


def _mean_log_rate(quality: Floats, log_rate: Floats, low: float, high: float) -> float:
    curve = extra("scipy.interpolate").PchipInterpolator(quality, log_rate)
    return float(curve.integrate(low, high)) / (high - low)


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
    for draw in _draws(count, seed, resamples):
        rates_a, quality_a, rates_b, quality_b = (values[:, draw].mean(axis=1) for values in (*curve_a, *curve_b))
        percent = efficient_bd_rate(rates_a, quality_a, rates_b, quality_b, higher_is_better).percent
        if percent is not None:
            found.append(percent)
    if len(found) <= 0.9 * resamples:
        return None
    low, high = np.quantile(found, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
