"""The end packet's payload: the stream's length, and an index for seeking (SPEC.md, section 5)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from audiocodec.bitstream.header import MAX_SAMPLES, StreamHeader
from audiocodec.bitstream.packet import CRC_BYTES, MAX_END_PAYLOAD, Kind, seal
from audiocodec.bitstream.varint import Incomplete, Malformed, pack_varint, read_varint
from audiocodec.errors import BitstreamError

SIZE_BYTES = 3  # of the end packet's own size, just before its checksum: how a reader finds it from the back
TAIL_BYTES = SIZE_BYTES + CRC_BYTES
INDEX_FRAMES = 500  # at least these between entries (10 s at 50 frames/s): the packets between are found by a scan
INDEX_ENTRIES = 16  # fewer are not worth their bytes: a scan of so short a file is instant


@dataclass(frozen=True)
class Entry:
    """A packet's first frame and its byte position."""

    frame: int
    position: int


@dataclass(frozen=True)
class StreamEnd:
    """What an end packet says."""

    total_samples: int
    entries: tuple[Entry, ...]


class IndexBuilder:
    """Gathers entries while a stream is written or scanned; doubles their spacing rather than outgrow a packet."""

    def __init__(self) -> None:
        self._spacing = INDEX_FRAMES
        self.entries: list[Entry] = []

    def add(self, frame: int, position: int) -> None:
        """Note a packet, in order of time."""
        if self.entries and frame < self.entries[-1].frame + self._spacing:
            return
        self.entries.append(Entry(frame, position))
        if len(self.entries) > MAX_END_PAYLOAD // 16:
            del self.entries[1::2]
            self._spacing *= 2


def find(entries: list[Entry] | tuple[Entry, ...], frame: int) -> Entry | None:
    """The last entry at or before ``frame``."""
    place = bisect_right([entry.frame for entry in entries], frame)
    return entries[place - 1] if place else None


def end_packet(header: StreamHeader, frames: int, end: StreamEnd) -> bytes:
    """The packet that ends a stream of ``frames`` frames."""
    payload = pack_varint(end.total_samples) + pack_varint(len(end.entries))
    frame = position = 0
    for entry in end.entries:
        payload += pack_varint(entry.frame - frame) + pack_varint(entry.position - position)
        frame, position = entry.frame, entry.position
    length = pack_varint(len(payload) + SIZE_BYTES)
    fields = pack_varint(frames) + length + payload
    size = 2 + len(fields) + TAIL_BYTES
    return seal(Kind.END, fields + size.to_bytes(SIZE_BYTES, "little"), header.packet_seed)


def read_end(payload: bytes) -> StreamEnd:
    """Read an end packet's payload. Raises BitstreamError when it does not hold together."""
    stop = len(payload) - SIZE_BYTES
    try:
        total, at = read_varint(payload, 0, stop)
        count, at = read_varint(payload, at, stop)
        if total >= MAX_SAMPLES or 2 * count > stop - at:
            raise Malformed("counts beyond its size")
        frame = position = 0
        entries = []
        for _ in range(count):
            step, at = read_varint(payload, at, stop)
            advance, at = read_varint(payload, at, stop)
            frame, position = frame + step, position + advance
            entries.append(Entry(frame, position))
    except (Incomplete, Malformed) as error:
        raise BitstreamError(f"the end packet is malformed: {error or 'it ends within a number'}") from None
    if at != stop:
        raise BitstreamError("the end packet holds more than its index")
    return StreamEnd(total, tuple(entries))
