"""Which of the last packets never came, or came later than anybody waits: how many, and how many in a row."""

from __future__ import annotations

from collections.abc import Iterator

_WINDOW = 1024  # packets: twenty seconds of single frames, in which a burst may come again
_OF_LATE = 256
_LOSSY = 0.01  # share of packets missing from which waiting for copies pays
_FEW = 50  # packets, of which so small a share says nothing
_LIKELY = 2  # in a row: where packets get lost at random these will be, soon
_SETTLED = 4  # newer packets have come: what is missing now has hardly been overtaken on the way


class Missing:
    """Numbers that are missing among the last 1024; each packet is noted as it comes."""

    def __init__(self) -> None:
        self._numbers: dict[int, None] = {}  # in order
        self._first: int | None = None
        self._newest = 0

    def note(self, number: int, in_reach: bool) -> None:
        """A packet came; ``in_reach`` of the longest delay, or it is as good as lost."""
        if self._first is None:
            self._first, self._newest = number, number - 1
        start = max(self._newest + 1, number - _WINDOW)
        self._numbers.update(dict.fromkeys(range(start, number + 1)))
        self._newest = max(self._newest, number)
        if in_reach:
            self._numbers.pop(number, None)
        while self._numbers and (oldest := next(iter(self._numbers))) <= self._newest - _WINDOW:
            del self._numbers[oldest]

    @property
    def many(self) -> bool:
        """Whether more than one in a hundred has been missing of late."""
        if self._first is None:
            return False
        of = min(self._newest - self._first + 1, _OF_LATE)
        return sum(number > self._newest - _OF_LATE for number in self._settled()) > _LOSSY * max(of, _FEW)

    @property
    def burst(self) -> int:
        """So many in a row have to be expected: the longest burst but one, as a single one says nothing of others."""
        bursts, before = [0, _LIKELY], None
        for number in self._settled():
            if number - 1 == before:
                bursts[-1] += 1
            else:
                bursts.append(1)
            before = number
        return sorted(bursts)[-2]

    def _settled(self) -> Iterator[int]:
        return (number for number in self._numbers if number <= self._newest - _SETTLED)
