"""A drawing of costs along several axes: small charts in one SVG file, logarithmic both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from audiocodec.evaluate.report.scales import Scale, log_ticks, padded

WIDTH, HEIGHT = 360, 270  # of one chart
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 42
COLUMNS = 2
_STYLE = """
text { font: 11px sans-serif; fill: #333 } .title { font-weight: bold; font-size: 12px }
.grid { stroke: #e4e4e4 } .line { stroke: #1f5fa8; fill: none; stroke-width: 1.5 } .point { fill: #1f5fa8 }
.other { fill: #c2571a } .knee { stroke: #c2571a; stroke-dasharray: 4 3 } .box { stroke: #888; fill: none }
"""


@dataclass(frozen=True)
class Chart:
    """``points``: x and y, above 0, joined by a line; ``others``: points beside it, numbered, their names below left;
    ``knee``: an x to mark."""

    title: str
    x_label: str
    y_label: str
    points: Sequence[tuple[float, float]]
    others: dict[str, tuple[float, float]] = field(default_factory=dict)
    knee: float | None = None


def svg(charts: Sequence[Chart]) -> str:
    """All charts, two in a row."""
    return page([_chart(chart) for chart in charts], _STYLE)


def page(charts: Sequence[str], style: str, foot: str = "", foot_height: int = 0) -> str:
    """Charts that are drawn, each of WIDTH and HEIGHT, two in a row, and what stands below them all."""
    rows = -(-len(charts) // COLUMNS)
    drawn = [
        f'<g transform="translate({index % COLUMNS * WIDTH} {index // COLUMNS * HEIGHT})">{chart}</g>'
        for index, chart in enumerate(charts)
    ]
    if foot:
        drawn.append(f'<g transform="translate(0 {rows * HEIGHT})">{foot}</g>')
    width, height = COLUMNS * WIDTH, rows * HEIGHT + foot_height
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    background = '<rect width="100%" height="100%" fill="#fff"/>'
    body = "\n".join(drawn)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{background}\n{body}\n</svg>\n'


def _chart(chart: Chart) -> str:
    every = [*chart.points, *chart.others.values()]
    x_ends = padded([x for x, _ in every], 0.05, log=True)
    y_ends = padded([y for _, y in every], 0.08, log=True)
    x = Scale(*x_ends, LEFT, WIDTH - RIGHT, log=True)
    y = Scale(*y_ends, HEIGHT - BOTTOM, TOP, log=True)
    parts = [f'<text class="title" x="{LEFT}" y="18">{escape(chart.title)}</text>']
    for value, label in log_ticks(*x_ends):
        parts.append(f'<path class="grid" d="M{x(value)} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x(value)}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{label}</text>')
    for value, label in log_ticks(*y_ends):
        parts.append(f'<path class="grid" d="M{LEFT} {y(value)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4}" text-anchor="end">{label}</text>')
    box = f'width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
    parts.append(f'<rect class="box" x="{LEFT}" y="{TOP}" {box}/>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{escape(chart.x_label)}</text>')
    across = f'transform="translate(13 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {across}>{escape(chart.y_label)}</text>")
    if chart.knee is not None and x_ends[0] < chart.knee < x_ends[1]:
        parts.append(f'<path class="knee" d="M{x(chart.knee)} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x(chart.knee) + 4}" y="{TOP + 12}">{chart.knee:.3g}</text>')
    parts.append(f'<path class="line" d="M{" L".join(f"{x(a)} {y(b)}" for a, b in chart.points)}"/>')
    parts += [f'<circle class="point" cx="{x(a)}" cy="{y(b)}" r="3"/>' for a, b in chart.points]
    for number, (name, (a, b)) in enumerate(chart.others.items(), 1):
        parts.append(f'<circle class="other" cx="{x(a)}" cy="{y(b)}" r="3"/>')
        parts.append(f'<text x="{x(a) + 5}" y="{y(b) + (4 if number % 2 else -4)}">{number}</text>')
        line = HEIGHT - BOTTOM - 8 - 13 * (len(chart.others) - number)  # a legend, for names would cover each other
        parts.append(f'<text x="{LEFT + 6}" y="{line}">{number} {escape(name)}</text>')
    return "".join(parts)
