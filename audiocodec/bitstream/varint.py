"""Variable-length integers (little-endian base 128, as in Protocol Buffers) and their one accepted spelling."""

from __future__ import annotations

MAX_BYTES = 9
MAX_VALUE = (1 << 7 * MAX_BYTES) - 1


class Incomplete(Exception):  # noqa: N818 - a request for more bytes, not an error
    """The bytes end inside a value: more may complete it."""


class Malformed(Exception):  # noqa: N818 - turned into BitstreamError, or into a search for the next packet
    """These bytes are no valid value, whatever follows; the message says why."""


def pack_varint(value: int) -> bytes:
    """Seven bits a byte, least significant first, the top bit set on all but the last byte."""
    if not 0 <= value <= MAX_VALUE:
        raise ValueError(f"{value} does not fit a varint of {MAX_BYTES} bytes")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes | bytearray, position: int, end: int | None = None) -> tuple[int, int]:
    """The value at ``position`` and the position behind it.

    Raises Incomplete at ``end`` (default: of the data), and Malformed for more than nine bytes or a needless last zero.
    """
    end = len(data) if end is None else min(end, len(data))
    if position < end and data[position] < 128:  # as most are
        return data[position], position + 1
    value = 0
    for shift in range(0, 7 * MAX_BYTES, 7):
        if position >= end:
            raise Incomplete
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if byte == 0 and shift:
                raise Malformed("an integer is written longer than it needs")
            return value, position
    raise Malformed("an integer has more than nine bytes")
