"""What is left of a recording whose disk was full: cut behind its last whole packet, and valid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from audiocodec.bitstream.header import MAX_HEADER, StreamHeader
from audiocodec.bitstream.packet import Kind, Packet
from audiocodec.bitstream.scanner import PacketScanner
from audiocodec.errors import BitstreamError

_CHUNK_BYTES = 1 << 16


def finish(path: Path) -> bool:
    """Make a whole .vpc of one that was broken off, in place and without needing more room.

    Returns whether there was anything to keep; raises OSError.
    """
    with open(path, "r+b", buffering=0) as file:
        try:
            header, start = StreamHeader.unpack(file.read(MAX_HEADER))
        except BitstreamError:
            return False
        frames, end = 0, start
        for packet in _packets(file, header, start):
            if packet.kind is not Kind.END:
                frames, end = packet.first_frame + packet.frames, packet.end
        samples = (frames * header.hop_samples - header.pre_skip) * header.source_rate // header.sample_rate
        if samples <= 0:
            return False
        whole = replace(header, total_samples=samples).pack()
        if len(whole) != start:
            return False
        file.truncate(end)
        file.seek(0)
        file.write(whole)
    return True


def _packets(file: BinaryIO, header: StreamHeader, start: int) -> Iterator[Packet]:
    file.seek(start)
    scanner = PacketScanner(header, start)
    while data := file.read(_CHUNK_BYTES):
        scanner.feed(data)
        for item in scanner.items():
            if isinstance(item, Packet):
                yield item
