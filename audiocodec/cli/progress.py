"""A progress bar on a terminal, nothing in a pipe; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

Update = Callable[[float, "float | None"], None]


@contextlib.contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Update]:
    """Give a function to call with (seconds of audio done, seconds in all or None where unknown)."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done_s, _total_s: None
        return
    with _bar_with_speed() as bar:
        task = bar.add_task(title, total=None, speed="")
        start = time.monotonic()

        def update(done_s: float, total_s: float | None) -> None:
            speed = done_s / max(time.monotonic() - start, 1e-6)
            bar.update(task, completed=done_s, total=total_s, speed=f"{speed:.1f}x real time")

        yield update


def _bar_with_speed() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)


class Overall:
    """One bar for files that are worked at side by side: each counts by its size, which costs no opening of it."""

    def __init__(self, sizes: Sequence[float], bar: Progress | None) -> None:
        self._sizes, self._bar = sizes, bar
        self._parts, self._seconds = [0.0] * len(sizes), [0.0] * len(sizes)
        self._files_done = 0
        self._start = time.monotonic()
        self._task = None if bar is None else bar.add_task(self._title(), total=sum(sizes), speed="")

    def update(self, number: int, done_s: float, total_s: float | None) -> None:
        """Seconds of audio done of a file, and in all where that is known."""
        self._seconds[number] = done_s
        if total_s:
            self._parts[number] = min(done_s / total_s, 1.0)
        self._show()

    def finish(self, number: int) -> None:
        """A file is done, well or not."""
        self._parts[number] = 1.0
        self._files_done += 1
        self._show()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away for as long as something is printed: both may go to one terminal."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def _title(self) -> str:
        return f"{self._files_done}/{len(self._sizes)} files"

    def _show(self) -> None:
        if self._bar is None or self._task is None:
            return
        done = sum(size * part for size, part in zip(self._sizes, self._parts, strict=True))
        speed = sum(self._seconds) / max(time.monotonic() - self._start, 1e-6)
        title = self._title()
        self._bar.update(self._task, description=title, completed=done, speed=f"{speed:.0f}x real time")


@contextlib.contextmanager
def overall_bar(sizes: Sequence[float], quiet: bool) -> Iterator[Overall]:
    """One bar for files of these sizes."""
    if quiet or not sys.stderr.isatty():
        yield Overall(sizes, None)
        return
    with _bar_with_speed() as bar:
        yield Overall(sizes, bar)


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
