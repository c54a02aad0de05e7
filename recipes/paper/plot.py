"""The plot: quality against the bitrate of written files, an SVG made of the stored runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from audiocodec.evaluate.report.scales import Scale, linear_ticks, padded
from paper.jobs import Methods
from paper.orderings import MEASURES
from paper.results import DOMAINS, Result

WIDTH, HEIGHT = 420, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 46
LEGEND = 150
# Okabe and Ito's colours, which the colour-blind tell apart; every method also has a shape of its own.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "plus", "down")


def plot(results: Sequence[Result], methods: Methods) -> str:
    """``rate_quality.svg``: a column for each domain, a row for each measure; curves join the K of a method."""
    good = [run for run in results if run.failure is None and run.method in methods.methods]
    width, height = len(DOMAINS) * WIDTH + LEGEND, len(MEASURES) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12" role="img">',
        "<title>Quality against the bitrate of written files</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for row, (measure, label) in enumerate(MEASURES.items()):
        for column, domain in enumerate(DOMAINS):
            panel = _panel(good, methods, domain, measure, f"{label}, {DOMAINS[domain]}")
            parts += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *panel, "</g>"]
    parts += [f'<g transform="translate({len(DOMAINS) * WIDTH + 10} {TOP})">', *_legend(methods), "</g>", "</svg>"]
    return "\n".join(parts) + "\n"


def _panel(good: Sequence[Result], methods: Methods, domain: str, measure: str, title: str) -> list[str]:
    points = {name: _points(good, name, domain, measure) for name in methods.methods}
    places = [point for found in points.values() for point in found]
    parts = [f'<text x="{LEFT}" y="{TOP - 12}" font-weight="bold">{escape(title)}</text>']
    if not places:
        return parts
    x_low, x_high = padded([x for x, *_ in places], 0.06)
    y_low, y_high = padded([end for _, y, spread, _ in places for end in (y - spread, y + spread)], 0.06)
    x, y = Scale(x_low, x_high, LEFT, WIDTH - RIGHT), Scale(y_low, y_high, HEIGHT - BOTTOM, TOP)
    for value, text in linear_ticks(x_low, x_high):
        parts.append(_line(x(value), TOP, x(value), HEIGHT - BOTTOM, "#ddd"))
        parts.append(f'<text x="{x(value)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{text}</text>')
    for value, text in linear_ticks(y_low, y_high):
        parts.append(_line(LEFT, y(value), WIDTH - RIGHT, y(value), "#ddd"))
        parts.append(f'<text x="{LEFT - 6}" y="{y(value) + 4}" text-anchor="end">{text}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">kbps of written files</text>')
    for number, (name, found) in enumerate(points.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{x(rate)},{y(value)}" for rate, value, *_ in found)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        for rate, value, spread, codes in found:
            parts.append(_line(x(rate), y(value - spread), x(rate), y(value + spread), colour))
            told = f"{methods.methods[name].label}, K = {codes}: {value:.3f} at {rate:.2f} kbps"
            parts.append(_marker(number, x(rate), y(value), told))
    return parts


def _points(good: Sequence[Result], name: str, domain: str, measure: str) -> list[tuple[float, float, float, int]]:
    """Rate, mean, deviation between seeds, K; by K."""
    found = []
    for codes in sorted({run.codes for run in good}):
        runs = [run for run in good if (run.method, run.codes) == (name, codes)]
        values = [value for run in runs if (value := run.value(domain, measure)) is not None]
        rates = [rate for run in runs if (rate := run.value(domain, "kbps")) is not None]
        if values and rates:
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            found.append((float(np.mean(rates)), float(np.mean(values)), spread, codes))
    return found


def _legend(methods: Methods) -> list[str]:
    parts = []
    for number, method in enumerate(methods.methods.values()):
        parts.append(_marker(number, 8, 18 * number, method.label))
        parts.append(f'<text x="22" y="{18 * number + 4}">{escape(method.label)}</text>')
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"/>'


def _marker(number: int, x: float, y: float, told: str) -> str:
    colour, shape = COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)]
    paths = {
        "square": "M-4 -4H4V4H-4Z",
        "triangle": "M0 -5L5 4H-5Z",
        "diamond": "M0 -5.5L5 0L0 5.5L-5 0Z",
        "cross": "M-4 -4L4 4M-4 4L4 -4",
        "plus": "M0 -5V5M-5 0H5",
        "down": "M0 5L5 -4H-5Z",
    }
    style = f'fill="{colour}" stroke="{colour}" stroke-width="1.5"'
    inner = f"<title>{escape(told)}</title>"
    if shape == "circle":
        return f'<circle cx="{x}" cy="{y}" r="4.5" {style}>{inner}</circle>'
    return f'<path transform="translate({x} {y})" d="{paths[shape]}" {style}>{inner}</path>'
