"""Recordings spread over processes, each computing on one thread: several would fight for the same cores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from audiocodec import processes
from audiocodec.errors import AudiocodecError
from audiocodec.runtime.choose import installed

Job = TypeVar("Job")
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def spread(
    function: Callable[[Job, Task], Outcome], job: Job, tasks: Sequence[Task], workers: int
) -> Generator[Outcome, None, None]:
    """``function(job, task)`` of each task, in the order in which they are done; in this process with one worker.

    Closing it early stops the workers within what they are at.

    Raises:
        AudiocodecError: a worker was killed from outside.
    """
    if workers <= 1 or len(tasks) == 1:
        yield from (function(job, task) for task in tasks)
        return
    # Bound to the job: networks are sent to a process once, not with every recording.
    make = partial(_on_one_thread, function, job)
    with closing(processes.spread(make, tasks, workers, ordered=False)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome.error, processes.DiedError):
                raise AudiocodecError(
                    "a worker process was killed, perhaps for want of memory; go on with fewer workers and --resume"
                )
            if outcome.error is not None:
                raise outcome.error
            if outcome.told:
                print(outcome.told, end="", file=sys.stderr, flush=True)
            yield outcome.result  # type: ignore[misc]  # there is one where there is no error


def _on_one_thread(function: Callable[[Any, Any], Any], job: Any) -> Callable[[Any, processes.Update], Any]:
    if installed("torch"):
        import torch

        torch.set_num_threads(1)
    return lambda task, _update: function(job, task)
