"""Packets: frames with a sync word, a place in time and a checksum (SPEC.md, section 4)."""

from __future__ import annotations

import binascii
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.header import StreamHeader
from audiocodec.bitstream.payload import Ints, PayloadCoder, raw_payload_bytes
from audiocodec.bitstream.varint import Incomplete, Malformed, pack_varint, read_varint
from audiocodec.errors import BitstreamError

SYNC = 0xB5
_SECOND = 0xC0  # upper five bits of the second byte
_SAME_CHANNELS = 4
MAX_RUN_FRAMES = 1 << 14  # of a silence packet: five minutes and a half at 50 frames/s
MAX_END_PAYLOAD = 1 << 18
CRC_BYTES = 2


class Kind(IntEnum):
    """What a packet holds: the lowest two bits of its second byte."""

    RAW = 0
    RANGE = 1
    SILENCE = 2
    END = 3


_KINDS = tuple(Kind)


class Packet(NamedTuple):
    """A packet found whole at byte ``position`` of a stream; it ends before byte ``end``."""

    kind: Kind
    same_channels: bool
    first_frame: int
    frames: int  # 0 for END, whose first_frame is the number of frames of the stream
    payload: bytes
    position: int
    end: int


class Layout(NamedTuple):
    """The extent of a packet in a buffer, before its checksum was looked at."""

    kind: Kind
    same_channels: bool
    first_frame: int
    frames: int
    payload: int
    end: int


def read_layout(data: bytes | bytearray, start: int, header: StreamHeader) -> Layout:
    """Read the fields of a packet at ``start``, and check every bound that the header gives.

    Raises Incomplete when its fields are not all there yet (the payload need not be), Malformed when it is no packet.
    """
    if start >= len(data):
        raise Incomplete
    if data[start] != SYNC:
        raise Malformed("no packet begins here")
    if start + 1 >= len(data):
        raise Incomplete
    second = data[start + 1]
    kind, same = _KINDS[second & 3], bool(second & _SAME_CHANNELS)
    if second & 0xF8 != _SECOND or (same and (kind > Kind.RANGE or header.channels == 1 or header.coupled)):
        raise Malformed("no packet begins here")
    first_frame, position = read_varint(data, start + 2)
    frames = length = 0
    if kind is not Kind.END:
        frames, position = read_varint(data, position)
        frames += 1
    most = MAX_RUN_FRAMES if kind is Kind.SILENCE else header.most_packet_frames
    total = header.total_frames
    # An encoder may fill its last block; nothing can lie further behind the end.
    if frames > most or (total is not None and first_frame + frames > total + header.block_frames):
        raise Malformed("a packet's frames lie outside the stream")
    if kind is not Kind.SILENCE:
        length, position = read_varint(data, position)
        _check_length(kind, length, raw_payload_bytes(header, frames, 1 if same else header.channels), header)
    return Layout(kind, same, first_frame, frames, position, position + length + CRC_BYTES)


def _check_length(kind: Kind, length: int, raw: int, header: StreamHeader) -> None:
    if kind is Kind.END:
        fits = length <= MAX_END_PAYLOAD
    else:
        # An encoder takes range coding only where it is shorter than raw.
        fits = length == raw if kind is Kind.RAW else header.mode == "range" and length < raw
    if not fits:
        raise Malformed("a packet's length does not fit its frames")


class PacketEncoder:
    """Makes packets of one stream. Without tables for its levels, packets are raw whatever the header's mode."""

    def __init__(self, header: StreamHeader, model: EntropyModel | None = None) -> None:
        self.header = header
        self._seed = header.packet_seed
        self._payloads = PayloadCoder(header, model if header.mode == "range" else None)

    def frames(self, first_frame: int, indices: npt.NDArray[np.integer[Any]]) -> bytes:
        """Code ``indices [frames, channels, groups]``: one packet, or several when it has more frames than fit one.

        Raises ValueError for another shape, or for an index outside its levels.
        """
        whole = self._payloads.shaped(indices)
        most = self.header.most_packet_frames
        if 0 < len(whole) <= most:
            return self._coded(first_frame, whole)
        starts = range(0, len(whole), most)
        return b"".join(self._coded(first_frame + start, whole[start : start + most]) for start in starts)

    def _coded(self, first_frame: int, indices: Ints) -> bytes:
        frames = len(indices)
        alike = self.header.channels > 1 and not self.header.coupled
        same = alike and bool((indices == indices[:, :1]).all())
        if same:
            indices = indices[:, :1]
        kind, payload = Kind.RAW, self._payloads.raw(indices)
        if self._payloads.entropy_coded and len(ranged := self._payloads.ranged(indices)) < len(payload):
            kind, payload = Kind.RANGE, ranged
        fields = pack_varint(first_frame) + pack_varint(frames - 1) + pack_varint(len(payload))
        return seal(kind | (_SAME_CHANNELS if same else 0), fields + payload, self._seed)

    def silence(self, first_frame: int, frames: int) -> bytes:
        """Frames of digital silence, after which both coders are in their initial state: one packet, more if long."""
        out = b""
        while frames > 0:
            run = min(frames, MAX_RUN_FRAMES)
            out += seal(Kind.SILENCE, pack_varint(first_frame) + pack_varint(run - 1), self._seed)
            first_frame, frames = first_frame + run, frames - run
        return out


class PacketDecoder:
    """Turns a whole packet's payload into indices. Raises BitstreamError when the header asks for absent tables."""

    def __init__(self, header: StreamHeader, model: EntropyModel | None = None) -> None:
        self.header = header
        self._payloads = PayloadCoder(header, model if header.mode == "range" else None)
        if header.mode == "range" and not self._payloads.entropy_coded:
            raise BitstreamError("the stream is entropy coded with levels that its model has no tables for", 0)

    def indices(self, packet: Packet) -> Ints:
        """``[frames, channels, groups]`` of a RAW or RANGE packet. Raises BitstreamError when it is no code."""
        channels = 1 if packet.same_channels else self.header.channels
        if packet.kind is Kind.RAW:
            indices = self._payloads.unpack_raw(packet.payload, packet.frames, channels)
        elif self._payloads.entropy_coded:
            indices = self._payloads.decode_range(packet.payload, packet.frames, channels)
        else:
            raise BitstreamError("an entropy coded packet in a raw stream", packet.position)
        return np.repeat(indices, self.header.channels, axis=1) if packet.same_channels else indices


def seal(second: int, fields: bytes, seed: int) -> bytes:
    """A packet: sync word and kind before ``fields``, the checksum behind them."""
    data = bytes([SYNC, _SECOND | second]) + fields
    return data + binascii.crc_hqx(data, seed).to_bytes(CRC_BYTES, "big")
