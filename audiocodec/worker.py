"""The inside of a process that works at tasks for its parent: see :mod:`audiocodec.processes`."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

STEP_S = 0.1  # between two words of progress: more often, they would cost time and nobody could read them


@dataclass(frozen=True)
class Step:
    """Progress of the task, in seconds of audio; the total is None where it is not known."""

    done_s: float
    total_s: float | None


@dataclass(frozen=True)
class Finished:
    """The task's result, and what was written to standard error meanwhile."""

    result: Any
    told: str


@dataclass(frozen=True)
class Failed:
    """What the task failed by; ``trace`` is its traceback."""

    error: BaseException
    told: str
    trace: str


@dataclass(frozen=True)
class Refused:
    """What kept the process from beginning."""

    error: BaseException


class _End(BaseException):
    """Raised in the midst of a task, so that every ``with`` removes its unfinished output."""


_busy = _ending = False


def serve(make: Callable[[], Callable[[Any, Any], Any]], parent: Connection) -> None:
    """Work at tasks until the parent has none, or is no more."""
    global _busy
    _take_signals()
    threading.Thread(target=_watch, daemon=True).start()
    try:
        try:
            work = make()
        except Exception as error:
            parent.send(Refused(_sendable(error)))
            return
        while True:
            task = parent.recv()
            _busy = True
            message = _do(work, task, parent)
            _busy = False
            parent.send(message)
    except (EOFError, OSError, _End):
        os._exit(0)  # at once: taking down an interpreter with its libraries costs a quarter of a second


def _do(work: Callable[[Any, Any], Any], task: Any, parent: Connection) -> Finished | Failed:
    last = time.monotonic()

    def update(done_s: float, total_s: float | None) -> None:
        global _ending
        nonlocal last
        if time.monotonic() - last < STEP_S:
            return
        last = time.monotonic()
        try:
            parent.send(Step(done_s, total_s))
        except OSError:  # the parent is no more; no error of the task, which would be caught in it
            _ending = True  # SIGTERM follows, and is not to break into the unwinding
            raise _End from None

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            result = work(task, update)
    except Exception as error:
        return Failed(_sendable(error), told.getvalue(), traceback.format_exc())
    return Finished(result, told.getvalue())


def _sendable(error: Exception) -> Exception:
    try:
        return error if isinstance(pickle.loads(pickle.dumps(error)), type(error)) else RuntimeError(repr(error))
    except Exception:  # some cannot be pickled, and some only one way
        return RuntimeError(repr(error))


def _take_signals() -> None:
    """Ctrl-C is the parent's to answer; what else ends a program unwinds the task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    if os.name == "posix":  # the parent held them back until there was someone to take them
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def _watch() -> None:
    """End as SIGTERM would when the parent is no more: a task that tells of no progress would not see it for long."""
    parent, main = parent_process(), threading.main_thread()
    assert parent is not None
    assert main.ident is not None
    wait([parent.sentinel])
    if os.name == "posix":  # to the thread that works: what it waits for would go on, were the signal this one's
        signal.pthread_kill(main.ident, signal.SIGTERM)
    else:
        os._exit(1)


def _end(_number: int, _frame: FrameType | None) -> None:
    global _ending
    if _ending:  # once is enough, and twice would break into the unwinding
        return
    _ending = True
    if not _busy:
        os._exit(0)
    raise _End
