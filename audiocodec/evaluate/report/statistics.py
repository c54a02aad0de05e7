"""Codec against codec: rate differences of every pair of curves, paired tests of every setting, in words too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from audiocodec.evaluate.metrics import METRICS, Metric
from audiocodec.evaluate.report.curves import RateDifference, bd_interval, efficient, efficient_bd_rate
from audiocodec.evaluate.report.estimates import Floats, Interval, PairedTest, holm, wilcoxon
from audiocodec.evaluate.results import Results, Row, SystemInfo

ALPHA = 0.05  # of a family of tests: all the pairs of one measure
_NOTHING_COMMON = RateDifference(None, reason="no recording was measured with every setting of both")


@dataclass(frozen=True)
class CurveComparison:
    """The curve of codec ``a`` against that of codec ``b`` by one measure, by bytes of files and by payload alone."""

    metric: str
    a: str
    b: str
    by_file: RateDifference
    interval: Interval | None
    by_payload: RateDifference
    left_out: tuple[str, ...] = ()
    """Settings that a cheaper one of the same codec equals or beats by this measure."""

    @property
    def without(self) -> str:
        """What was left out, to be added to a sentence; empty where nothing was."""
        return f"; without {', '.join(self.left_out)}, which a cheaper setting beats" if self.left_out else ""

    @property
    def words(self) -> str:
        """``38 % fewer bits than opus at equal ESTOI (over 0.834 to 0.890)``, or why that cannot be said."""
        heading = METRICS[self.metric].heading
        if self.by_file.percent is None or self.by_file.overlap is None:
            return f"no rate at equal {heading} against {self.b}: {self.by_file.reason}"
        low, high = (f"{value:.{METRICS[self.metric].decimals}f}" for value in self.by_file.overlap)
        return f"{amount(self.by_file.percent)} than {self.b} at equal {heading} (over {low} to {high}{self.without})"


@dataclass(frozen=True)
class SystemComparison:
    """One of our settings against one of another codec's, by one measure, recording by recording."""

    metric: str
    a: SystemInfo
    b: SystemInfo
    test: PairedTest
    p: float | None
    """Adjusted for all the pairs of this measure."""

    @property
    def winner(self) -> SystemInfo | None:
        """The better one, where the difference is significant; None where it is not.

        None as well where ranks, which are what the test judges, and means point to different ones.
        """
        if self.p is None or self.p >= ALPHA or not self.test.difference:
            return None
        if self.test.leaning * self.test.difference < 0.0:
            return None
        return self.a if (self.test.difference > 0.0) == METRICS[self.metric].higher_is_better else self.b


@dataclass(frozen=True)
class Comparisons:
    """All of them, in the order of the measures and of the systems."""

    curves: list[CurveComparison]
    systems: list[SystemComparison]


def amount(percent: float) -> str:
    """A rate difference in words; above double as a multiple, which people read better."""
    if percent >= 100.0:
        return f"{1.0 + percent / 100.0:.1f} times the bits"
    if abs(percent) < 0.5:
        return "as many bits (within 0.5 %)"
    return f"{abs(percent):.0f} % {'fewer' if percent < 0.0 else 'more'} bits"


def codecs(results: Results, *roles: str) -> list[str]:
    """Names of the codecs with these roles (none given: all), in order."""
    return list(dict.fromkeys(system.codec for system in results.systems if not roles or system.role in roles))


def settings(results: Results, codec: str) -> list[SystemInfo]:
    """The systems of one codec, by rate as written; those without a rate last."""
    rates = {(row["codec"], row["setting"]): row.get("kbps") for row in results.summary}

    def rate(system: SystemInfo) -> float:
        value = rates.get((system.codec, system.setting))
        return math.inf if value is None else float(value)

    return sorted((system for system in results.systems if system.codec == codec), key=rate)


def summary_of(results: Results, system: SystemInfo) -> Row:
    """The row of the summary for a system; empty if it has none."""
    wanted = (system.codec, system.setting)
    return next((row for row in results.summary if (row["codec"], row["setting"]) == wanted), {})


def known_metrics(results: Results) -> list[Metric]:
    """The measures of these results that this version knows, in order."""
    return [METRICS[name] for name in results.metrics if name in METRICS]


