"""What a call shows while it lasts: a few lines on a terminal, nothing in a pipe; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from audiocodec.live.report import CallReport
    from audiocodec.live.session import Session

Watch = Callable[["CallReport"], None]


@contextlib.contextmanager
def watching(session: Session, quiet: bool) -> Iterator[Watch]:
    """Give a function that shows a report; what else there is to tell is printed as it comes."""
    told, begun = 0, False

    def notices(report: CallReport) -> None:
        nonlocal told, begun
        if report.peer and not begun and not terminal:
            begun = True
            print(f"speaking with {report.peer}; Ctrl-C hangs up", file=sys.stderr, flush=True)
        for notice in session.notices[told:]:
            print(f"note: {notice}", file=sys.stderr, flush=True)
        told = len(session.notices)

    terminal = sys.stderr.isatty()
    if quiet or not terminal:
        yield lambda report: None if quiet else notices(report)
        return
    from rich.console import Console
    from rich.live import Live

    rates = Rates()
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False, redirect_stdout=False) as live:

        def watch(report: CallReport) -> None:
            notices(report)
            live.update(table(report, *rates.of(report, time.monotonic())), refresh=True)

        yield watch


class Rates:
    """Kilobits a second of late, in both directions."""

    def __init__(self) -> None:
        self._before: tuple[float, int, int] | None = None
        self._rates = (0.0, 0.0)

    def of(self, report: CallReport, now: float) -> tuple[float, float]:
        """What was sent and received since about a second ago."""
        if self._before is None:
            self._before = now, report.sent_bytes, report.received_bytes
        then, sent, received = self._before
        if now - then >= 1:
            scale = 8 / 1000 / (now - then)
            self._rates = (report.sent_bytes - sent) * scale, (report.received_bytes - received) * scale
            self._before = now, report.sent_bytes, report.received_bytes
        return self._rates


def table(report: CallReport, sent_kbps: float, received_kbps: float) -> Table:
    """A report as rows."""
    from rich.table import Table

    shown = Table.grid(padding=(0, 2))
    if not report.peer:
        shown.add_row("waiting for the other side")
        return shown
    trip = "" if report.round_trip_ms is None else f"round trip {report.round_trip_ms:.0f} ms"
    shown.add_row("call", report.peer, f"{report.seconds:.0f} s", report.model, trip)
    shown.add_row(
        "sent",
        f"#{report.sequence_sent}",
        f"{report.levels_sent} levels",
        f"{sent_kbps:.2f} kbps",
        f"copies of {report.redundancy_sent}",
    )
    shown.add_row(
        "heard",
        f"#{report.sequence_received}",
        f"{report.levels_received} levels",
        f"{received_kbps:.2f} kbps",
        f"copies of {report.redundancy_received}",
    )
    shown.add_row(
        "network",
        f"lost {100 * report.loss:.1f} %",
        f"late {report.late_packets}",
        f"twice {report.duplicate_packets}",
        f"jitter {report.jitter_ms:.0f} ms",
    )
    shown.add_row(
        "playing",
        f"buffer {report.delay_ms:.0f} of {report.wanted_delay_ms:.0f} ms",
        f"recovered {report.recovered_frames}",
        f"concealed {report.concealed_frames}",
        f"hostile {report.hostile_datagrams}",
    )
    return shown
