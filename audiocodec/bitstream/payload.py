"""Payloads of RAW and RANGE packets: the indices of some frames as bytes (SPEC.md, sections 4, 6 and 7).

Channels of one alphabet are coded together, frame by frame. A mid and a side have alphabets of their own: all frames
of the mid come first, then all of the side, in one code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.header import StreamHeader
from audiocodec.bitstream.rangecoder import TOTAL, RangeDecoder, encode_intervals
from audiocodec.bitstream.rawcoder import pack_raw, raw_bytes, unpack_raw
from audiocodec.bitstream.symbolcoder import SymbolCoder
from audiocodec.errors import BitstreamError

Ints = npt.NDArray[np.int64]


class Part(NamedTuple):
    """Channels ``first`` up to ``end`` of a packet, whose groups have these level counts."""

    levels: tuple[int, ...]
    first: int
    end: int

    def of(self, indices: Ints) -> Ints:
        """This part's channels of ``indices [frames, channels, groups]``."""
        return indices[:, self.first : self.end]


def parts_of(header: StreamHeader, channels: int) -> tuple[Part, ...]:
    """What a payload of so many channels (1 where all are equal) consists of, in coding order."""
    if header.side_levels is None:
        return (Part(header.levels, 0, channels),)
    return Part(header.levels, 0, 1), Part(header.side_levels, 1, 2)


def raw_payload_bytes(header: StreamHeader, frames: int, channels: int) -> int:
    """Length of the raw payload of so many frames and coded channels; an entropy coded one is shorter."""
    if header.side_levels is None:
        return raw_bytes(frames * channels, header.levels)
    return raw_bytes(frames, header.levels) + raw_bytes(frames, header.side_levels)


class PayloadCoder:
    """Indices to payloads and back, for one stream; holds no state between packets."""

    def __init__(self, header: StreamHeader, model: EntropyModel | None) -> None:
        parts = parts_of(header, header.channels)
        self._parts = {1: parts_of(header, 1), header.channels: parts}
        # A silent side needs no tables; any other channel without them leaves only raw payloads.
        needed = parts[:1] if header.side_absent else parts
        self._coders: list[SymbolCoder | None] = [None] * len(parts)
        if model is not None:
            self._coders[: len(needed)] = [model.for_levels(part.levels) for part in needed]
        self.entropy_coded = None not in self._coders[: len(needed)]
        """Whether there are tables for all that the stream codes."""
        self._limits = np.array([part.levels for part in parts for _ in range(part.first, part.end)], np.uint64)

    def shaped(self, indices: npt.NDArray[np.integer[Any]]) -> Ints:
        """``indices [frames, channels, groups]`` as int64. Raises ValueError for another shape."""
        whole: Ints = np.asarray(indices).astype(np.int64, copy=False)
        if whole.ndim != 3 or whole.shape[1:] != self._limits.shape:
            channels, groups = self._limits.shape
            raise ValueError(f"indices of shape {whole.shape} must be [frames, {channels}, {groups}]")
        return whole

    def check(self, indices: npt.NDArray[np.integer[Any]]) -> Ints:
        """The same; raises ValueError also for an index that is beyond its levels."""
        whole = self.shaped(indices)
        # Without their signs, what is negative is beyond all levels.
        if (whole.view(np.uint64) >= self._limits).any():
            raise ValueError("an index lies outside its levels")
        return whole

    def raw(self, indices: Ints) -> bytes:
        """The raw payload of ``indices [frames, channels or 1, groups]``.

        Raises ValueError for an index that is beyond its levels.
        """
        parts = self._parts[indices.shape[1]]
        if len(parts) == 1:
            return pack_raw(indices, parts[0].levels)
        return b"".join(pack_raw(part.of(indices), part.levels) for part in parts)

    def unpack_raw(self, payload: bytes, frames: int, channels: int) -> Ints:
        """Undo :meth:`raw`. Raises BitstreamError when the bytes are no such payload."""
        parts = self._parts[channels]
        if len(parts) == 1:
            return unpack_raw(payload, frames, channels, parts[0].levels)
        found, at = [], 0
        for part in parts:
            width = part.end - part.first
            size = raw_bytes(frames * width, part.levels)
            found.append(unpack_raw(payload[at : at + size], frames, width, part.levels))
            at += size
        if at != len(payload):
            raise BitstreamError("a raw payload has the wrong length for its frame count")
        return np.concatenate(found, axis=1)

    def ranged(self, indices: Ints) -> bytes:
        """The entropy coded payload of ``indices [frames, channels or 1, groups]``."""
        coder = self._coders[0]
        if len(self._coders) == 1 and coder is not None:
            return coder.encode(indices)
        return encode_intervals(np.concatenate(self._intervals(indices)))

    def decode_range(self, payload: bytes, frames: int, channels: int) -> Ints:
        """Undo :meth:`ranged`. Raises BitstreamError when the bytes are no code."""
        decoder = RangeDecoder(payload)
        found = []
        for part, coder in zip(self._parts[channels], self._coders, strict=True):
            width = part.end - part.first
            empty = np.zeros((frames, width, len(part.levels)), np.int64)
            found.append(empty if coder is None else coder.read(decoder, frames, width))
        decoder.finish()
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def frame_bits(self, indices: Ints) -> npt.NDArray[np.float64]:
        """What each frame of ``indices [frames, channels or 1, groups]`` costs by its tables, in bits ``[frames]``."""
        bits = np.zeros(len(indices))
        for intervals in self._intervals(indices):
            bits -= np.log2(intervals[:, 1] / TOTAL).reshape(len(indices), -1).sum(axis=1)
        return bits

    def _intervals(self, indices: Ints) -> list[Ints]:
        parts = zip(self._parts[indices.shape[1]], self._coders, strict=True)
        return [coder.intervals(part.of(indices)) for part, coder in parts if coder is not None]
