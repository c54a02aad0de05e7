"""Files: a header, packets, and where it pays an end packet with an index; reading from any frame on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import IO, cast

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.header import MAX_HEADER, StreamHeader
from audiocodec.bitstream.index import (
    INDEX_ENTRIES,
    TAIL_BYTES,
    Entry,
    IndexBuilder,
    StreamEnd,
    end_packet,
    find,
    read_end,
)
from audiocodec.bitstream.packet import MAX_END_PAYLOAD, Kind, Packet, read_layout
from audiocodec.bitstream.reader import EntropyFor, Event, Header, StreamReader
from audiocodec.bitstream.scanner import PacketScanner
from audiocodec.bitstream.varint import Incomplete, Malformed
from audiocodec.errors import BitstreamError

CHUNK_BYTES = 1 << 16


class FileWriter:
    """Writes a stream to ``fp``, a binary file or pipe: header at once, then packets, then what closing needs.

    ``model`` is not needed to write finished packets and may be None.
    """

    def __init__(self, fp: IO[bytes], header: StreamHeader, model: EntropyModel | None = None) -> None:
        self._fp = fp
        self.header = header
        self._model = model
        self._seekable = fp.seekable()
        self._start = fp.tell() if self._seekable else 0
        self._index = IndexBuilder()
        self._frames = 0
        self.bytes_written = 0
        self._write(header.pack())

    def write_packet(self, data: bytes) -> None:
        """Write one packet, or several joined, as :class:`PacketEncoder` makes them. Raises ValueError for others."""
        at = 0
        while at < len(data):
            try:
                layout = read_layout(data, at, self.header)
            except (Incomplete, Malformed) as error:
                raise ValueError(f"not a packet of this stream: {error}") from None
            if layout.end > len(data) or layout.first_frame < self._frames or layout.kind is Kind.END:
                raise ValueError("a packet is cut short, out of order, or an end packet")
            self._index.add(layout.first_frame, self.bytes_written + at)
            self._frames = layout.first_frame + layout.frames
            at = layout.end
        self._write(data)

    def close(self, total_samples: int) -> None:
        """End the stream, whose length per channel at ``source_rate`` is now known. Leaves ``fp`` open.

        The header is patched where ``fp`` can seek. An end packet follows when the header could not say the length,
        or when the file is long enough for an index to be worth its bytes. Raises ValueError if the header of a
        pipe promised another length, or if the frames written are not those that this length needs.
        """
        patched = self.header.total_samples == total_samples
        if not (patched or self._seekable or self.header.total_samples is None):
            raise ValueError(f"the header promised {self.header.total_samples} samples, there are {total_samples}")
        header = replace(self.header, total_samples=total_samples)
        needed = header.total_frames or 0
        if not needed <= self._frames <= needed + header.block_frames:
            raise ValueError(f"{total_samples} samples need {needed} frames, {self._frames} were written")
        if self._seekable and not patched:
            end = self._fp.tell()
            self._fp.seek(self._start)
            self._fp.write(header.pack())
            self._fp.seek(end)
            patched = True
        entries = tuple(self._index.entries) if len(self._index.entries) >= INDEX_ENTRIES else ()
        if entries or not patched:
            self._write(end_packet(header, self._frames, StreamEnd(total_samples, entries)))
        self._fp.flush()

    def _write(self, data: bytes) -> None:
        self._fp.write(data)
        self.bytes_written += len(data)


class FileReader:
    """Reads a stream from ``fp``, whose position is the stream's first byte; seeks in it where ``fp`` can seek.

    Raises BitstreamError at once when the header is damaged.
    """

    def __init__(self, fp: IO[bytes], entropy_for: EntropyFor) -> None:
        self._fp = fp
        self._seekable = fp.seekable()
        self._start = fp.tell() if self._seekable else 0
        self._reader = StreamReader(entropy_for)
        self._entries: tuple[Entry, ...] | None = None
        data = fp.read(MAX_HEADER)
        # The first event is the header; the others wait for whoever iterates.
        self._waiting = self._reader.events(data)
        first = next(self._waiting, None)
        if first is None:
            self._reader.close()
        self.header: StreamHeader = cast(Header, first).header

    def __iter__(self) -> Iterator[Event]:
        """Events from here on; the first of a fresh reader are what follows the header. End is the last."""
        yield from self._waiting
        while data := self._fp.read(CHUNK_BYTES):
            yield from self._reader.events(data)
        yield from self._reader.final_events()

    def seek(self, frame: int) -> int:
        """Go to the packet that holds ``frame`` (the nearest before it, if that was lost).

        Returns the first frame of that packet: events go on from there. To decode from ``frame`` on, seek to
        ``frame - header.pre_roll`` and drop what comes before. Raises BitstreamError where ``fp`` cannot seek.
        """
        if not self._seekable:
            raise BitstreamError("this stream cannot be sought in: it is a pipe")
        best = self._packet_before(frame, self._index())
        if best is None:  # the index lies
            self._entries = self._scanned_index()
            best = self._packet_before(frame, self._entries) or Entry(0, self._header_end())
        self._fp.seek(self._start + best.position)
        self._reader.jump(best.frame, best.position)
        self._waiting = iter(())
        return best.frame

    def _packet_before(self, frame: int, entries: tuple[Entry, ...]) -> Entry | None:
        # The last packet that begins at or before a frame; None when no packet is where the index says.
        entry = find(entries, frame)
        best = None
        for packet in self._packets(self._header_end() if entry is None else entry.position):
            if best is None and entry is not None and entry != Entry(packet.first_frame, packet.position):
                return None
            if packet.first_frame > frame or packet.kind is Kind.END:
                break
            best = Entry(packet.first_frame, packet.position)
        return best

    def _header_end(self) -> int:
        self._fp.seek(self._start)
        return StreamHeader.unpack(self._fp.read(MAX_HEADER))[1]

    def _index(self) -> tuple[Entry, ...]:
        if self._entries is None:
            self._entries = self._stored_index() or self._scanned_index()
        return self._entries

    def _stored_index(self) -> tuple[Entry, ...]:
        size = self._fp.seek(0, 2) - self._start
        self._fp.seek(self._start + max(0, size - TAIL_BYTES))
        length = int.from_bytes(self._fp.read(TAIL_BYTES)[:3], "little")
        if not TAIL_BYTES < length <= min(size, MAX_END_PAYLOAD + 64):
            return ()
        packets = list(self._packets(size - length))
        if len(packets) != 1 or packets[0].kind is not Kind.END or packets[0].position != size - length:
            return ()
        try:
            entries = read_end(packets[0].payload).entries
        except BitstreamError:
            return ()
        rising = all(a.frame <= b.frame and a.position < b.position for a, b in pairwise(entries))
        return entries if rising and all(entry.position < size for entry in entries) else ()

    def _scanned_index(self) -> tuple[Entry, ...]:
        builder = IndexBuilder()
        for packet in self._packets(self._header_end()):
            if packet.kind is not Kind.END:
                builder.add(packet.first_frame, packet.position)
        return tuple(builder.entries)

    def _packets(self, position: int) -> Iterator[Packet]:
        # Packets from a byte on, undecoded.
        self._fp.seek(self._start + position)
        scanner = PacketScanner(self.header, position)
        while not scanner.final:
            data = self._fp.read(CHUNK_BYTES)
            scanner.feed(data)
            scanner.final = not data
            for item in scanner.items():
                if isinstance(item, Packet):
                    yield item
