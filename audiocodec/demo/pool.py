"""A few threads for the work of all visitors, and a queue that says when it is full."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from audiocodec.errors import AudiocodecError

T = TypeVar("T")


class BusyError(AudiocodecError):
    """Too many visitors at once."""


class Pool:
    """``workers`` jobs run at once and ``queue`` more may wait."""

    def __init__(self, workers: int, queue: int) -> None:
        self._most = workers + queue
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="demo")
        self._taken = 0
        self._lock = threading.Lock()

    async def run(self, job: Callable[[], T]) -> T:
        """What ``job`` returns or raises; its thread is another. Raises BusyError where no more may wait.

        A caller that goes away takes its job with it, unless that has begun.
        """
        with self._lock:
            if self._taken >= self._most:
                raise BusyError("too many people are using this page just now; try again in a little while")
            self._taken += 1
        future = self._threads.submit(job)
        future.add_done_callback(self._done)
        return await asyncio.wrap_future(future)

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._taken -= 1

    def close(self) -> None:
        """Start nothing more; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)
