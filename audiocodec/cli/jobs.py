"""Files one after the other, or side by side in processes or batches: what is shown and told, and how it ends."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Protocol, TypeVar

import typer

from audiocodec.cli.loading import Loader, Placing
from audiocodec.cli.progress import Update, overall_bar, progress_bar
from audiocodec.cores import usable_cores
from audiocodec.errors import AudiocodecError

R = TypeVar("R", covariant=True)
Job = tuple[str, str]  # input, output
_MOST_WARNINGS = 5
# A process computes a minute of speech in a fifth of a second and one of music in a second; it takes a third to start.
SECONDS_FOR_A_PROCESS = 60.0


class Work(Protocol[R]):
    """What is done to each file. It goes to other processes by pickle, and loads there what it needs."""

    @property
    def placing(self) -> Placing:
        """Where networks run."""

    def __call__(self, load: Loader | None = None) -> Callable[[Job, Update], R]:
        """Load what all files need, by ``load`` if it is given; give what does one of them."""

    def seconds(self, source: str) -> float:
        """Length of an input as its header states it; 0 where it states none or cannot be read."""


def run(jobs: list[Job], work: Work[R], tell: Callable[[R, str], int], quiet: bool, processes: int | None) -> None:
    """Do all jobs; of several, one that fails does not stop the rest. What is told keeps their order.

    ``processes``: how many work side by side; None: as many as there are cores, where the files are long enough.

    Raises:
        AudiocodecError: the only job failed.
        typer.Exit: with the exit code of the first job that failed, if one did.
    """
    if work.placing.batch > 1:
        codes = _in_batches(jobs, work, tell, quiet)
    elif (count := min(len(jobs), processes or _worthwhile(jobs, work))) > 1:
        codes = _in_processes(jobs, work, tell, quiet, count)
    else:
        codes = _one_by_one(jobs, work, tell, quiet)
    failed = [code for code in codes if code]
    if len(jobs) > 1 and failed:
        print(f"error: {len(failed)} of {len(jobs)} files failed", file=sys.stderr, flush=True)
    if failed:
        raise typer.Exit(failed[0])


def _worthwhile(jobs: Sequence[Job], work: Work[R]) -> int:
    """How many processes save more than starting them costs."""
    most = min(len(jobs), usable_cores())
    if most < 2 or work.placing.device != "cpu":
        return 1
    total_s = 0.0
    for source, _ in jobs:  # no more are opened than it takes to know
        total_s += work.seconds(source)
        if total_s >= most * SECONDS_FOR_A_PROCESS:
            return most
    return max(1, math.floor(total_s / SECONDS_FOR_A_PROCESS))


def _one_by_one(jobs: list[Job], work: Work[R], tell: Callable[[R, str], int], quiet: bool) -> list[int]:
    do, codes = work(), []
    for number, (source, target) in enumerate(jobs, 1):
        title = source if len(jobs) == 1 else f"{number}/{len(jobs)} {source}"
        try:
            with progress_bar(title, quiet) as update:
                report = do((source, target), update)
            codes.append(tell(report, target))  # once the bar is gone, which takes over both outputs
        except AudiocodecError as error:
            if len(jobs) == 1:
                raise
            codes.append(_failed(error))
    return codes


def _in_processes(jobs: list[Job], work: Work[R], tell: Callable[[R, str], int], quiet: bool, count: int) -> list[int]:
    from audiocodec.processes import DiedError, spread

    codes = []
    with overall_bar(_sizes(jobs), quiet) as bar, closing(spread(work, jobs, count, bar.update)) as outcomes:
        for number, outcome in enumerate(outcomes):
            source, target = jobs[number]
            bar.finish(number)
            with bar.aside():
                sys.stderr.write(outcome.told)
                if outcome.result is not None:
                    codes.append(tell(outcome.result, target))
                elif isinstance(outcome.error, DiedError):
                    codes.append(_failed(DiedError(f"{source}: {outcome.error}")))
                elif outcome.error is not None:
                    codes.append(_failed(outcome.error))
    return codes


def _in_batches(jobs: list[Job], work: Work[R], tell: Callable[[R, str], int], quiet: bool) -> list[int]:
    from audiocodec.batches import side_by_side

    load, codes = Loader(work.placing), []
    do = work(load)
    with overall_bar(_sizes(jobs), quiet) as bar:

        def numbered(number: int) -> R:
            return do(jobs[number], partial(bar.update, number))

        numbers = range(len(jobs))
        with closing(side_by_side(numbered, numbers, load.loaded, work.placing.batch)) as results:
            for number, result in enumerate(results):
                bar.finish(number)
                with bar.aside():
                    if isinstance(result, AudiocodecError):
                        codes.append(_failed(result))
                    else:
                        codes.append(tell(result, jobs[number][1]))
    return codes


def _sizes(jobs: Sequence[Job]) -> list[int]:
    return [os.path.getsize(source) if os.path.isfile(source) else 0 for source, _ in jobs]


def _failed(error: AudiocodecError) -> int:
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    return error.exit_code


def warn(problems: tuple[str, ...], uncounted: int = 0) -> None:
    """Name the first problems on standard error, and count the rest and those that nobody listed."""
    for problem in problems[:_MOST_WARNINGS]:
        print(f"warning: {problem}", file=sys.stderr)
    if len(problems) > _MOST_WARNINGS:
        print(f"warning: and {len(problems) - _MOST_WARNINGS + uncounted} more", file=sys.stderr)


def say(line: str, target: str, quiet: bool) -> None:
    """Report a job that is done, on standard error where standard output carries the data."""
    if not quiet:
        print(line, file=sys.stderr if target == "-" else sys.stdout, flush=True)
