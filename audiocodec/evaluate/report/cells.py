"""The report's tables as rows of cells: what is read, and what is sorted by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from audiocodec.evaluate.metrics import Metric
from audiocodec.evaluate.report.charts import Intervals
from audiocodec.evaluate.report.estimates import PairedTest
from audiocodec.evaluate.report.players import score
from audiocodec.evaluate.report.selection import ranked
from audiocodec.evaluate.report.statistics import (
    Comparisons,
    SystemComparison,
    amount,
    bd_cell,
    known_metrics,
    summary_of,
)
from audiocodec.evaluate.results import Results, Row, SystemInfo

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
MOST_ROWS = 2000  # of single recordings in a page; the rest is in files.csv


@dataclass(frozen=True)
class Cell:
    """``text``, a second line ``small``, what to sort by, class names, and words for a pointer that rests on it."""

    text: str
    small: str = ""
    sort: str = ""
    style: str = ""
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a table: what it is about, and its cells."""

    head: str
    cells: list[Cell]
    style: str = ""
    anchor: str = ""
    group: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: headings, each with words for a pointer, and lines."""

    headings: list[tuple[str, str]]
    lines: list[Line]


# Key in a summary row, heading, what it means, decimals, unit: before and after the measures.
_BEFORE = (
    ("kbps", "kbps, file", "all bytes of the file, over its duration", 2, ""),
    ("payload_kbps", "kbps, payload", "without container and headers", 2, ""),
    ("saving_percent", "below raw", "what entropy coding saves of the same file with plain packed tokens", 1, " %"),
)
_AFTER = (
    ("entropy_bits_per_frame", "bits/frame", "entropy of the tokens of a frame, each dimension by itself", 1, ""),
    ("cvu", "CVU", "codebook use: exp(entropy) / levels, 1 where all levels are used equally", 3, ""),
    ("encode_speed", "encoding", "seconds of audio a second of CPU time", 0, "\N{MULTIPLICATION SIGN}"),
    ("decode_speed", "decoding", "seconds of audio a second of CPU time", 0, "\N{MULTIPLICATION SIGN}"),
)


def number(value: Any, decimals: int, unit: str = "") -> Cell:
    """A cell of a plain number; a dash for None and for what is not finite."""
    if value is None or not math.isfinite(value):
        return Cell(DASH)
    return Cell(f"{value:.{decimals}f}{unit}".replace("-", MINUS), sort=f"{value:.9g}")


def summary_sheet(results: Results, bounds: Intervals) -> Sheet:
    """One line a system; columns that no system has anything in are left out."""

    def used(key: str) -> bool:
        return any(row.get(key) is not None for row in results.summary)

    before, after = ([column for column in columns if used(column[0])] for columns in (_BEFORE, _AFTER))
    metrics = [metric for metric in known_metrics(results) if used(metric.name)]
    headings = [("codec and setting", ""), *((heading, words) for _, heading, words, _, _ in before)]
    headings += [(f"{metric.heading} {arrow(metric)}", metric.source) for metric in metrics]
    headings += [(heading, words) for _, heading, words, _, _ in after]
    lines = []
    for system in results.systems:
        row = summary_of(results, system)
        cells = [number(row.get(key), decimals, unit) for key, _, _, decimals, unit in before]
        cells += [_mean(results, metric, system, row, bounds) for metric in metrics]
        cells += [number(row.get(key), decimals, unit) for key, _, _, decimals, unit in after]
        lines.append(Line(system.label, cells, system.role, group=system.codec))
    return Sheet(headings, lines)


def arrow(metric: Metric) -> str:
    """Which way is better."""
    return "\N{UPWARDS ARROW}" if metric.higher_is_better else "\N{DOWNWARDS ARROW}"


def _mean(results: Results, metric: Metric, system: SystemInfo, row: Row, bounds: Intervals) -> Cell:
    value = row.get(metric.name)
    if value is None or not math.isfinite(value):
        return Cell(DASH)
    interval = bounds.get(((system.codec, system.setting), metric.name))
    small = f"{score(metric, interval[0])} to {score(metric, interval[1])}" if interval else ""
    codecs_ = [summary_of(results, other).get(metric.name) for other in results.systems if other.role != "anchor"]
    values = [other for other in codecs_ if other is not None]
    best = system.role != "anchor" and value == (max if metric.higher_is_better else min)(values)
    title = f"95 % interval over {row.get('files')} recordings" if interval else "no interval: too few recordings"
    return Cell(score(metric, value), small, f"{value:.9g}", "best" if best and len(values) > 1 else "", title)


def bd_sheet(results: Results, compared: Comparisons) -> Sheet:
    """One line a pair of curves, one column a measure: rate differences with their intervals."""
    by_key = {(one.a, one.b, one.metric): one for one in compared.curves}
    pairs = list(dict.fromkeys((one.a, one.b) for one in compared.curves))
    metrics = known_metrics(results)
    lines = []
    for a, b in pairs:
        cells = []
        for metric in metrics:
            one = by_key[a, b, metric.name]
            percent = one.by_file.percent
            if percent is None:
                cells.append(Cell(DASH, one.by_file.reason, style="reason"))
                continue
            payload = one.by_payload.percent
            title = one.words + ("" if payload is None else f"; by payload alone {amount(payload)}")
            text, _, interval = bd_cell(one).partition(" (")
            small = f"{interval.rstrip(')')}" if interval else "no interval"
            if payload is not None:
                small += f"; payload {payload:+.0f} %"
            small = small.replace("-", MINUS)
            if one.left_out:
                small += f"; without {one.left_out[0] if len(one.left_out) == 1 else f'{len(one.left_out)} settings'}"
            clear = one.interval is not None and (one.interval[0] > 0.0 or one.interval[1] < 0.0)
            style = "" if not clear else "win" if percent < 0.0 else "loss"
            cells.append(Cell(text.replace("-", MINUS), small, f"{percent:.6g}", style, title))
        lines.append(Line(f"{a} against {b}", cells))
    return Sheet([("curves", ""), *((metric.heading, metric.source) for metric in metrics)], lines)


def paired_sheet(results: Results, compared: Comparisons) -> Sheet:
    """One line a pair of settings, those closest in rate first; by each measure the mean difference, and Holm's p."""
    by_key = {(one.a.label, one.b.label, one.metric): one for one in compared.systems}
    pairs = list({(one.a.label, one.b.label): (one.a, one.b) for one in compared.systems}.values())
    metrics = known_metrics(results)
    lines: list[tuple[float, Line]] = []
    for a, b in pairs:
        kbps_a, kbps_b = (summary_of(results, system).get("kbps") for system in (a, b))
        cells = [number(kbps_a / kbps_b if kbps_a and kbps_b else None, 2, "\N{MULTIPLICATION SIGN}")]
        cells += [_paired(by_key[a.label, b.label, metric.name], metric) for metric in metrics]
        ratio = abs(math.log(kbps_a / kbps_b)) if kbps_a and kbps_b else math.inf
        lines.append((ratio, Line(f"{a.label} against {b.label}", cells, group=b.codec)))
    lines.sort(key=lambda pair: pair[0])
    headings = [("pair", ""), ("rate", "our rate as a multiple of the other's, as written to files")]
    return Sheet(
        headings + [(f"{metric.heading} {arrow(metric)}", metric.source) for metric in metrics],
        [line for _, line in lines],
    )


