"""The record of a run: a JSONL file always, TensorBoard where it is installed, and lines for whoever watches."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Progress:
    """Where a run stands. ``kind`` is "note", "train" (averages since the last one) or "validation"."""

    kind: str
    step: int
    elapsed_s: float
    fraction: float
    values: dict[str, float] = field(default_factory=dict)
    message: str = ""

    def line(self) -> str:
        """The same in one line of plain text."""
        numbers = "  ".join(f"{key} {_short(value)}" for key, value in self.values.items() if "loss@" not in key)
        body = "  ".join(part for part in (self.message, numbers) if part)
        return f"{self.kind:<10} step {self.step}  {self.elapsed_s / 60:.1f} min  {100 * self.fraction:.1f} %  {body}"


OnProgress = Callable[[Progress], None]


class Journal:
    """Writes each :class:`Progress` to ``log.jsonl`` and TensorBoard, and hands it to the watcher.

    A resumed run appends: the steps that a killed one made after its last checkpoint then appear twice, the later
    entry being the true one.
    """

    def __init__(self, folder: Path, sample_rate: int, watcher: OnProgress, resume: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "log.jsonl"
        self._file = open(path, "a" if resume else "w", encoding="utf-8")  # noqa: SIM115 - closed in close()
        self._watcher = watcher
        self._sample_rate = sample_rate
        self._board = _tensorboard(folder / "tensorboard")

    @property
    def has_board(self) -> bool:
        """Whether TensorBoard is installed."""
        return self._board is not None

    def report(self, progress: Progress) -> None:
        """Record and show ``progress``."""
        record = {"kind": progress.kind, "step": progress.step, "elapsed_s": round(progress.elapsed_s, 3)}
        values = {k: v if math.isfinite(v) else None for k, v in progress.values.items()}
        message = {"message": progress.message} if progress.message else {}
        self._file.write(json.dumps({**record, **message, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for key, value in progress.values.items():
                self._board.add_scalar(f"{progress.kind}/{key}", value, progress.step)
        self._watcher(progress)

    def audio(self, name: str, samples: npt.NDArray[np.float32], step: int) -> None:
        """Add one excerpt, samples: [n], to TensorBoard."""
        if self._board is not None:
            heard = np.clip(np.nan_to_num(samples), -1.0, 1.0)
            self._board.add_audio(name, heard[None], step, sample_rate=self._sample_rate)

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class NoJournal(Journal):
    """One that keeps and shows nothing, for all but one of the processes that train together."""

    has_board = True  # none is missing

    def __init__(self) -> None:
        """Opens no file."""

    def report(self, progress: Progress) -> None:
        """Nothing."""

    def audio(self, name: str, samples: npt.NDArray[np.float32], step: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@contextmanager
def terminal_watcher() -> Iterator[OnProgress]:
    """A watcher that keeps a bar at the bottom of a terminal, and prints plain lines into a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda progress: print(progress.line(), flush=True)
        return
    done = TextColumn("{task.percentage:.0f} %")
    columns = (TextColumn("{task.description}"), BarColumn(), done, TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("training", total=1.0)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.fraction, description=f"step {progress.step}")
            bar.console.print(progress.line(), highlight=False, markup=False, soft_wrap=True)

        yield show


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1e-2 else f"{value:.3f}"
