"""Reads a stream as it comes: bytes in pieces of any size become events (SPEC.md, sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from audiocodec.bitstream.entropy import EntropyModel
from audiocodec.bitstream.header import StreamHeader, header_size
from audiocodec.bitstream.index import read_end
from audiocodec.bitstream.packet import MAX_RUN_FRAMES, Kind, Packet, PacketDecoder
from audiocodec.bitstream.scanner import Beginning, Damage, PacketScanner
from audiocodec.errors import BitstreamError

EntropyFor = Callable[[StreamHeader], EntropyModel | None]


@dataclass(frozen=True)
class Header:
    """The stream's header: always the first event, and no other unless streams may follow each other."""

    header: StreamHeader


@dataclass(frozen=True)
class Frames:
    """Coded frames ``indices [frames, channels, groups] int64`` from ``first_frame`` on."""

    first_frame: int
    indices: npt.NDArray[np.int64] = field(compare=False)


@dataclass(frozen=True)
class Silence:
    """``frames`` (at most 16384) of digital silence, before which the decoder's state is reset."""

    first_frame: int
    frames: int


@dataclass(frozen=True)
class Lost:
    """``frames`` (at most 16384) that are missing and to be concealed; ``position`` is the byte where that shows.

    Zero frames: damage that costs no time, a gap too long to fill, or an end that came too early; ``reason`` says.
    """

    first_frame: int
    frames: int
    position: int
    reason: str


@dataclass(frozen=True)
class End:
    """The last event of a stream: total samples per channel at ``source_rate``, None if the stream never said."""

    total_samples: int | None


Event = Header | Frames | Silence | Lost | End


class StreamReader:
    """An incremental reader: ``push`` bytes, get events; ``close`` gives the rest.

    ``entropy_for(header)`` returns the model's tables; what it raises (no such model) goes through. Only a damaged
    header raises BitstreamError: any later damage becomes :class:`Lost` and the reader finds the next packet. After an
    error every push raises it again, and keeps nothing.

    ``restarts``: a whole header where a packet might begin ends the stream and begins another, as where a sender on a
    connection has started again. Otherwise it is damage.
    """

    def __init__(self, entropy_for: EntropyFor, restarts: bool = False) -> None:
        self._entropy_for = entropy_for
        self._restarts = restarts
        self._refused: Exception | None = None
        self.header: StreamHeader | None = None
        self._early = bytearray()
        self._scanner: PacketScanner | None = None
        self._sequence: _Sequence | None = None
        self._ended = False

    def push(self, data: bytes) -> list[Event]:
        """Events that these bytes complete. The same bytes give the same events, however they are cut.

        Raises ValueError when the reader is closed.
        """
        return list(self.events(data))

    def events(self, data: bytes) -> Iterator[Event]:
        """Like :meth:`push`, one at a time, so that a caller need not hold all of them; exhaust it before the next."""
        if self._ended:
            raise ValueError("the reader is closed")
        if self._refused is not None:
            raise self._refused.with_traceback(None)
        if self._scanner is None:
            self._early += data
            with self._refusing():
                size = header_size(self._early)
                if size is None or size > len(self._early):
                    return
                header, _ = StreamHeader.unpack(self._early)
            beginning = self._begin(header)
            self._scanner = PacketScanner(header, size, self._restarts)
            data = bytes(self._early[size:])
            self._early.clear()
            yield beginning
        self._scanner.feed(data)
        yield from self._drain()

    def close(self) -> list[Event]:
        """The rest, End last. Raises BitstreamError when the stream ended within its header."""
        return list(self.final_events())

    def final_events(self) -> Iterator[Event]:
        """Like :meth:`close`, one at a time."""
        if self._ended:
            return
        self._ended = True
        if self._refused is not None:
            raise self._refused.with_traceback(None)
        if self._scanner is None or self._sequence is None:
            raise BitstreamError("the stream ends within its header", len(self._early))
        self._scanner.final = True
        yield from self._drain()
        yield from self._sequence.finish(self._scanner.position)

    def jump(self, frame: int, position: int) -> None:
        """Go on reading with the packet at byte ``position``, whose first frame is ``frame``; the header must be known.

        Bytes pushed next are taken to lie there.
        """
        if self.header is None or self._sequence is None:
            raise ValueError("no header was read yet")
        self._scanner = PacketScanner(self.header, position)
        self._sequence.restart(frame)
        self._ended = False

    def _begin(self, header: StreamHeader) -> Header:
        with self._refusing():
            self._sequence = _Sequence(header, PacketDecoder(header, self._entropy_for(header)))
        self.header = header
        return Header(header)

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """What is wrong with a header stays wrong."""
        try:
            yield
        except Exception as error:
            self._refused = error
            self._early.clear()
            raise

    def _drain(self) -> Iterator[Event]:
        assert self._scanner is not None
        assert self._sequence is not None
        for item in self._scanner.items():
            if isinstance(item, Packet):
                yield from self._sequence.packet(item)
            elif isinstance(item, Beginning):
                yield from self._another(item)
            else:
                yield from self._sequence.damaged(item)

    def _another(self, beginning: Beginning) -> Iterator[Event]:
        """The end of this stream, and the header of one that follows."""
        assert self._scanner is not None
        assert self._sequence is not None
        yield from self._sequence.finish(beginning.position)
        yield self._begin(beginning.header)
        self._scanner.begin(beginning.header)