def _paired(one: SystemComparison, metric: Metric) -> Cell:
    test: PairedTest = one.test
    if test.difference is None:
        return Cell(DASH, test.reason, style="reason")
    text = score(metric, test.difference)
    text = text if text.startswith(MINUS) else f"+{text}"
    style = "" if one.winner is None else "win" if one.winner == one.a else "loss"
    if one.p is None:
        return Cell(text, "no p", f"{test.difference:.9g}", title=test.reason)
    title = f"{test.n} recordings; p {p_value(test.p)} by itself, {p_value(one.p)} among all pairs of this measure"
    return Cell(text, f"p {p_value(one.p)}", f"{test.difference:.9g}", style, title)


def p_value(p: float | None) -> str:
    """``= 0.012``, ``< 0.001``."""
    if p is None:
        return "unknown"
    return "< 0.001" if p < 0.001 else f"= {p:.2g}" if p < 0.1 else f"= {p:.2f}"


@dataclass(frozen=True)
class Extremes:
    """The worst and the best recordings by one measure: (file, value) each."""

    metric: Metric
    worst: list[tuple[str, str]]
    best: list[tuple[str, str]]


def extremes(results: Results, system: SystemInfo | None, most: int = 3) -> list[Extremes]:
    """By each measure, at one setting; no recording is in both lists."""
    found = []
    for metric in known_metrics(results) if system else ():
        assert system is not None
        rows = [(row["file"], score(metric, row[metric.name])) for row in ranked(results, metric, system)]
        kept = min(most, len(rows) // 2)
        if kept:
            found.append(Extremes(metric, rows[:kept], rows[::-1][:kept]))
    return found


def file_sheet(results: Results) -> tuple[Sheet, int]:
    """One line a recording and system, at most MOST_ROWS, and how many there are in all."""
    metrics = known_metrics(results)
    labels = {(system.codec, system.setting): system for system in results.systems}
    order = {file: index for index, file in enumerate(results.files)}
    lines = []
    for row in results.rows[:MOST_ROWS]:
        system = labels[row["codec"], row["setting"]]
        cells = [Cell(system.label, sort=system.label)]
        cells += [number(row.get(key), decimals) for key, decimals in (("seconds", 2), ("kbps", 2), ("delay_ms", 1))]
        cells += [number(row.get(metric.name), metric.decimals) for metric in metrics]
        anchor = f"file-{order.get(row['file'], -1)}-{results.systems.index(system)}"
        lines.append(Line(row["file"], cells, system.role, anchor, system.label))
    headings = [("recording", ""), ("codec and setting", ""), ("seconds", ""), ("kbps", "as written to a file")]
    headings += [("delay ms", "found by alignment"), *((f"{one.heading} {arrow(one)}", one.source) for one in metrics)]
    return Sheet(headings, lines), len(results.rows)
