"""A progress bar on a terminal, nothing in a pipe; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Update = Callable[[float, "float | None"], None]


@contextlib.contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Update]:
    """Give a function to call with (seconds of audio done, seconds in all or None where unknown)."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done_s, _total_s: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(title, total=None, speed="")
        start = time.monotonic()

        def update(done_s: float, total_s: float | None) -> None:
            speed = done_s / max(time.monotonic() - start, 1e-6)
            bar.update(task, completed=done_s, total=total_s, speed=f"{speed:.1f}x real time")

        yield update


@contextlib.contextmanager
def count_bar(title: str, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Give a function to call with (things done, things in all, name of the one just done)."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total, _name: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total, name: bar.update(task, completed=done, total=total, description=f"{title} {name}")