class _Sequence:
    """Holds packets against time: what comes next, what is missing, what comes twice."""

    def __init__(self, header: StreamHeader, decoder: PacketDecoder) -> None:
        self._header = header
        self._decoder = decoder
        self._total_samples = header.total_samples
        self._total_frames = header.total_frames
        self.restart(0)

    def restart(self, frame: int) -> None:
        self._next = frame
        self._damage: Damage | None = None
        self._over = False

    def damaged(self, damage: Damage) -> Iterator[Event]:
        if self._over:
            yield Lost(self._next, 0, damage.position, "bytes behind the end of the stream")
        else:
            self._damage = damage

    def packet(self, packet: Packet) -> Iterator[Event]:
        if self._over:
            yield Lost(self._next, 0, packet.position, "packets behind the end of the stream")
            return
        if packet.first_frame < self._next:
            yield from self._report(0, packet.position, "")
            yield Lost(self._next, 0, packet.position, f"a packet repeats frame {packet.first_frame}")
            return
        if packet.kind is Kind.END:
            yield from self._end(packet)
            return
        if packet.first_frame != self._next or self._damage is not None:
            yield from self._gap(packet)
        if packet.kind is Kind.SILENCE:
            yield Silence(packet.first_frame, packet.frames)
        else:
            yield self._frames(packet)
        self._next = packet.first_frame + packet.frames

    def _frames(self, packet: Packet) -> Event:
        try:
            return Frames(packet.first_frame, self._decoder.indices(packet))
        except BitstreamError as error:
            return Lost(packet.first_frame, packet.frames, packet.position, str(error))

    def _gap(self, packet: Packet) -> Iterator[Event]:
        yield from self._report(packet.first_frame - self._next, packet.position, "no bytes hold these frames")
        self._next = packet.first_frame

    def _report(self, missing: int, position: int, reason: str) -> Iterator[Event]:
        """One Lost for pending damage and missing frames together, if there are any."""
        damage, self._damage = self._damage, None
        if damage is not None:
            position, reason = damage.position, damage.reason
        elif not missing:
            return
        if missing > MAX_RUN_FRAMES:  # a claim that no bytes back must not make a decoder produce hours
            missing, reason = 0, f"{reason}; {missing} frames are missing, too many to fill"
        yield Lost(self._next, missing, position, reason)

    def _end(self, packet: Packet) -> Iterator[Event]:
        yield from self._gap(packet)
        self._over = True
        try:
            end = read_end(packet.payload)
        except BitstreamError as error:
            yield Lost(self._next, 0, packet.position, str(error))
            return
        if self._header.total_samples in (None, end.total_samples):
            self._total_samples = end.total_samples
        else:
            yield Lost(self._next, 0, packet.position, "header and end disagree about the stream's length")

    def finish(self, position: int) -> Iterator[Event]:
        complete = self._over or (self._total_frames is not None and self._next >= self._total_frames)
        if not complete:
            # Nothing to conceal: what follows is not there, and sound is not made up for it.
            reason = "the stream ends without an end packet"
            if self._total_frames is not None:
                reason = f"the stream ends {self._total_frames - self._next} frames early"
            if self._damage is not None:
                position, reason = self._damage.position, f"{self._damage.reason}, and {reason}"
                self._damage = None
            yield Lost(self._next, 0, position, reason)
        yield from self._report(0, position, "")
        yield End(self._total_samples)
