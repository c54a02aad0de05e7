"""States of streams that were computed together: rows of one batch's arrays, shared while most of them are in use.

To copy every stream's rows out of every batch, and into the next, took a sixth of the time that a frame takes among
many. So what follows one another in a batch, and does so again in the next, is taken as it lies. To share rows without
end, a stream that is paused would keep the states of all that were in its last batch.
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
"""Where less than one in so many streams of a batch has not gone on, its rows are copied and the batch is let go."""


class Rows:
    """One stream's part of a batch; never changed but for where its values lie."""

    __slots__ = ("__weakref__", "_batch", "_gone", "_held")

    def __init__(self, batch: _Batch, state: Arrays, first: int, end: int) -> None:
        self._batch = batch
        self._held = state, first, end  # one attribute, so that any thread sees all of it
        self._gone = False

    @property
    def held(self) -> tuple[Arrays, int, int]:
        """Arrays, and which of their rows: from the first up to the end."""
        return self._held

    def own(self) -> None:
        """Hold copies from now on."""
        state, first, end = self._held
        self._held = {name: rows[first:end].copy() for name, rows in state.items()}, 0, end - first

    def go_on(self) -> _Batch:
        """The stream is about to have another state: its rows are none that the batch must be kept for."""
        if not self._gone:
            self._gone = True
            self._batch.used -= 1
        return self._batch

    @property
    def waits(self) -> bool:
        """Whether the stream has not gone on."""
        return not self._gone

    def __del__(self) -> None:
        if not self._gone:  # a stream that has ended, or was computed by itself
            self.go_on().thin_out()


class _Batch:
    """Who still uses the arrays after a batch. Streams are in many threads; a count off by some does no harm."""

    def __init__(self, state: Arrays, sizes: Sequence[int]) -> None:
        spans = zip(accumulate(sizes), sizes, strict=True)
        self.parts = [Rows(self, state, end - size, end) for end, size in spans]
        self._users = [weakref.ref(rows) for rows in self.parts]
        self.used = len(sizes)

    def thin_out(self) -> None:
        """Let go of the arrays if few streams still need them."""
        if self.used * _FEWEST < len(self._users):
            users, self._users = self._users, []
            for user in users:
                if (rows := user()) is not None and rows.waits:
                    rows.own()


class Joined:
    """Rows of several batches as those of one, which are copied together where they are read."""

    __slots__ = ("_runs",)

    def __init__(self, states: Sequence[State]) -> None:
        self._runs = _runs(states)

    def arrays(self, room: Arrays) -> Arrays:
        """The rows of every array; where they must be copied, to arrays in ``room``, until it is used again.

        New ones would come from the system, page by page and zeroed, for every batch: more than the copying.
        """
        if len(self._runs) == 1:
            return _rows(*self._runs[0])
        count = sum(end - first for _, first, end in self._runs)
        return {
            name: np.concatenate(
                [state[name][first:end] for state, first, end in self._runs], out=_place(room, name, one, count)
            )
            for name, one in self._runs[0][0].items()
        }


State = Arrays | Rows | Joined


def part(state: State, sizes: Sequence[int]) -> list[Rows]:
    """The state of a batch as those of so many rows each."""
    batch = _Batch(arrays(state, {}), sizes)
    parts, batch.parts = batch.parts, []
    return parts


def join(states: Sequence[State]) -> Joined:
    """States of several streams as that of one batch; they go on from it."""
    joined = Joined(states)
    for batch in {state.go_on() for state in states if isinstance(state, Rows)}:
        batch.thin_out()
    return joined


def arrays(state: State, room: Arrays) -> Arrays:
    """A state's arrays, wherever they lie; ``room``: see `Joined`."""
    match state:
        case Rows():
            return _rows(*state.held)
        case Joined():
            return state.arrays(room)
        case _:
            return state


Run = tuple[Arrays, int, int]
"""Arrays, and which of their rows: from the first up to the end."""


def _runs(states: Sequence[State]) -> list[Run]:
    """Where states lie; those that lie one behind the other are one run."""
    runs: list[Run] = []
    last: Arrays | None = None
    begin = stop = 0
    for state in states:
        held, first, end = _run(state)
        if held is not last or first != stop:
            if last is not None:
                runs.append((last, begin, stop))
            last, begin = held, first
        stop = end
    assert last is not None, "a batch of no states"
    return [*runs, (last, begin, stop)]


def _run(state: State) -> Run:
    if isinstance(state, Rows):
        return state.held
    whole = arrays(state, {})
    return whole, 0, _length(whole)


def _length(state: Arrays) -> int:
    return len(next(iter(state.values())))


def _rows(state: Arrays, first: int, end: int) -> Arrays:
    """Views of some rows; the arrays themselves if these are all."""
    if (first, end) == (0, _length(state)):
        return state
    return {name: rows[first:end] for name, rows in state.items()}


def _place(room: Arrays, name: str, like: NDArray[Any], count: int) -> NDArray[Any]:
    """Where ``count`` rows like those of an array may lie."""
    if name not in room or len(room[name]) < count:
        room[name] = np.empty((count, *like.shape[1:]), like.dtype)
    return room[name][:count]
