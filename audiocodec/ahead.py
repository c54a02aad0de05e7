"""An iterator that a thread runs ahead of its consumer: what one reads and the other computes then overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TypeVar

from audiocodec.cores import usable_cores

T = TypeVar("T")
DEPTH = 4  # items that wait: enough to bridge the slower moments of either side, and memory stays flat


@contextmanager
def ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[Iterator[T]]:
    """Give the same items in the same order, up to ``depth`` of them made before they are asked for.

    What ``items`` raises is raised in the consumer, at the place in the order where it happened. Leaving the ``with``
    block, in whatever way, ends the thread once the item that it is at is made: nothing may wait there for ever, so
    a pipe must not be read ahead. With a depth of 0, or on a single core, where nothing can overlap, there is no
    thread.
    """
    if depth < 1 or usable_cores() < 2:
        yield iter(items)
        return
    queue: Queue[T | _End] = Queue(depth)
    left = threading.Event()
    thread = threading.Thread(target=_make, args=(items, queue, left), name="ahead", daemon=True)
    thread.start()
    try:
        yield _taken(queue)
    finally:
        left.set()
        _empty(queue)  # the maker, who may wait for a place, puts one item more at most before it sees the mark
        thread.join()


class _End:
    """The last of the queue: ``error`` is what the items ended by, None if they were all there."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def _make(items: Iterable[T], queue: Queue[T | _End], left: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            queue.put(item)
            if left.is_set():
                return
    except BaseException as raised:
        error = raised
    if not left.is_set():
        queue.put(_End(error))


def _taken(queue: Queue[T | _End]) -> Iterator[T]:
    while not isinstance(got := queue.get(), _End):
        yield got
    if got.error is not None:
        raise got.error


def _empty(queue: Queue[T | _End]) -> None:
    try:
        while True:
            queue.get_nowait()
    except Empty:
        pass
