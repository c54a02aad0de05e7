"""Raw payloads: mixed radix without a model, packed densely into bits.

A row is one frame of one channel. Rows are gathered into groups whose product of level counts fits ``GROUP_BITS`` bits,
and each group is one integer of exactly as many bits as its largest value needs: the loss is under one bit a group,
the cost linear in the length.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream import native
from audiocodec.bitstream.history import Ints
from audiocodec.errors import BitstreamError

GROUP_BITS = 1024
_FAULTS = (  # in the order of the numbers that C gives for them
    "a raw payload has the wrong length for its frame count",
    "a raw payload holds a value beyond its level counts",
    "a raw payload ends in padding that is not zero",
)


@lru_cache(maxsize=64)
def _row_radix(levels: tuple[int, ...]) -> int:
    radix = 1
    for count in levels:
        radix *= count
    return radix


def _group_rows(radix: int) -> int:
    # Rows of one group: at least one, else as many as fit when each takes (radix - 1).bit_length() bits.
    return max(1, GROUP_BITS // max(1, (radix - 1).bit_length()))


@lru_cache(maxsize=4096)
def _bits(radix: int, rows: int) -> int:
    return int(radix ** int(rows) - 1).bit_length()


@lru_cache(maxsize=4096)
def raw_bytes(rows: int, levels: tuple[int, ...]) -> int:
    """Length of a raw payload of that many rows (frames * channels)."""
    radix = _row_radix(levels)
    group = _group_rows(radix)
    full, rest = divmod(rows, group)
    return (full * _bits(radix, group) + _bits(radix, rest) + 7) // 8


def pack_raw(indices: npt.NDArray[np.integer], levels: tuple[int, ...]) -> bytes:
    """Pack indices [frames, channels, groups], most significant symbol first.

    Raises ValueError where one is not below its level count.
    """
    if native.extension is None:
        return pack_rows(indices.reshape(-1, len(levels)).tolist(), levels)
    data: bytes = _native(levels).pack(np.ascontiguousarray(indices, np.int64))
    return data


def unpack_raw(data: bytes, frames: int, channels: int, levels: tuple[int, ...]) -> Ints:
    """Undo :func:`pack_raw`: indices [frames, channels, groups]. Raises BitstreamError on a length or value amiss."""
    if len(data) != raw_bytes(frames * channels, levels):
        raise BitstreamError(_FAULTS[0])
    if native.extension is None:
        return np.array(unpack_rows(data, frames * channels, levels), np.int64).reshape(frames, channels, len(levels))
    indices = np.empty((frames, channels, len(levels)), np.int64)
    if fault := _native(levels).unpack(data, indices):
        raise BitstreamError(_FAULTS[fault - 1])
    return indices


@lru_cache(maxsize=64)
def _native(levels: tuple[int, ...]) -> Any:
    assert native.extension is not None
    return native.extension.RawCoder(np.array(levels, np.int64))


def pack_rows(rows: list[list[int]], levels: tuple[int, ...]) -> bytes:
    """:func:`pack_raw` in Python."""
    radix = _row_radix(levels)
    group = _group_rows(radix)
    out = bytearray()
    held, held_bits = 0, 0
    for first in range(0, len(rows), group):
        value = 0
        part = rows[first : first + group]
        for row in part:
            for base, symbol in zip(levels, row, strict=True):
                if not 0 <= symbol < base:
                    raise ValueError("an index lies outside its levels")
                value = value * base + symbol
        bits = _bits(radix, len(part))
        held = held << bits | value
        whole, held_bits = divmod(held_bits + bits, 8)
        out += (held >> held_bits).to_bytes(whole, "big")
        held &= (1 << held_bits) - 1
    if held_bits:
        out.append(held << (8 - held_bits))
    return bytes(out)


def unpack_rows(data: bytes, rows: int, levels: tuple[int, ...]) -> list[int]:
    """:func:`unpack_raw` in Python, of as many bytes as there should be; symbols one after the other."""
    radix = _row_radix(levels)
    group = _group_rows(radix)
    symbols: list[int] = []
    held, held_bits, position = 0, 0, 0
    for first in range(0, rows, group):
        count = min(group, rows - first)
        bits = _bits(radix, count)
        wanted = max(0, (bits - held_bits + 7) // 8)
        held = held << 8 * wanted | int.from_bytes(data[position : position + wanted], "big")
        held_bits += 8 * wanted - bits
        position += wanted
        value, held = held >> held_bits, held & ((1 << held_bits) - 1)
        if value >= radix**count:
            raise BitstreamError(_FAULTS[1])
        reverse: list[int] = []
        for base in tuple(levels)[::-1] * count:
            value, symbol = divmod(value, base)
            reverse.append(symbol)
        symbols += reverse[::-1]
    if held:
        raise BitstreamError(_FAULTS[2])
    return symbols
