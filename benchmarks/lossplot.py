"""The drawing of what loss does: each measure over the share lost, independent packets left and bursts right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from lossfindings import mean_of, row_of
from plot import BOTTOM, COLUMNS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, page

from audiocodec.evaluate.metrics import METRICS as KNOWN
from audiocodec.evaluate.report.scales import Scale, linear_ticks, padded

DRAWN = ("pesq_wb", "stoi", "plcmos")
KINDS = {"random": "independent losses", "burst": "losses in bursts"}
_COLOURS = ("#666", "#1f5fa8", "#c2571a", "#2a8a4a", "#8a3fa0")
_ROW = 18  # of the legend
_STYLE = """
text { font: 11px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 12px } .grid { stroke: #e4e4e4 }
.line { fill: none; stroke-width: 1.6 } .peer { stroke-dasharray: 5 3 } .box { stroke: #888; fill: none }
"""


@dataclass(frozen=True)
class Line:
    """One way through the network: ours drawn through with round points, Opus dashed with square ones."""

    way: str
    label: str
    colour: str
    peer: bool


def drawn(result: dict[str, Any]) -> str:
    """The SVG of ``result``, as ``loss.py`` writes it."""
    lines, rows = lines_of(result), result["rows"]
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    charts = [_chart(rows, lines, metric, kind) for metric in DRAWN for kind in kinds]
    return page(charts, _STYLE, *_legend(lines))


def lines_of(result: dict[str, Any]) -> list[Line]:
    """Ours at the default rate without copies, and Opus by itself, in grey; each pair in a colour of its own."""
    rates = {row["way"]: row["kbps"] for row in result["rows"] if not row["loss"]}

    def line(way: str, colour: str, peer: bool = False) -> Line:
        return Line(way, f"{way}: {rates[way]:.1f} kbps", colour, peer)

    found = [line(result["default"][0], _COLOURS[0])]
    for number, pair in enumerate(result["pairs"]):
        colour = _COLOURS[1 + number % (len(_COLOURS) - 1)]
        if all(pair["ours"] != other.way for other in found):
            found.append(line(pair["ours"], colour))
        found.append(line(pair["opus"], colour, peer=True))
    return [*found, *(line(way, _COLOURS[0], peer=True) for way in result["alone"])]


def _chart(rows: list[dict[str, Any]], lines: Sequence[Line], metric: str, kind: str) -> str:
    losses = [0.0, *sorted({row["loss"] for row in rows if row["kind"] == kind})]
    curves = {line: [mean_of(row_of(rows, line.way, kind, loss), metric) for loss in losses] for line in lines}
    # Both kinds of a measure have one scale: all of its values
    every = [mean_of(row, metric) for row in rows if row["way"] in {line.way for line in lines}]
    low, high = padded(every, 0.05)
    x = Scale(0.0, 100 * losses[-1], LEFT + 6, WIDTH - RIGHT - 6)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(KNOWN[metric].heading)}, {KINDS[kind]}</text>']
    for loss in losses:
        at = x(100 * loss)
        parts.append(f'<path class="grid" d="M{at} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{100 * loss:g}</text>')
    for value, label in linear_ticks(low, high):
        parts.append(f'<path class="grid" d="M{LEFT} {y(value)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4}" text-anchor="end">{label}</text>')
    box = f'width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    parts.append(f'<rect class="box" x="{LEFT}" y="{TOP}" {box}/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">packets lost, %</text>')
    for line, values in curves.items():
        parts.append(_curve(line, [(x(100 * loss), y(value)) for loss, value in zip(losses, values, strict=True)]))
    return "".join(parts)


def _curve(line: Line, points: Sequence[tuple[float, float]]) -> str:
    path = " L".join(f"{a} {b}" for a, b in points)
    kind = "line peer" if line.peer else "line"
    marks = [
        f'<rect x="{a - 2.5:.2f}" y="{b - 2.5:.2f}" width="5" height="5" fill="{line.colour}"/>'
        if line.peer
        else f'<circle cx="{a}" cy="{b}" r="3" fill="{line.colour}"/>'
        for a, b in points
    ]
    return f'<path class="{kind}" stroke="{line.colour}" d="M{path}"/>' + "".join(marks)


def _legend(lines: Sequence[Line]) -> tuple[str, int]:
    """Below the charts, and its height."""
    parts = []
    for number, line in enumerate(lines):
        left = LEFT + number % COLUMNS * WIDTH
        middle = number // COLUMNS * _ROW + 8
        parts.append(_curve(line, [(left, middle), (left + 26, middle)]))
        parts.append(f'<text x="{left + 34}" y="{middle + 4}">{escape(line.label)}</text>')
    return "".join(parts), -(-len(lines) // COLUMNS) * _ROW + 8
