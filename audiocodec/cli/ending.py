"""Signals that end a recording instead of the program: what was encoded so far is finished, and then it goes."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any

from audiocodec.ending import Ending

# `timeout` sends its signal to the program, and at once to the program's group again: that is one wish to end, not two.
ONE_WISH_S = 0.5


@contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Let the first SIGINT, SIGTERM or SIGHUP end a stream that is live, and a later one the program.

    Of what is not live, and where signals are somebody else's (in other threads and processes, at several files),
    they end the program as ever.
    """
    with closing(Ending()) as ending:
        before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        first_s = 0.0

        def handle(number: int, frame: FrameType | None) -> None:
            nonlocal first_s
            if ending.live and not ending.asked:
                first_s = time.monotonic()
                ending.ask(number)
            elif not ending.live or time.monotonic() - first_s > ONE_WISH_S:
                before[number](number, frame)

        try:
            if not _in_worker() and threading.current_thread() is threading.main_thread():
                for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                    number = getattr(signal, name, None)
                    # One that is ignored (nohup) stays so, and one that nobody unwinds by too
                    if number is not None and callable(found := signal.getsignal(number)):
                        before[number] = found
                        signal.signal(number, handle)
            yield ending
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _in_worker() -> bool:
    """Whether this is one of several processes at several files: whoever started them answers to signals."""
    started = sys.modules.get("multiprocessing.process")  # which it has; to import it would take 20 ms
    return started is not None and started.parent_process() is not None
