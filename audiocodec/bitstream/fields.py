"""Fields of the header that hold several numbers: runs of level counts, and records (SPEC.md, section 3)."""

from __future__ import annotations

from audiocodec.bitstream.varint import Incomplete, Malformed, pack_varint, read_varint

MAX_GROUPS = 256


def pack_levels(levels: tuple[int, ...]) -> bytes:
    """Level counts as runs: (count - 1) * 2 for a single group, or that plus 1 and the run's length less 2."""
    out = bytearray()
    position = 0
    while position < len(levels):
        run = 1
        while position + run < len(levels) and levels[position + run] == levels[position]:
            run += 1
        out += pack_varint((levels[position] - 1) * 2 + (run > 1))
        if run > 1:
            out += pack_varint(run - 2)
        position += run
    return bytes(out)


def read_groups(data: bytes | bytearray, position: int, end: int) -> tuple[int, int]:
    """The number of groups, and where it ends. Raises Malformed when there are too many."""
    groups, position = read_varint(data, position, end)
    if groups > MAX_GROUPS:
        raise Malformed(f"{groups} groups are more than {MAX_GROUPS}")
    return groups, position


def read_levels(data: bytes | bytearray, position: int, end: int, groups: int) -> tuple[tuple[int, ...], int]:
    """Undo :func:`pack_levels` for so many groups: the counts, and where they end. Raises Malformed."""
    levels: list[int] = []
    while len(levels) < groups:
        coded, position = read_varint(data, position, end)
        run = 1
        if coded & 1:
            extra, position = read_varint(data, position, end)
            run = extra + 2
        if len(levels) + run > groups:
            raise Malformed("a run of levels goes beyond the last group")
        if levels and levels[-1] == coded // 2 + 1:
            raise Malformed("a run of levels is cut in two")
        levels += [coded // 2 + 1] * run
    return tuple(levels), position


def read_records(data: bytes | bytearray, position: int, end: int) -> tuple[tuple[int, bytes], ...]:
    """(tag, bytes) pairs up to ``end``. Raises Incomplete when one goes beyond it."""
    records = []
    while position < end:
        tag, position = read_varint(data, position, end)
        size, position = read_varint(data, position, end)
        if position + size > end:
            raise Incomplete
        records.append((tag, bytes(data[position : position + size])))
        position += size
    return tuple(records)
