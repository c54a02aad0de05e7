"""Geometry of the report's drawings; the template makes SVG of it, the style sheet colours it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from audiocodec.evaluate.metrics import Metric
from audiocodec.evaluate.report.estimates import Interval, bootstrap_interval
from audiocodec.evaluate.report.scales import Scale, Tick, linear_ticks, log_ticks, padded
from audiocodec.evaluate.report.statistics import codecs, settings, summary_of
from audiocodec.evaluate.results import Results, SystemInfo
from audiocodec.evaluate.summary import token_use

WIDTH, HEIGHT = 340, 250  # of a chart of rate and quality, in CSS pixels: one fits a phone at its natural size
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 36
COLOURS = 10
MARKERS = ("circle", "square", "triangle", "diamond", "cross", "pentagon", "plus", "ring")
_ANCHOR_REACH = 0.25  # how far an anchor may stretch the axis, in heights of what the curves take

SystemKey = tuple[str, str]
Intervals = dict[tuple[SystemKey, str], Interval | None]


@dataclass(frozen=True)
class Series:
    """How one codec is drawn everywhere: colour and dashes by number, and a marker, for colour must not stand alone."""

    codec: str
    role: str
    number: int

    @property
    def marker(self) -> str:
        """Shape of its points."""
        return MARKERS[self.number % len(MARKERS)]

    @property
    def style(self) -> str:
        """Class names of the style sheet; the first colour is that of the first codec alone."""
        colour = self.number if self.number < COLOURS else 1 + (self.number - COLOURS) % (COLOURS - 1)
        return f"s{colour} d{self.number % len(MARKERS)} {self.role}"


def all_series(results: Results) -> dict[str, Series]:
    """Codecs that are drawn, ours first; anchors are lines, not series."""
    names = codecs(results, "ours") + codecs(results, "peer")
    roles = {system.codec: system.role for system in results.systems}
    return {name: Series(name, roles[name], number) for number, name in enumerate(names)}


def intervals(results: Results, seed: int) -> Intervals:
    """The confidence interval of every mean in the summary, by system and measure."""
    found: Intervals = {}
    for system in results.systems:
        rows = results.rows_of(system)
        for name in results.metrics:
            values = [row.get(name) for row in rows]
            found[(system.codec, system.setting), name] = bootstrap_interval(values, seed)
    return found


@dataclass(frozen=True)
class Point:
    """A setting of a codec in a chart: its place, its bar from ``y_low`` to ``y_high``, what a pointer is told."""

    x: float
    y: float
    y_low: float | None
    y_high: float | None
    title: str


@dataclass(frozen=True)
class Curve:
    """Points of one codec, by rate; ``band`` is the outline of its confidence band, empty without one."""

    series: Series
    points: list[Point]
    line: str
    band: str


@dataclass(frozen=True)
class RateChart:
    """Rate against quality by one measure."""

    metric: Metric
    curves: list[Curve]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    anchors: list[Tick]
    description: str


def rate_chart(results: Results, metric: Metric, series: dict[str, Series], bounds: Intervals) -> RateChart | None:
    """The chart of one measure, on a logarithmic rate axis; None if no codec has a value."""
    drawn: dict[str, list[tuple[SystemInfo, float, float, Interval | None]]] = {}
    for codec in series:
        for system in settings(results, codec):
            row = summary_of(results, system)
            rate, value = row.get("kbps"), row.get(metric.name)
            if rate and value is not None:
                interval = bounds.get(((system.codec, system.setting), metric.name))
                drawn.setdefault(codec, []).append((system, float(rate), float(value), interval))
    points = [point for curve in drawn.values() for point in curve]
    if not points:
        return None
    values = [value for _, _, mean, interval in points for value in (mean, *(interval or ()))]
    anchors = _anchors(results, metric, values)
    x_low, x_high = padded([rate for _, rate, _, _ in points], 0.06, log=True)
    y_low, y_high = padded([*values, *anchors.values()], 0.06)
    x, y = Scale(x_low, x_high, LEFT, WIDTH - RIGHT, log=True), Scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    curves = [_curve(series[codec], metric, found, x, y) for codec, found in drawn.items()]
    return RateChart(
        metric,
        curves,
        [Tick(x(value), label) for value, label in log_ticks(x_low, x_high)],
        [Tick(y(value), label) for value, label in linear_ticks(y_low, y_high)],
        [Tick(y(value), label) for label, value in anchors.items()],
        "; ".join(f"{curve.series.codec}: " + ", ".join(point.title for point in curve.points) for curve in curves),
    )


def _anchors(results: Results, metric: Metric, values: Sequence[float]) -> dict[str, float]:
    """Values of the anchors by name: all for a measure without a reference, else those near the curves."""
    reach = (max(values) - min(values)) * _ANCHOR_REACH
    found = {}
    for codec in codecs(results, "anchor"):
        for system in settings(results, codec):
            value = summary_of(results, system).get(metric.name)
            near = value is not None and min(values) - reach <= value <= max(values) + reach
            if value is not None and (near or not metric.needs_reference):
                found[codec if len(settings(results, codec)) == 1 else system.label] = float(value)
    return found


def _curve(
    series: Series,
    metric: Metric,
    found: Sequence[tuple[SystemInfo, float, float, Interval | None]],
    x: Scale,
    y: Scale,
) -> Curve:
    points = []
    for system, rate, value, interval in found:
        title = f"{system.setting or system.codec} at {rate:.2f} kbps: {value:.{metric.decimals}f}"
        if interval:
            title += f" ({interval[0]:.{metric.decimals}f} to {interval[1]:.{metric.decimals}f})"
        low, high = (y(interval[0]), y(interval[1])) if interval else (None, None)
        points.append(Point(x(rate), y(value), low, high, title))
    line = "M" + " L".join(f"{point.x:g} {point.y:g}" for point in points) if len(points) > 1 else ""
    band = ""
    if len(points) > 1 and all(point.y_low is not None for point in points):
        outline = [(point.x, point.y_high) for point in points] + [(point.x, point.y_low) for point in points[::-1]]
        band = "M" + " L".join(f"{at_x:g} {at_y:g}" for at_x, at_y in outline) + " Z"
    return Curve(series, points, line, band)


@dataclass(frozen=True)
class TokenHistogram:
    """How often each level of one dimension was used. ``bars`` is a path in a box of 100 by 40."""

    dimension: int
    levels: int
    bars: str
    bits: float
    use: float | None

    @property
    def title(self) -> str:
        """All of it in words."""
        used = "unused" if self.use is None else f"CVU {self.use:.2f}"
        return f"dimension {self.dimension}: {self.levels} levels, {self.bits:.2f} bits, {used}"


@dataclass(frozen=True)
class TokenUse:
    """The token use of one setting, pooled over recordings."""

    system: SystemInfo
    histograms: list[TokenHistogram]
    tokens: int
    bits: float
    use: float | None
    dead: int = field(default=0)
    """Levels that never occurred."""


def token_uses(results: Results) -> list[TokenUse]:
    """One for each system whose rows tell histograms."""
    found = []
    for system in results.systems:
        told = [row["histograms"] for row in results.rows_of(system) if row.get("histograms")]
        if not told:
            continue
        pooled = [np.sum([one[dim] for one in told], axis=0).astype(np.int64) for dim in range(len(told[0]))]
        bits, use = token_use(pooled)
        histograms = [_histogram(dim, counts) for dim, counts in enumerate(pooled) if len(counts) > 1]
        dead = sum(int((counts == 0).sum()) for counts in pooled if len(counts) > 1)
        found.append(
            TokenUse(
                system, histograms, int(sum(counts.sum() for counts in pooled if len(counts) > 1)), bits, use, dead
            )
        )
    return found


def _histogram(dimension: int, counts: np.ndarray) -> TokenHistogram:
    bits, use = token_use([counts])
    share = counts / max(int(counts.max()), 1)
    width = 100.0 / len(counts)
    gap = min(1.5, 0.2 * width)
    bars = "".join(
        f"M{index * width + gap / 2:.4g} 40v{-38.0 * part:.4g}h{width - gap:.4g}V40z"
        for index, part in enumerate(share)
        if part > 0
    )
    return TokenHistogram(dimension, len(counts), bars, bits, use)
