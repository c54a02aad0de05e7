"""RTP packets (RFC 3550, section 5.1): twelve bytes that give a payload its place in order and in time.

Ours write no padding, extension or contributing sources; those of others are skipped, each checked against the bytes
that are there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from audiocodec.errors import BitstreamError

VERSION = 2
PAYLOAD_TYPE = 97  # of the dynamic range; a session protocol may agree another
HEADER_BYTES = 12
MAX_DATAGRAM = 1472  # what an Ethernet frame holds behind IPv4 and UDP: nothing is ever cut on the way
_FIXED = struct.Struct(">BBHII")


@dataclass(frozen=True)
class RtpPacket:
    """One packet; ``sequence`` is of 16 bits, ``timestamp`` and ``ssrc`` of 32, each starting anywhere and wrapping."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    payload_type: int = PAYLOAD_TYPE

    def pack(self) -> bytes:
        """The datagram."""
        second = self.marker << 7 | self.payload_type
        fixed = _FIXED.pack(VERSION << 6, second, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc)
        return fixed + self.payload

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read a datagram.

        Raises:
            BitstreamError: it is no RTP packet, or one whose lengths go beyond its end.
        """
        if len(data) < HEADER_BYTES:
            raise BitstreamError("a datagram too short for RTP", len(data))
        first, second, sequence, timestamp, ssrc = _FIXED.unpack_from(data)
        if first >> 6 != VERSION:
            raise BitstreamError("no RTP packet of version 2", 0)
        start, end = HEADER_BYTES + 4 * (first & 15), len(data)
        if first & 0x10:  # an extension: two bytes of its own, its length in words, and as many
            if start + 4 > end:
                raise BitstreamError("an RTP header ends within its extension", end)
            start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
        if first & 0x20 and end > start:  # padding, whose last byte is its length, itself included
            padding = data[-1]
            if not padding:
                raise BitstreamError("RTP padding of no bytes", end - 1)
            end -= padding
        if start > end:
            raise BitstreamError("an RTP header goes beyond its datagram", len(data))
        return cls(sequence, timestamp, ssrc, bytes(data[start:end]), bool(second & 0x80), second & 0x7F)


def is_rtp(data: bytes) -> bool:
    """Whether a datagram claims to be RTP; control messages begin otherwise."""
    return len(data) > 0 and data[0] >> 6 == VERSION


class Unwrapper:
    """Counters of a few bits as whole numbers: the nearest to the one that ``value`` is, before or behind it."""

    def __init__(self, bits: int) -> None:
        self._span = 1 << bits
        self.value: int | None = None

    def near(self, counter: int) -> int:
        """The whole number that ``counter`` stands for; what is remembered does not change."""
        if self.value is None:
            return counter
        ahead = (counter - self.value) % self._span
        return self.value + (ahead if ahead < self._span // 2 else ahead - self._span)

    def advance(self, value: int) -> None:
        """Remember the highest number so far."""
        if self.value is None or value > self.value:
            self.value = value
