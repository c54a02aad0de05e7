"""Raw payloads: mixed radix without a model, packed densely into bits.

A row is one frame of one channel. Rows are gathered into groups whose product of level counts fits ``GROUP_BITS`` bits,
and each group is one integer of exactly as many bits as its largest value needs: the loss is under one bit a group,
the cost linear in the length.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from audiocodec.errors import BitstreamError

GROUP_BITS = 1024


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
    """Pack indices [frames, channels, groups], each below its level count, most significant symbol first."""
    radix = _row_radix(levels)
    group = _group_rows(radix)
    rows = indices.reshape(-1, len(levels)).tolist()
    out = bytearray()
    held, held_bits = 0, 0
    for first in range(0, len(rows), group):
        value = 0
        part = rows[first : first + group]
        for row in part:
            for base, symbol in zip(levels, row, strict=True):
                value = value * base + symbol
        bits = _bits(radix, len(part))
        held = held << bits | value
        whole, held_bits = divmod(held_bits + bits, 8)
        out += (held >> held_bits).to_bytes(whole, "big")
        held &= (1 << held_bits) - 1
    if held_bits:
        out.append(held << (8 - held_bits))
    return bytes(out)


def unpack_raw(data: bytes, frames: int, channels: int, levels: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Undo :func:`pack_raw`: indices [frames, channels, groups]. Raises BitstreamError on a length or value amiss."""
    rows = int(frames) * int(channels)
    if len(data) != raw_bytes(rows, levels):
        raise BitstreamError("a raw payload has the wrong length for its frame count")
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
            raise BitstreamError("a raw payload holds a value beyond its level counts")
        reverse: list[int] = []
        for base in tuple(levels)[::-1] * count:
            value, symbol = divmod(value, base)
            reverse.append(symbol)
        symbols += reverse[::-1]
    if held:
        raise BitstreamError("a raw payload ends in padding that is not zero")
    return np.array(symbols, dtype=np.int64).reshape(frames, channels, len(levels))
