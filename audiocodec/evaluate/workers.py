"""Recordings spread over processes, which end when whoever started them ends, in whatever way."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any, TypeVar

from audiocodec.errors import AudiocodecError

Job = TypeVar("Job")
Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
WATCH_S = 0.5


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
    # spawn: a forked child inherits torch's thread pool in a state that it cannot use
    context = get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(
        min(workers, len(tasks)), mp_context=context, initializer=_start, initargs=(function, job, stop)
    ) as pool:
        try:
            futures = [pool.submit(_work, task) for task in tasks]
            yield from (future.result() for future in as_completed(futures))
        except BrokenProcessPool:
            raise AudiocodecError(
                "a worker process was killed, perhaps for want of memory; go on with fewer workers and --resume"
            ) from None
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class _Stopped(BaseException):
    """Raised in a worker so that it removes its temporary files and ends the programs that it started."""


_function: Callable[[Any, Any], Any] | None = None
_job: Any = None  # networks are sent to a worker once, not with every recording
_busy = False
_stopping: Event | None = None


def _start(function: Callable[[Any, Any], Any], job: Any, stop: Event) -> None:
    """Each worker process computes on one thread: several would fight for the same cores."""
    global _function, _job, _stopping
    _stopping = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; the parent's counts
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_watch, args=(stop,), daemon=True).start()
    import torch

    torch.set_num_threads(1)
    _function, _job = function, job


def _work(task: Any) -> Any:
    global _busy
    assert _function is not None
    assert _stopping is not None
    if _stopping.is_set():  # the pool had handed it over already: cancelling does not reach it any more
        raise _Stopped
    _busy = True
    try:
        return _function(_job, task)
    finally:
        _busy = False


def _end(_signal: int, _frame: FrameType | None) -> None:
    if _busy:
        raise _Stopped
    os._exit(128 + signal.SIGTERM)


def _watch(stop: Event) -> None:
    """End this process when its parent says so, or is no more: else it would wait for work for ever."""
    parent, main = parent_process(), threading.main_thread()
    assert main.ident is not None
    while not stop.wait(WATCH_S):
        if parent is not None and not parent.is_alive():
            os._exit(1)
    if sys.platform == "win32":
        os.kill(os.getpid(), signal.SIGTERM)
    else:  # to the thread that works: what it waits for would go on, were the signal this one's
        signal.pthread_kill(main.ident, signal.SIGTERM)
