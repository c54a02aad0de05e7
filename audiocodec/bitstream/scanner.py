"""Finds packets in a stream of bytes, and finds the next one after damage (SPEC.md, section 6)."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from audiocodec.bitstream.header import MAGIC, StreamHeader, header_size
from audiocodec.bitstream.packet import CRC_BYTES, SYNC, Layout, Packet, read_layout
from audiocodec.bitstream.varint import Incomplete, Malformed
from audiocodec.errors import BitstreamError

# While looking for the next packet, checksums may read this many bytes per byte passed over, and no more: a file made
# of sync words would cost the square of its length otherwise. Damage by chance needs about 2.
_EFFORT_PER_BYTE = 32
_EFFORT_AT_ONCE = 1 << 18
_COMPACT_BYTES = 1 << 16
_HEAD_BYTES = 32  # of a header, which tell its size


@dataclass(frozen=True)
class Damage:
    """Bytes from ``position`` up to ``end`` that are no packet."""

    position: int
    end: int
    reason: str


@dataclass(frozen=True)
class Beginning(Damage):
    """A whole header, of another stream: no packet of this one either. Whoever takes it tells the scanner."""

    header: StreamHeader


class PacketScanner:
    """Cuts bytes, in pieces of any size, into packets and damage. Holds at most one packet's bytes beyond a piece."""

    def __init__(self, header: StreamHeader, position: int, restarts: bool = False) -> None:
        """``position`` is the offset in the stream of the first byte that will be fed; ``restarts``: find headers."""
        self.begin(header)
        self._restarts = restarts
        self._data = bytearray()
        self._base = position  # stream offset of _data[0]
        self._at = 0
        self._damage: tuple[int, str] | None = None
        self._effort = _EFFORT_AT_ONCE
        self.final = False

    @property
    def position(self) -> int:
        """Stream offset of the next byte to look at."""
        return self._base + self._at

    def begin(self, header: StreamHeader) -> None:
        """Packets from here on are of a stream with this header."""
        self._header = header
        self._seed = header.packet_seed

    def feed(self, data: bytes) -> None:
        """Append bytes."""
        if self._at > _COMPACT_BYTES:
            del self._data[: self._at]
            self._base += self._at
            self._at = 0
        self._data += data

    def items(self) -> Iterator[Packet | Damage]:
        """What can be told from the bytes so far; with ``final`` set, all of it. Damage comes before what follows it.

        Decisions depend on bytes alone, never on how they were cut: a place is judged when its whole claimed extent
        is there, or when the stream has ended.
        """
        while self._at < len(self._data):
            try:
                packet = self._packet() if self._data[self._at] != MAGIC[0] else self._beginning()
            except Incomplete:
                if not self.final:
                    return
                self._skip("the stream ends within a packet")
                continue
            except Malformed as error:
                self._skip(str(error))
                continue
            if self._damage is not None:
                yield from self._take_damage()
            self._at = packet.end - self._base
            self._effort = _EFFORT_AT_ONCE
            yield packet
        if self.final:
            yield from self._take_damage()

    def _take_damage(self) -> Iterator[Damage]:
        if self._damage is not None:
            start, reason = self._damage
            self._damage = None
            yield Damage(start, self.position, reason)

    def _packet(self) -> Packet:
        layout = read_layout(self._data, self._at, self._header)
        if layout.end > len(self._data):
            raise Incomplete
        self._spend(layout.end - self._at)
        return self._checked(layout)

    def _beginning(self) -> Beginning:
        head = self._data[self._at : self._at + _HEAD_BYTES]
        if not self._restarts or head[: len(MAGIC)] != MAGIC[: len(head)]:
            raise Malformed("no packet begins here")
        try:
            size = header_size(head)
            if size is None or self._at + size > len(self._data):
                raise Incomplete
            self._spend(size)
            header, _ = StreamHeader.unpack(self._data[self._at : self._at + size])
        except BitstreamError as error:
            raise Malformed(str(error)) from None
        return Beginning(self.position, self.position + size, "another stream begins", header)

    def _spend(self, size: int) -> None:
        """Effort for a checksum, where it looks for what comes behind damage."""
        if self._damage is not None:
            if size > self._effort:
                raise Malformed("too many false starts of packets")
            self._effort -= size

    def _checked(self, layout: Layout) -> Packet:
        body = layout.end - CRC_BYTES
        with memoryview(self._data) as view:
            crc = binascii.crc_hqx(view[self._at : body], self._seed)
            stored = int.from_bytes(view[body : layout.end], "big")
            payload = bytes(view[layout.payload : body])
        if crc != stored:
            raise Malformed("a packet's checksum does not match")
        return Packet(
            layout.kind,
            layout.same_channels,
            layout.first_frame,
            layout.frames,
            payload,
            self._base + self._at,
            self._base + layout.end,
        )

    def _skip(self, reason: str) -> None:
        if self._damage is None:
            self._damage = (self.position, reason)
        following = self._data.find(SYNC, self._at + 1)
        following = len(self._data) if following < 0 else following
        if self._restarts and (beginning := self._data.find(MAGIC[0], self._at + 1, following)) >= 0:
            following = beginning
        self._effort = min(self._effort + _EFFORT_PER_BYTE * (following - self._at), 1 << 40)
        self._at = following
