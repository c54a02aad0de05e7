"""A few threads for the work of all visitors, a queue with an end, and an end to work that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from audiocodec.errors import AudiocodecError

T = TypeVar("T")
LOOK_S = 0.25
"""How often it is looked whether a visitor is still there."""
_current = threading.local()


class BusyError(AudiocodecError):
    """Too many visitors at once."""


class AbandonedError(AudiocodecError):
    """Whoever asked for this work has gone: a knob was turned on, or the page was closed."""


def check_wanted() -> None:
    """To be called now and then by long work in a pool. Raises AbandonedError where nobody waits for it any more."""
    gone: threading.Event | None = getattr(_current, "gone", None)
    if gone is not None and gone.is_set():
        raise AbandonedError("nobody waits for this any more")


class Pool:
    """``workers`` jobs run at once and ``queue`` more may wait."""

    def __init__(self, workers: int, queue: int) -> None:
        self._most = workers + queue
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="demo")
        self._taken = 0
        self._lock = threading.Lock()
        self._running: set[threading.Event] = set()
        self._ended = False

    async def run(self, job: Callable[[], T], has_gone: Callable[[], Awaitable[bool]] | None = None) -> T:
        """What ``job`` returns or raises; its thread is another.

        ``has_gone`` tells whether whoever asked has left. Raises BusyError where no more may wait.
        """
        with self._lock:
            if self._taken >= self._most:
                raise BusyError("too many people are using this page just now; try again in a little while")
            self._taken += 1
            gone = threading.Event()
            self._running.add(gone)
            if self._ended:
                gone.set()
        future = self._threads.submit(_watched, job, gone)
        future.add_done_callback(partial(self._done, gone))
        answer = asyncio.wrap_future(future)
        while has_gone is not None:
            done, _ = await asyncio.wait([answer], timeout=LOOK_S)
            if done:
                break
            if await has_gone():
                gone.set()
        return await answer

    def _done(self, gone: threading.Event, _: Future[T]) -> None:
        with self._lock:
            self._taken -= 1
            self._running.discard(gone)

    def end(self) -> None:
        """Give up what runs and what comes: the server ends, and nobody will hear of it. Waits for nothing."""
        with self._lock:
            self._ended = True
            for gone in self._running:
                gone.set()

    def close(self) -> None:
        """Start nothing more; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _watched(job: Callable[[], T], gone: threading.Event) -> T:
    _current.gone = gone
    try:
        check_wanted()
        return job()
    finally:
        _current.gone = None
