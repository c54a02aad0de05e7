"""The summary as a table, for a terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from audiocodec.evaluate.metrics import METRICS
from audiocodec.evaluate.results import Results

if TYPE_CHECKING:
    from rich.table import Table

_Columns = tuple[tuple[str, str, str], ...]  # key in a summary row, heading, format
# Before and after the measures.
_HEAD: _Columns = (
    ("codec", "codec", "{}"),
    ("setting", "setting", "{}"),
    ("kbps", "kbps, file", "{:.2f}"),
    ("payload_kbps", "kbps, payload", "{:.2f}"),
    ("saving_percent", "below raw", "{:.1f} %"),
)
_TAIL: _Columns = (
    ("entropy_bits_per_frame", "bits/frame", "{:.1f}"),
    ("cvu", "CVU", "{:.3f}"),
    ("encode_speed", "encode speed", "{:.0f}x"),
    ("decode_speed", "decode speed", "{:.0f}x"),
)


# What a terminal has room for; the rest is in table.md and in the report.
_BRIEF = ("pesq_wb", "estoi", "wer", "visqol_speech", "visqol_audio", "dnsmos", "distillmos", "speaker", "mel")
_BRIEF_COUNT = 8
_LEFT_OUT = ("payload_kbps", "saving_percent", "entropy_bits_per_frame", "cvu")


def cells(results: Results, brief: bool = False) -> tuple[list[str], list[list[str]]]:
    """Headings, and formatted cells, of the columns in which at least one row has a value; absent peers last.

    ``brief`` leaves out what a terminal has no room for.
    """
    names, head, tail = [name for name in results.metrics if name in METRICS], _HEAD, _TAIL
    if brief and len(names) > _BRIEF_COUNT:
        names = [name for name in names if name in _BRIEF]
        head, tail = (tuple(column for column in part if column[0] not in _LEFT_OUT) for part in (head, tail))
    measures = [(name, METRICS[name].heading, f"{{:.{METRICS[name].decimals}f}}") for name in names]
    columns = [column for column in (*head, *measures, *tail) if _is_used(results, column[0])]
    rows = [[_cell(row.get(key), form) for key, _, form in columns] for row in results.summary]
    rows += [[name, "absent", *[""] * (len(columns) - 2)] for name in results.absent]
    return [heading for _, heading, _ in columns], rows


def rich_table(results: Results) -> Table:
    """For a terminal."""
    from rich.table import Table
    from rich.text import Text

    count, below = len(results.files), notes(results)
    # As Text: brackets in names are no markup
    title, caption = Text(f"{results.name}: means over {count} recordings"), Text(below) if below else None
    table = Table(title=title, caption=caption)
    headings, rows = cells(results, brief=True)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown(results: Results) -> str:
    """For a document, with lines of notes below where there are any."""
    headings, rows = cells(results)
    rule = ["---", "---", *["---:"] * (len(headings) - 2)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (headings, rule, *rows)]
    below = notes(results)
    return "\n".join(lines) + "\n" + (f"\n{below}\n" if below else "")


def notes(results: Results) -> str:
    """What could not run and what was skipped, in words; empty without any."""
    lines = [f"{name} absent: {reason}" for name, reason in results.absent.items()]
    lines += [f"{_heading(name)} not measured: {reason}" for name, reason in results.unmeasured.items()]
    lines += unequal(results)
    if results.skipped:
        first, why = next(iter(results.skipped.items()))
        lines.append(f"{len(results.skipped)} skipped; {first}: {why}")
    return "\n".join(lines)


def unequal(results: Results) -> list[str]:
    """The means that are over fewer recordings than their neighbours in the table, in words: not to be compared."""
    count, lines = len(results.files), []
    for system in results.systems:
        rows = results.rows_of(system)
        if not any((row["codec"], row["setting"]) == (system.codec, system.setting) for row in results.summary):
            continue
        if len(rows) < count:
            lines.append(f"{system.label}: means over {len(rows)} of {count} recordings")
        for name in results.metrics:
            found = sum(row.get(name) is not None for row in rows)
            # Undefined for every system alike (PESQ of silence) leaves the means comparable
            if 0 < found < min(len(rows), len(_measured(results, name))):
                lines.append(f"{system.label}: {_heading(name)} over {found} of {count} recordings")
    return lines


def _measured(results: Results, name: str) -> set[str]:
    """The recordings that some system has a value for."""
    return {row["file"] for row in results.rows if row.get(name) is not None}


def _heading(name: str) -> str:
    return METRICS[name].heading if name in METRICS else name


def _is_used(results: Results, key: str) -> bool:
    return any(row.get(key) is not None for row in results.summary)


def _cell(value: Any, form: str) -> str:
    return "" if value is None else form.format(value)
