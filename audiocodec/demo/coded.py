"""What a .vpc holds: its length, its bits over time, and the same stream after a network that loses packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from audiocodec.bitstream import End, Frames, Header, PacketEncoder, Silence, StreamHeader, StreamReader
from audiocodec.bitstream.header import MAGIC
from audiocodec.bitstream.index import StreamEnd, end_packet
from audiocodec.bitstream.packet import Packet
from audiocodec.bitstream.scanner import PacketScanner
from audiocodec.errors import BitstreamError

if TYPE_CHECKING:
    from audiocodec.codec import Codec


def is_coded(name: str, data: bytes) -> bool:
    """Whether something is to be read as a .vpc."""
    return data.startswith(MAGIC[:4]) or name.lower().endswith(".vpc")


def read_header(name: str, data: bytes) -> StreamHeader:
    """The header. Raises BitstreamError that speaks of ``name``."""
    try:
        return StreamHeader.unpack(data)[0]
    except BitstreamError as error:
        raise BitstreamError(f"{name} cannot be read as a .vpc file: {error}") from None


def extent(header: StreamHeader, data: bytes, most: float) -> tuple[int, str]:
    """Frames in a stream, and what is wrong with it if anything is; counting ends soon after ``most`` seconds.

    Packets are not decoded for it: a file of the size that is taken can hold days.
    """
    _, start = StreamHeader.unpack(data)
    scanner = PacketScanner(header, start)
    scanner.feed(data[start:])
    scanner.final = True
    frames, problem = 0, ""
    for item in scanner.items():
        if not isinstance(item, Packet):
            problem = problem or item.reason
            continue
        frames = max(frames, item.first_frame + item.frames)
        if frames * header.hop_samples > (most + 2.0) * header.sample_rate:
            break
    return frames, problem


def use_of(data: bytes, codec: Codec) -> list[tuple[float, float]]:
    """(seconds, bytes) of every tenth of a second; nothing of a damaged stream."""
    from audiocodec.evaluate.ours import token_statistics

    try:
        return token_statistics(data, codec.entropy).packets
    except BitstreamError:
        return []


def with_losses(data: bytes, codec: Codec, share: float, seed: int) -> tuple[bytes, int, int]:
    """A stream as a listener gets it from a network: frame by frame in packets, ``share`` of which never arrive.

    The packets of files are seconds long, and no network loses so much at once. Tokens are taken from them as they are
    and sent in packets of one frame, as a call sends them. The same seed loses the same packets at any rate, and those
    lost at a lower share are lost at a higher one too: what changes is what is heard, not the luck.

    Returns:
        The stream, how many packets were sent, and how many were lost.
    """
    reader = StreamReader(lambda header: codec.entropy if header.mode == "range" else None)
    parts: list[bytes] = []
    luck = np.random.default_rng(seed)
    sent = lost = frames = 0
    sender: PacketEncoder | None = None
    for event in (*reader.push(data), *reader.close()):
        if isinstance(event, Header):
            sender = PacketEncoder(event.header, codec.entropy)
            parts.append(event.header.pack())
        assert sender is not None
        if isinstance(event, Silence):
            parts.append(sender.silence(event.first_frame, event.frames))
            frames = event.first_frame + event.frames
        elif isinstance(event, Frames):
            for place, frame in enumerate(event.indices):
                sent += 1
                if luck.random() < share:
                    lost += 1
                else:
                    parts.append(sender.frames(event.first_frame + place, frame[None]))
            frames = event.first_frame + len(event.indices)
        elif isinstance(event, End) and event.total_samples is not None:
            # It says how long the stream was: losses at its end are heard as such.
            parts.append(end_packet(sender.header, frames, StreamEnd(event.total_samples, ())))
    return b"".join(parts), sent, lost
