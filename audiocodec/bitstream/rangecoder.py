"""An integer range coder: 32-bit state, 16-bit frequencies, carries resolved in the output bytes.

The construction is the carry-propagating range coder of G. N. N. Martin (1979) as used by LZMA, with two changes: the
first byte is not a constant zero, and the end of the code is the shortest byte string inside the final interval, so a
packet pays less than a byte over its information content. Everything is integer arithmetic, hence the same everywhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol

from audiocodec.bitstream import native
from audiocodec.bitstream.history import Ints
from audiocodec.errors import BitstreamError

PRECISION = 16
TOTAL = 1 << PRECISION
_TOP = 1 << 24
_MASK = (1 << 32) - 1
OUTSIDE = "the range coder's state lies outside its interval"  # what an error says of bytes that are no code


class Cumulative(Protocol):
    """A cumulative table, ``[levels + 1]`` integers from 0 to 65536, strictly rising: a list, or what acts like one."""

    def __len__(self) -> int: ...

    def __getitem__(self, level: int, /) -> int: ...


def encode_intervals(intervals: Ints) -> bytes:
    """Code symbols given as pairs ``[symbols, 2]`` of cumulative frequency and frequency, of 65536 and at least 1."""
    if native.extension is not None:
        code: bytes = native.extension.encode_intervals(intervals)
        return code
    return encode_pairs(intervals.tolist())


def encode_pairs(intervals: Iterable[tuple[int, int]]) -> bytes:
    """The same in Python."""
    low, span = 0, _MASK
    out = bytearray()
    append = out.append
    for start, size in intervals:
        step = span >> PRECISION
        low += step * start
        span = step * size
        if low > _MASK:
            low &= _MASK
            _carry(out)
        while span < _TOP:
            append(low >> 24)
            low = (low << 8) & _MASK
            span <<= 8
    return _finish(out, low, span)


def _carry(out: bytearray) -> None:
    position = len(out) - 1
    while out[position] == 255:
        out[position] = 0
        position -= 1
    out[position] += 1


def _finish(out: bytearray, low: int, span: int) -> bytes:
    # The decoder reads zeros past the end, so any number in [low, low + span) with many trailing zeros ends the code.
    for zeros in (32, 24, 16, 8):
        value = (low + (1 << zeros) - 1) >> zeros << zeros
        if value < low + span:
            break
    else:
        value = low
    if value > _MASK:
        _carry(out)
    out += (value & _MASK).to_bytes(4, "big")
    return bytes(out.rstrip(b"\0"))


class RangeDecoder:
    """Reads symbols back from one packet's payload, zeros being read past its end."""

    __slots__ = ("_code", "_data", "_next", "_span")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self._span = _MASK
        self._next = 4

    def symbol(self, cumulative: Cumulative) -> int:
        """Decode one symbol by its cumulative table, of which about ``log2(levels) + 2`` integers are looked at."""
        step = self._span >> PRECISION
        code = self._code
        target = code // step
        # Division leaves up to 65535 values of the state above the last interval: no encoder produces them.
        if target >= TOTAL:
            raise BitstreamError(OUTSIDE)
        found = bisect_right(cumulative, target) - 1
        start = cumulative[found]
        code -= step * start
        span = step * (cumulative[found + 1] - start)
        while span < _TOP:
            position = self._next
            code = code << 8 | (self._data[position] if position < len(self._data) else 0)
            self._next = position + 1
            span <<= 8
        self._code, self._span = code, span
        return found

    @property
    def state(self) -> tuple[bytes, int, int, int]:
        """All there is of it, for a decoder that goes on in C: payload, code, span, and how many bytes were read."""
        return self._data, self._code, self._span, self._next

    def resume(self, code: int, span: int, position: int) -> None:
        """Go on from where another decoder got to in the same payload."""
        self._code, self._span, self._next = code, span, position

    def finish(self) -> None:
        """Check that the code was used up: an encoder leaves no unread bytes and no trailing zero byte."""
        if self._next < len(self._data) or self._data[-1:] == b"\0":
            raise BitstreamError("bytes left over after the last symbol of a packet")
