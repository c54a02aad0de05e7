"""States of streams that were computed together: rows of one batch's arrays, shared while most of them are in use.

To copy every stream's rows out of every batch took a tenth of the time that a frame takes among many. To share them
without end, a stream that is paused would keep the states of all that were in its last batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_FEWEST = 4
"""Where less than one in so many rows is in use, these are copied and the batch is let go."""


class Rows:
    """One stream's part of a batch; never changed but for where its values lie."""

    __slots__ = ("__weakref__", "_batch", "_held")

    def __init__(self, batch: _Batch, span: slice) -> None:
        self._batch = batch
        self._held: tuple[Arrays, slice | None] = (batch.state, span)  # one attribute, so that any thread sees a pair

    def values(self) -> Arrays:
        """The rows of every array."""
        state, span = self._held
        return state if span is None else {name: rows[span] for name, rows in state.items()}

    def own(self) -> None:
        """Hold copies from now on."""
        state, span = self._held
        if span is not None:
            self._held = {name: rows[span].copy() for name, rows in state.items()}, None

    def __del__(self) -> None:
        self._batch.left()


class _Batch:
    """The arrays after a batch, and who still uses them."""

    def __init__(self, state: Arrays, spans: Sequence[slice]) -> None:
        self.state: Arrays = state
        self.parts = [Rows(self, span) for span in spans]
        self._users = [weakref.ref(rows) for rows in self.parts]
        self._used = len(spans)

    def left(self) -> None:
        """One more has gone. Streams are in many threads, and a count that is off by some does no harm."""
        self._used -= 1
        if self._users and self._used * _FEWEST < len(self._users):
            users, self._users = self._users, []
            for user in users:
                if (rows := user()) is not None:
                    rows.own()
            self.state = {}


State = Arrays | Rows


def part(state: State, sizes: Sequence[int]) -> list[Rows]:
    """The state of a batch as those of so many rows each."""
    ends = accumulate(sizes)
    batch = _Batch(arrays(state), [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)])
    parts, batch.parts = batch.parts, []
    return parts


def join(states: Sequence[State]) -> Arrays:
    """States of several streams as that of one batch."""
    each = [arrays(state) for state in states]
    return {name: np.concatenate([state[name] for state in each]) for name in each[0]}


def arrays(state: State) -> Arrays:
    """A state's arrays, wherever they lie."""
    return state.values() if isinstance(state, Rows) else state
