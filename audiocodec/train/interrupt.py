"""Ctrl-C and SIGTERM ask a run to stop after the step it is in; a second one stops it at once, not under torchrun."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """``signal_number`` is the signal that asked for the stop, None until then."""

    signal_number: int | None = None

    def __bool__(self) -> bool:
        return self.signal_number is not None


@contextmanager
def stop_on_signals(patient: bool = False) -> Iterator[StopRequest]:
    """Within, SIGINT and SIGTERM are noted instead of raised. Outside the main thread this does nothing.

    ``patient`` ignores all but the first: a scheduler signals every process of a job, and torchrun passes on its own.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    watched = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in watched}

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        request.signal_number = number
        for each, handler in before.items():
            signal.signal(each, signal.SIG_IGN if patient else handler)

    for number in watched:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
