"""What the figures say, in sentences: generated from intervals and tests, wins and losses alike."""

from __future__ import annotations

import math
from dataclasses import dataclass

from audiocodec.evaluate.metrics import METRICS, Metric
from audiocodec.evaluate.report.charts import Intervals
from audiocodec.evaluate.report.players import score
from audiocodec.evaluate.report.selection import main_metric, middle_system
from audiocodec.evaluate.report.statistics import (
    ALPHA,
    Comparisons,
    CurveComparison,
    SystemComparison,
    codecs,
    settings,
    summary_of,
)
from audiocodec.evaluate.results import Results, SystemInfo


@dataclass(frozen=True)
class Finding:
    """A heading and its sentences, with what each means for us: ``win``, ``loss``, ``even``, ``open`` or ``remark``."""

    heading: str
    sentences: list[tuple[str, str]]


def findings(results: Results, compared: Comparisons, bounds: Intervals) -> list[Finding]:
    """One on the middle rate and the range of rates, then one for each pair of codecs."""
    found = [Finding(codec, _alone(results, codec, bounds)) for codec in codecs(results, "ours")]
    pairs = list(dict.fromkeys((one.a, one.b) for one in compared.curves))
    for a, b in pairs:
        curves = [one for one in compared.curves if (one.a, one.b) == (a, b)]
        sentences = [
            ("remark", _rates(results, a, b)),
            *_bits(curves, main_metric(results)),
            *_nearest(results, compared, a, b),
        ]
        found.append(Finding(f"{a} against {b}", [(kind, text) for kind, text in sentences if text]))
    if codecs(results, "ours") and not codecs(results, "peer"):
        found.append(Finding("No other codec was measured", [("remark", "Nothing here says how others would fare.")]))
    return found


def _alone(results: Results, codec: str, bounds: Intervals) -> list[tuple[str, str]]:
    """Our codec by itself, at its middle rate."""
    metric = main_metric(results)
    of_codec = settings(results, codec)
    system = middle_system(results)
    if system not in of_codec:
        system = of_codec[(len(of_codec) - 1) // 2]
    row = summary_of(results, system)
    if metric is None or row.get(metric.name) is None:
        return [("remark", f"{system.label} has no score.")]
    text = f"At {row['kbps']:.2f} kbps ({system.setting}), {metric.heading} is {score(metric, row[metric.name])}"
    interval = bounds.get(((system.codec, system.setting), metric.name))
    if interval:
        text += f" (95 % interval {score(metric, interval[0])} to {score(metric, interval[1])})"
    return [("remark", f"{text}, as the mean of {count(row['files'], 'recording')}.")]


def _rates(results: Results, a: str, b: str) -> str:
    """The ranges of rate of both, and what they mean where they do not meet."""
    ranges = []
    for codec in (a, b):
        rates = [rate for system in settings(results, codec) if (rate := summary_of(results, system).get("kbps"))]
        if not rates:
            return ""
        ranges.append((min(rates), max(rates)))
    (low_a, high_a), (low_b, high_b) = ranges
    words = [f"{low:.2f} kbps" if low == high else f"{low:.2f} to {high:.2f} kbps" for low, high in ranges]
    text = f"{a} was measured at {words[0]} and {b} at {words[1]}, as written to files"
    if high_a < low_b:
        text += f": all of {a} below the lowest rate of {b}"
    elif low_a > high_b:
        text += f": all of {a} above the highest rate of {b}"
    return text + "."


def _bits(curves: list[CurveComparison], main: Metric | None) -> list[tuple[str, str]]:
    """Rate differences: that of the main measure in full, the others by whether their intervals exclude none at all."""
    name = main.name if main else ""
    found = [(verdict(one), _in_full(one)) for one in curves if one.metric == name and one.by_file.percent is not None]
    groups: dict[str, list[str]] = {"win": [], "loss": [], "even": [], "open": []}
    silent: dict[str, list[str]] = {}
    for one in curves:
        heading = METRICS[one.metric].heading
        if one.by_file.percent is None:
            silent.setdefault(one.by_file.reason, []).append(heading)
        elif one.metric != name:
            groups[verdict(one)].append(f"{heading} ({signed(one.by_file.percent)})")
    words = {
        "win": "Fewer bits at equal",
        "loss": "More bits at equal",
        "even": "No clear difference in bits at equal",
        "open": "Undecided for want of an interval: bits at equal",
    }
    found += [(kind, f"{words[kind]} {listed(items)}.") for kind, items in groups.items() if items]
    if silent:
        reasons = [f"{listed(headings)} ({reason})" for reason, headings in silent.items()]
        found.append(("remark", f"No rate at equal {'; '.join(reasons)}."))
    return found


def _in_full(one: CurveComparison) -> str:
    text = one.words
    if one.interval:
        text += f"; 95 % interval {signed(one.interval[0])} to {signed(one.interval[1])}"
    else:
        text += "; no interval"
    if one.by_payload.percent is not None:
        text += f"; by payload alone {signed(one.by_payload.percent)}"
    return f"{text[0].upper()}{text[1:]}."


def verdict(one: CurveComparison) -> str:
    """``win`` or ``loss`` where the interval of the rate difference excludes 0, else ``even``; ``open`` without one."""
    if one.interval is None:
        return "open"
    clear = one.interval[0] > 0.0 or one.interval[1] < 0.0
    return "even" if not clear else "win" if (one.by_file.percent or 0.0) < 0.0 else "loss"


def _nearest(results: Results, compared: Comparisons, a: str, b: str) -> list[tuple[str, str]]:
    """The paired tests of the two settings that are closest in rate."""
    tests = [one for one in compared.systems if (one.a.codec, one.b.codec) == (a, b) and one.test.n]
    if not tests:
        return []
    closest = min(tests, key=lambda one: _distance(results, one))
    tests = [one for one in tests if (one.a, one.b) == (closest.a, closest.b)]
    kbps_a, kbps_b = (_kbps(results, system) for system in (closest.a, closest.b))
    n = max(one.test.n for one in tests)
    at = f"Closest in rate: {closest.a.setting or a} ({kbps_a:.2f} kbps) and {closest.b.label} ({kbps_b:.2f} kbps)"
    found = [("remark", f"{at}, over {count(n, 'recording')}:")]
    if closest.test.smallest_p >= ALPHA:
        return [("remark", f"{at}; {count(n, 'recording')} cannot make any difference significant.")]
    groups = {
        "win": ("Significantly better in", [_by(one) for one in tests if one.winner == one.a]),
        "loss": ("Significantly worse in", [_by(one) for one in tests if one.winner == one.b]),
        "even": ("No significant difference in", [_by(one) for one in tests if one.winner is None]),
    }
    return found + [(kind, f"{words} {listed(items)}.") for kind, (words, items) in groups.items() if items]


def _kbps(results: Results, system: SystemInfo) -> float:
    return float(summary_of(results, system).get("kbps") or math.nan)


def _distance(results: Results, one: SystemComparison) -> float:
    ratio = _kbps(results, one.a) / _kbps(results, one.b)
    return abs(math.log(ratio)) if ratio > 0.0 else math.inf


def _by(one: SystemComparison) -> str:
    metric = METRICS[one.metric]
    value = score(metric, one.test.difference)
    return f"{metric.heading} ({'' if (one.test.difference or 0.0) < 0.0 else '+'}{value})"


def signed(percent: float) -> str:
    """``+12 %``; above a doubling with the factor people can picture."""
    return f"{percent:+.0f} %".replace("-", "\N{MINUS SIGN}")


def listed(items: list[str]) -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def count(number: int, noun: str) -> str:
    """``1 recording``, ``2 recordings``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
