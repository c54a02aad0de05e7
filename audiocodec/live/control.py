"""Messages beside the voice: HELLO, REFUSE, BYE, PING and PONG (SPEC.md, section 9.4)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import IntEnum

from audiocodec.bitstream.fields import pack_levels, read_levels
from audiocodec.bitstream.header import StreamHeader
from audiocodec.bitstream.varint import Incomplete, Malformed, pack_varint, read_varint
from audiocodec.errors import BitstreamError
from audiocodec.live.payload import MAX_FRAMES, MAX_SPARES
from audiocodec.live.rtp import MAX_DATAGRAM

MAGIC = b"VPCL"  # its first two bits are 01, those of RTP 10
VERSION = 1
_HEAD = len(MAGIC) + 1


class MessageKind(IntEnum):
    """The lower half of the fifth byte."""

    HELLO = 1
    REFUSE = 2
    BYE = 3
    PING = 4
    PONG = 5


class Refusal(IntEnum):
    """Why a call is not taken."""

    OTHER_MODEL = 1
    BUSY = 2


@dataclass(frozen=True)
class Hello:
    """What its sender will send, and whom it has heard: ``heard`` is the other's SSRC, 0 before that is known."""

    ssrc: int
    heard: int
    frames: int
    redundancy: int
    spare_levels: tuple[int, ...]
    header: StreamHeader

    def pack(self) -> bytes:
        """The datagram."""
        body = _u32(self.ssrc) + _u32(self.heard) + bytes([self.frames << 4 | self.redundancy])
        body += pack_varint(len(self.spare_levels)) + pack_levels(self.spare_levels)
        return _seal(MessageKind.HELLO, body + self.header.pack())


@dataclass(frozen=True)
class Refuse:
    """An answer to the HELLO of ``ssrc``; ``fingerprint`` is the refusing side's model."""

    ssrc: int
    why: Refusal
    fingerprint: bytes

    def pack(self) -> bytes:
        """The datagram."""
        return _seal(MessageKind.REFUSE, _u32(self.ssrc) + bytes([self.why]) + self.fingerprint)


@dataclass(frozen=True)
class Bye:
    """``ssrc`` hangs up on ``other``."""

    ssrc: int
    other: int

    def pack(self) -> bytes:
        """The datagram."""
        return _seal(MessageKind.BYE, _u32(self.ssrc) + _u32(self.other))


@dataclass(frozen=True)
class Ping:
    """Answered by the same with ``back`` set; ``token`` means something to its sender alone."""

    ssrc: int
    token: int
    back: bool = False

    def pack(self) -> bytes:
        """The datagram."""
        return _seal(MessageKind.PONG if self.back else MessageKind.PING, _u32(self.ssrc) + _u32(self.token))


Message = Hello | Refuse | Bye | Ping


def parse(data: bytes) -> Message:
    """Read a control message.

    Raises:
        BitstreamError: it is none, or of another version.
    """
    if len(data) > MAX_DATAGRAM or len(data) < _HEAD + 4 or data[: len(MAGIC)] != MAGIC:
        raise BitstreamError("no message of a call", 0)
    end = len(data) - 4
    if binascii.crc32(data[:end]) != int.from_bytes(data[end:], "big"):
        raise BitstreamError("a message's checksum does not match", end)
    if data[_HEAD - 1] >> 4 != VERSION:
        raise BitstreamError("a message of another version", _HEAD - 1)
    body, kind = data[_HEAD:end], data[_HEAD - 1] & 15
    if kind == MessageKind.HELLO:
        try:
            return _parse_hello(body)
        except (Incomplete, Malformed) as error:
            raise BitstreamError(f"a HELLO is damaged ({error})", _HEAD) from None
    sizes = {MessageKind.REFUSE: 13, MessageKind.BYE: 8, MessageKind.PING: 8, MessageKind.PONG: 8}
    if sizes.get(kind) != len(body):  # type: ignore[call-overload]
        raise BitstreamError("a message of an unknown kind or another length", _HEAD - 1)
    first = _number(body, 0)
    if kind == MessageKind.REFUSE:
        if body[4] not in list(Refusal):
            raise BitstreamError("an unknown reason to refuse", _HEAD + 4)
        return Refuse(first, Refusal(body[4]), body[5:])
    if kind == MessageKind.BYE:
        return Bye(first, _number(body, 4))
    return Ping(first, _number(body, 4), kind == MessageKind.PONG)


def _parse_hello(body: bytes) -> Hello:
    if len(body) < 10:
        raise Incomplete
    frames, redundancy = body[8] >> 4, body[8] & 15
    if not 1 <= frames <= MAX_FRAMES or redundancy > MAX_SPARES:
        raise Malformed("frames that no packet holds")
    groups, position = read_varint(body, 9)
    if not 1 <= groups <= 256:
        raise Malformed("a count of groups that no model has")
    spare_levels, position = read_levels(body, position, len(body), groups)
    header, size = StreamHeader.unpack(body[position:])
    if position + size != len(body):
        raise Malformed("bytes behind its header")
    if header.channels != 1 or header.block_frames != 1 or len(header.levels) != groups:
        raise Malformed("a header that is not a call's")
    return Hello(_number(body, 0), _number(body, 4), frames, redundancy, spare_levels, header)


def _seal(kind: MessageKind, body: bytes) -> bytes:
    data = MAGIC + bytes([VERSION << 4 | kind]) + body
    return data + _u32(binascii.crc32(data))


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _number(data: bytes, start: int) -> int:
    return int.from_bytes(data[start : start + 4], "big")