def comparisons(results: Results, seed: int = 0) -> Comparisons:
    """Curves against curves, and our settings against those of peers that are near in rate (:func:`tested_pairs`).

    p-values are adjusted by Holm's method over the pairs of one measure. ``seed`` is that of the intervals.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    systems: list[SystemComparison] = []
    for metric in known_metrics(results):
        systems += _compare_systems(results, metric)
    return Comparisons(curve_comparisons(results, seed), systems)


def curve_comparisons(results: Results, seed: int = 0) -> list[CurveComparison]:
    """Each of our curves against each of a peer; among several models of ours, every pair of theirs."""
    ours, peers = codecs(results, "ours"), codecs(results, "peer")
    pairs = [(a, b) for a in ours for b in peers] + list(combinations(ours, 2))
    return [_compare_curves(results, metric, a, b, seed) for metric in known_metrics(results) for a, b in pairs]


def _compare_curves(results: Results, metric: Metric, a: str, b: str, seed: int) -> CurveComparison:
    better = metric.higher_is_better
    files = _common_files(results, metric, a, b)
    if not files:
        return CurveComparison(metric.name, a, b, _NOTHING_COMMON, None, _NOTHING_COMMON)
    (quality_a, rates_a, payload_a), (quality_b, rates_b, payload_b) = (
        [_values(results, codec, key, files) for key in (metric.name, "kbps", "payload_kbps")] for codec in (a, b)
    )
    means = [values.mean(axis=1) for values in (quality_a, quality_b)]
    by_file, by_payload = (
        efficient_bd_rate(x.mean(axis=1), means[0], y.mean(axis=1), means[1], better)
        for x, y in ((rates_a, rates_b), (payload_a, payload_b))
    )
    interval = None
    if by_file.percent is not None:
        interval = bd_interval((rates_a, quality_a), (rates_b, quality_b), better, seed)
    left_out: list[str] = []
    for codec, rates, quality in ((a, rates_a, means[0]), (b, rates_b, means[1])):
        kept = efficient(rates.mean(axis=1), quality, better)
        left_out += [one.label for place, one in enumerate(settings(results, codec)) if place not in kept]
    return CurveComparison(metric.name, a, b, by_file, interval, by_payload, tuple(left_out))


def _by_file(results: Results, system: SystemInfo, key: str) -> dict[str, float]:
    """The finite values of one column, by recording."""
    values = {row["file"]: row.get(key) for row in results.rows_of(system)}
    return {file: float(value) for file, value in values.items() if value is not None and math.isfinite(value)}


def _common_files(results: Results, metric: Metric, *names: str) -> list[str]:
    """The recordings that every setting of these codecs has a value for."""
    systems = [system for name in names for system in settings(results, name)]
    values = [_by_file(results, system, metric.name) for system in systems]
    return [file for file in results.files if all(file in found for found in values)]


def _values(results: Results, codec: str, key: str, files: list[str]) -> Floats:
    """One column of all settings of a codec, [settings, files]; NaN where a row has nothing finite."""
    found = [_by_file(results, system, key) for system in settings(results, codec)]
    return np.array([[values.get(file, math.nan) for file in files] for values in found])


def tested_pairs(results: Results) -> list[tuple[SystemInfo, SystemInfo]]:
    """Each setting of a peer with ours that is closest to its rate, and with ours that is closest to half its rate.

    All pairs would be many, most of them of rates that nobody compares, and the more are asked the less each can say.
    """
    ours = [system for codec in codecs(results, "ours") for system in settings(results, codec)]
    rated = [(system, rate) for system in ours if (rate := summary_of(results, system).get("kbps"))]
    pairs: list[tuple[SystemInfo, SystemInfo]] = []
    for codec in codecs(results, "peer") if rated else ():
        for peer in settings(results, codec):
            rate = summary_of(results, peer).get("kbps")
            for wanted in (rate, rate / 2.0) if rate else ():
                distances = [abs(math.log(of_ours / wanted)) for _, of_ours in rated]
                pair = rated[distances.index(min(distances))][0], peer
                if pair not in pairs:
                    pairs.append(pair)
    return pairs


def _compare_systems(results: Results, metric: Metric) -> list[SystemComparison]:
    pairs = tested_pairs(results)
    tests = []
    for a, b in pairs:
        values_a, values_b = (_by_file(results, system, metric.name) for system in (a, b))
        both = [file for file in results.files if file in values_a and file in values_b]
        tests.append(wilcoxon([values_a[file] for file in both], [values_b[file] for file in both]))
    adjusted = holm([test.p for test in tests])
    return [
        SystemComparison(metric.name, a, b, test, p) for (a, b), test, p in zip(pairs, tests, adjusted, strict=True)
    ]


def bd_table_markdown(results: Results, seed: int = 0) -> str:
    """Rate differences as a Markdown table: a line a pair of curves, a column a measure; empty without any pair."""
    found = curve_comparisons(results, seed)
    pairs = list(dict.fromkeys((one.a, one.b) for one in found))
    if not pairs:
        return ""
    by_key = {(one.a, one.b, one.metric): one for one in found}
    metrics = known_metrics(results)
    lines = ["| bits at equal quality | " + " | ".join(metric.heading for metric in metrics) + " |"]
    lines.append("| --- |" + " ---: |" * len(metrics))
    for a, b in pairs:
        cells = [bd_cell(by_key[a, b, metric.name]) for metric in metrics]
        lines.append(f"| {_cell(a)} against {_cell(b)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def bd_cell(comparison: CurveComparison) -> str:
    """``-38 % (-45 to -29)``, with the interval where there is one; n/a where there is none to state."""
    percent = comparison.by_file.percent
    if percent is None:
        return "n/a"
    text = f"{percent:+.0f} %"
    if comparison.interval is not None:
        text += f" ({comparison.interval[0]:+.0f} to {comparison.interval[1]:+.0f})"
    return text


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
