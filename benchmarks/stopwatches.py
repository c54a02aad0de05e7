"""Where the time of a program goes: stopwatches around its calls, each counting what is its own alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

_END = object()


class Stopwatches:
    """Seconds by label. A call inside another one stops the outer one's watch, so that the labels add up.

    Args:
        clock: what is read; CPU seconds of this process by default.
        settle: called before each reading, where work goes on behind a call's back (a GPU's queue).
    """

    def __init__(self, clock: Callable[[], float] = time.process_time, settle: Callable[[], object] | None = None):
        self.seconds: dict[str, float] = {}
        self._clock, self._settle = clock, settle
        self._inner: list[float] = []

    def now(self) -> float:
        """The clock, once nothing is under way."""
        if self._settle is not None:
            self._settle()
        return self._clock()

    def call(self, label: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call ``function`` and count its time, less that of calls inside that are counted themselves."""
        start = self.now()
        self._inner.append(0.0)
        try:
            return function(*arguments, **named)
        finally:
            took = self.now() - start
            self.seconds[label] = self.seconds.get(label, 0.0) + took - self._inner.pop()
            if self._inner:
                self._inner[-1] += took

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, counted."""

        def counted(*arguments: Any, **named: Any) -> Any:
            return self.call(label, function, *arguments, **named)

        return counted

    def wrap_iterator(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that returns an iterator, of which every step is counted and what its user does is not."""

        def counted(*arguments: Any) -> Iterator[Any]:
            items = iter(function(*arguments))
            while (item := self.call(label, next, items, _END)) is not _END:
                yield item

        return counted

    def patched(self, owner: Any, name: str, label: str) -> AbstractContextManager[Any]:
        """Within, the function ``name`` of a class, module or object is counted."""
        return mock.patch.object(owner, name, self.wrap(label, getattr(owner, name)))

    def patched_iterator(self, owner: Any, name: str, label: str) -> AbstractContextManager[Any]:
        """The same for a function that returns an iterator."""
        return mock.patch.object(owner, name, self.wrap_iterator(label, getattr(owner, name)))

    def take(self) -> dict[str, float]:
        """What was counted; the watches go back to zero."""
        counted, self.seconds = self.seconds, {}
        return counted
