"""An iterator that a thread runs ahead of its consumer: what one reads and the other computes then overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

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
    shelf: _Shelf[T] = _Shelf(depth)
    thread = threading.Thread(target=shelf.fill, args=(items,), name="ahead", daemon=True)
    thread.start()
    try:
        yield shelf.take()
    finally:
        shelf.leave()
        thread.join()


class _End:
    """The last on a shelf: ``error`` is what the items ended by, None if they were all there."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Shelf(Generic[T]):
    """Items between two threads.

    Two of the queues that are written in C, one of items and one of free places, cost a tenth of a queue of limited
    length, which is written in Python: that took an eighth of the time of encoding.
    """

    def __init__(self, places: int) -> None:
        self._items: SimpleQueue[T | _End] = SimpleQueue()
        self._places: SimpleQueue[None] = SimpleQueue()
        self._left = False
        for _ in range(places):
            self._places.put(None)

    def fill(self, items: Iterable[T]) -> None:
        """All of the maker's thread."""
        error: BaseException | None = None
        try:
            for item in items:
                self._places.get()
                if self._left:
                    return
                self._items.put(item)
        except BaseException as raised:
            error = raised
        self._items.put(_End(error))

    def take(self) -> Iterator[T]:
        """The consumer's view."""
        while not isinstance(item := self._items.get(), _End):
            self._places.put(None)
            yield item
        if item.error is not None:
            raise item.error

    def leave(self) -> None:
        """The consumer wants no more: a maker that waits for a place goes on, and ends."""
        self._left = True
        self._places.put(None)
