"""The stream header: everything a reader must know before the first packet (SPEC.md, section 3)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from audiocodec.bitstream.fields import MAX_GROUPS, pack_levels, read_groups, read_levels, read_records
from audiocodec.bitstream.varint import Incomplete, Malformed, pack_varint, read_varint
from audiocodec.errors import BitstreamError

MAGIC = b"\x89VPC\r\n\x1a\n"  # as PNG's: a changed line ending, or a seventh bit lost, shows at once
# A stream is written in the oldest version that can say what it is, so that programs of that version read it.
VERSION, COUPLED_VERSION = (1, 0), (2, 0)
MAJORS = (1, 2)
MID_SIDE = 1  # the one coupling so far
MAX_HEADER = 16384
MAX_CHANNELS = 255
MAX_COUNT = 65535  # levels of a group
MAX_RATE = 1 << 24  # samples per second
MAX_SAMPLES = (1 << 40) - 1  # the last value, all ones, says "unknown"
MAX_PACKET_FRAMES = 1024
MAX_PACKET_SYMBOLS = 1 << 20
MAX_RUNNING_FRAMES = MAX_PACKET_FRAMES - 1  # the last packet may need one more
MODES: tuple[Literal["raw", "range"], ...] = ("raw", "range")

TITLE = 1  # record tags
SOURCE_BITS = 2
RUNNING = 3  # a stream that has it is written in the next minor version: minors add record tags

_UNKNOWN = MAX_SAMPLES
_TOTAL_BYTES = 5


@dataclass(frozen=True)
class StreamHeader:
    """What one stream is. Raises BitstreamError for values that the format cannot hold.

    Args:
        fingerprint: 8 bytes naming the model.
        sample_rate: samples per second that the model works at.
        channels: each is coded by itself, unless ``side_levels`` couples them.
        hop_samples: samples per frame at ``sample_rate``.
        block_frames: frames that encoder and decoder compute at once.
        levels: level count of each group; 1 means absent. Of the mid where channels are coupled.
        mode: ``raw``, or ``range`` when packets may be entropy coded.
        total_samples: length per channel at ``source_rate``, None when it was not known.
        source_rate: samples per second of the original.
        pre_skip: samples at ``sample_rate`` to drop from the start of the decoder's output.
        pre_roll: frames that a seek must decode, and drop, before its target.
        packet_frames: most frames of a coded packet, a power of two: bounds what a reader holds and waits for.
        side_levels: None: channels are independent. Otherwise there are two, mid and side of left and right, and these
            are the level counts of the side; all 1 where the side is silent and takes no bits.
        records: (tag, bytes) pairs that a reader may skip: ``TITLE`` (UTF-8), ``SOURCE_BITS`` (one byte), ``RUNNING``
            (see :attr:`running_frames`).
    """

    fingerprint: bytes
    sample_rate: int
    channels: int
    hop_samples: int
    block_frames: int
    levels: tuple[int, ...]
    mode: Literal["raw", "range"]
    total_samples: int | None
    source_rate: int
    pre_skip: int
    pre_roll: int
    packet_frames: int = MAX_PACKET_FRAMES
    side_levels: tuple[int, ...] | None = None
    records: tuple[tuple[int, bytes], ...] = ()

    def __post_init__(self) -> None:
        limits = {
            "sample_rate": (1, MAX_RATE),
            "source_rate": (1, MAX_RATE),
            "channels": (1, MAX_CHANNELS),
            "hop_samples": (1, 1 << 20),
            "block_frames": (1, 1 << 16),
            "pre_skip": (0, 1 << 24),
            "pre_roll": (0, 1 << 20),
            "packet_frames": (1, MAX_PACKET_FRAMES),
            "total_samples": (0, MAX_SAMPLES - 1),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise BitstreamError(f"header: {name} is {value}, outside {least} to {most}")
        if len(self.fingerprint) != 8 or self.mode not in MODES:
            raise BitstreamError("header: the fingerprint must have 8 bytes and the mode be raw or range")
        counts = (*self.levels, *(self.side_levels or ()))
        if not 1 <= len(self.levels) <= MAX_GROUPS or not all(1 <= count <= MAX_COUNT for count in counts):
            raise BitstreamError(f"header: levels must be 1 to {MAX_GROUPS} counts of 1 to {MAX_COUNT}")
        if self.side_levels is not None and (self.channels, len(self.side_levels)) != (2, len(self.levels)):
            raise BitstreamError("header: a mid and a side are two channels with equally many groups")
        if self.packet_frames & (self.packet_frames - 1):
            raise BitstreamError(f"header: packet_frames is {self.packet_frames}, not a power of two")

    @property
    def coupled(self) -> bool:
        """Whether the channels are mid and side of left and right."""
        return self.side_levels is not None

    @property
    def side_absent(self) -> bool:
        """Whether the side takes no bits: what is decoded has two equal channels."""
        return self.side_levels is not None and max(self.side_levels) == 1

    @cached_property
    def total_frames(self) -> int | None:
        """Frames that hold ``total_samples`` and the codec's delay; None when the length is unknown."""
        if not self.total_samples:
            return self.total_samples
        samples = -(-self.total_samples * self.sample_rate // self.source_rate)
        return -(-(samples + self.pre_skip) // self.hop_samples)

    @cached_property
    def most_packet_frames(self) -> int:
        """Most frames of a coded packet: ``packet_frames``, or fewer when there are very many channels and groups."""
        return max(1, min(self.packet_frames, MAX_PACKET_SYMBOLS // (self.channels * len(self.levels))))

    @property
    def title(self) -> str | None:
        """The recording's title, if the header has one."""
        text = dict(self.records).get(TITLE)
        return None if text is None else text.decode("utf-8", "replace")

    @property
    def running_frames(self) -> int | None:
        """No packet of exactly so many frames holds the last that ``total_samples`` need; None: nothing is promised.

        All that such a packet decodes to is within them, so that who does not know them may play it at once.
        """
        value = dict(self.records).get(RUNNING)
        try:
            frames, end = read_varint(value or b"", 0)
        except (Incomplete, Malformed):
            return None
        return frames if frames and end == len(value or b"") else None

    @cached_property
    def packet_seed(self) -> int:
        """Start value of every packet's CRC: packets of a stream with another configuration do not match."""
        return binascii.crc_hqx(self._configuration(), 0xFFFF)

    def pack(self) -> bytes:
        """The header's bytes; their number does not depend on ``total_samples``."""
        total = _UNKNOWN if self.total_samples is None else self.total_samples
        body = self._configuration() + total.to_bytes(_TOTAL_BYTES, "little")
        for tag, value in self.records:
            body += pack_varint(tag) + pack_varint(len(value)) + value
        major, minor = COUPLED_VERSION if self.coupled else VERSION
        minor += any(tag == RUNNING for tag, _ in self.records)
        data = MAGIC + bytes([major << 4 | minor]) + pack_varint(len(body)) + body
        data += binascii.crc32(data).to_bytes(4, "big")
        if len(data) > MAX_HEADER:
            raise BitstreamError(f"header: its records make it {len(data)} bytes long, {MAX_HEADER} are possible")
        return data

    def _configuration(self) -> bytes:
        same_rate = self.source_rate == self.sample_rate
        return (
            bytes([(self.packet_frames.bit_length() - 1) << 4 | MODES.index(self.mode)])
            + self.fingerprint
            + b"".join(
                map(
                    pack_varint,
                    (
                        self.sample_rate,
                        0 if same_rate else self.source_rate,
                        self.channels,
                        self.hop_samples,
                        self.block_frames,
                        self.pre_skip,
                        self.pre_roll,
                    ),
                )
            )
            + pack_varint(len(self.levels))
            + pack_levels(self.levels)
            + (b"" if self.side_levels is None else pack_varint(MID_SIDE) + pack_levels(self.side_levels))
        )

    @classmethod
    def unpack(cls, data: bytes | bytearray) -> tuple[StreamHeader, int]:
        """Read a header at the start of ``data``; returns it and its length.

        Raises BitstreamError with the position when it is foreign, damaged, too new or cut short.
        """
        size = header_size(data)
        if size is None or size > len(data):
            raise BitstreamError("the stream ends within its header", len(data))
        stored = int.from_bytes(data[size - 4 : size], "big")
        if binascii.crc32(data[: size - 4]) != stored:
            raise BitstreamError("the header is damaged: its checksum does not match", size - 4)
        _, start = read_varint(data, len(MAGIC) + 1)
        try:
            return _parse(data, start, size - 4), size
        except Incomplete:
            raise BitstreamError("the header ends within one of its fields", size - 4) from None
        except Malformed as error:
            raise BitstreamError(f"header: {error}", start) from None


def running_fields(frames: int) -> dict[str, Any]:
    """What the header of a stream says whose packets of ``frames`` frames (at most MAX_RUNNING_FRAMES) are never last.

    The bound of packets is the least power of two above: a reader waits no longer for one that is damaged.
    """
    return {"packet_frames": 1 << frames.bit_length(), "records": ((RUNNING, pack_varint(frames)),)}


def header_size(data: bytes | bytearray) -> int | None:
    """Length of the header at the start of ``data``, or None when more bytes are needed to tell.

    Raises BitstreamError as soon as the bytes there are show that no header this program knows begins here.
    """
    head = bytes(data[: len(MAGIC)])
    if head != MAGIC[: len(head)]:
        wrong = next(i for i, (a, b) in enumerate(zip(head, MAGIC, strict=False)) if a != b)
        mangled = head.startswith(MAGIC[:4])
        why = "its line endings were changed: transfer it as binary" if mangled else "it is not a .vpc stream"
        raise BitstreamError(why, wrong)
    if len(data) <= len(MAGIC):
        return None
    if data[len(MAGIC)] >> 4 not in MAJORS:
        version = f"{data[len(MAGIC)] >> 4}.{data[len(MAGIC)] & 15}"
        known = " or ".join(f"{major}.x" for major in MAJORS)
        raise BitstreamError(f"format version {version} is not {known}: update audiocodec to read it", len(MAGIC))
    try:
        size, start = read_varint(data, len(MAGIC) + 1)
    except Incomplete:
        return None
    except Malformed as error:
        raise BitstreamError(f"header: {error}", len(MAGIC) + 1) from None
    if start + size + 4 > MAX_HEADER:
        raise BitstreamError(f"header: {size} bytes are more than a header can have", len(MAGIC) + 1)
    return start + size + 4


def _parse(data: bytes | bytearray, start: int, end: int) -> StreamHeader:
    if start + 9 > end:
        raise Incomplete
    flags = data[start]
    mode, exponent = flags & 15, flags >> 4
    if mode >= len(MODES) or 1 << exponent > MAX_PACKET_FRAMES:
        raise Malformed(f"reserved bits are set in flags {flags:#04x}")
    position = start + 9
    numbers = []
    for _ in range(7):
        number, position = read_varint(data, position, end)
        numbers.append(number)
    sample_rate, source_rate, channels, hop_samples, block_frames, pre_skip, pre_roll = numbers
    if source_rate == sample_rate:
        raise Malformed("a source rate equal to the sample rate must be written as 0")
    groups, position = read_groups(data, position, end)
    levels, position = read_levels(data, position, end, groups)
    side_levels = None
    if data[len(MAGIC)] >> 4 == COUPLED_VERSION[0]:
        side_levels, position = _read_coupling(data, position, end, groups)
    if position + _TOTAL_BYTES > end:
        raise Incomplete
    total = int.from_bytes(data[position : position + _TOTAL_BYTES], "little")
    return StreamHeader(
        fingerprint=bytes(data[start + 1 : start + 9]),
        sample_rate=sample_rate,
        channels=channels,
        hop_samples=hop_samples,
        block_frames=block_frames,
        levels=levels,
        mode=MODES[mode],
        total_samples=None if total == _UNKNOWN else total,
        source_rate=source_rate or sample_rate,
        pre_skip=pre_skip,
        pre_roll=pre_roll,
        packet_frames=1 << exponent,
        side_levels=side_levels,
        records=read_records(data, position + _TOTAL_BYTES, end),
    )


def _read_coupling(data: bytes | bytearray, position: int, end: int, groups: int) -> tuple[tuple[int, ...], int]:
    coupling, position = read_varint(data, position, end)
    if coupling != MID_SIDE:
        raise Malformed(f"channel coupling {coupling} is unknown: update audiocodec to read it")
    return read_levels(data, position, end, groups)
