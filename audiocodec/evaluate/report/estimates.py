"""What a mean and a difference of means are worth: bootstrap intervals, paired tests, and how many were asked."""

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
EXACT_PAIRS = 50  # 2^50 orders are still counted exactly in float64


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
    means = sample[draws(sample.size, seed, resamples)].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def draws(count: int, seed: int, resamples: int) -> npt.NDArray[np.int64]:
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
    leaning: float = 0.0
    """The sum of the signed ranks: which way the test leans, as one outlier may turn the mean."""

    @property
    def smallest_p(self) -> float:
        """The least p that ``n`` pairs can give, all differences of one sign: 2 in 2^n orders."""
        return min(1.0, 2.0 ** (1 - self.n))


def wilcoxon(a: Numbers, b: Numbers) -> PairedTest:
    """Signed-rank test of Wilcoxon (1945, "Individual comparisons by ranking methods"), paired and two-sided.

    ``a`` and ``b`` [files] in the same order; pairs of which one is not finite are left out, and ``n`` is what is left.
    Zero differences do not rank, as in the paper. The null distribution is exact up to EXACT_PAIRS pairs, then normal.

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
    gaps = gaps[gaps != 0.0]
    stats = extra("scipy.stats")
    leaning = float((np.sign(gaps) * stats.rankdata(np.abs(gaps))).sum())
    many = gaps.size > EXACT_PAIRS
    p = float(stats.wilcoxon(gaps, method="approx").pvalue) if many else _exact_p(gaps)
    return PairedTest(n, difference, p, leaning=leaning)


def _exact_p(gaps: Floats) -> float:
    """Share of all 2^n choices of signs whose rank sum is as far from the middle; equal differences share ranks."""
    ranks = (2 * extra("scipy.stats").rankdata(np.abs(gaps))).round().astype(int)  # doubled: shared ranks end in a half
    ways = np.zeros(ranks.sum() + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] += ways[:-rank].copy()
    far = np.abs(2 * np.arange(len(ways)) - ranks.sum())
    return float(ways[far >= far[ranks[gaps > 0.0].sum()]].sum() / 2.0**gaps.size)


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
