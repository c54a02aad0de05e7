"""One side's voice: samples in, RTP datagrams out, with copies of what went before at the lowest rate."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.bitstream.header import StreamHeader
from audiocodec.bitstream.payload import Ints
from audiocodec.errors import UsageError
from audiocodec.live.payload import MAX_FRAMES, MAX_SPARES, Contents, PayloadFormat
from audiocodec.live.rtp import HEADER_BYTES, MAX_DATAGRAM, RtpPacket
from audiocodec.streaming.encoder import header_of

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Samples = NDArray[np.float32]

PACKET_FRAMES = 16  # most that a stream's packets hold: here they have fewer
_FIRST_SILENCES = 4  # packets that say that a silence began, lest one be lost
_REMINDER_FRAMES = 25  # of silence between those that say that it goes on


def lowest_rate(codec: Codec) -> RateSetting:
    """The setting that copies are coded at."""
    return min(codec.rates, key=lambda rate: rate.raw_bps)


class Sender:
    """Codes one voice, one channel at the model's rate.

    Args:
        codec: the loaded model.
        rate: the setting of the voice.
        frames: in a packet; more of them save headers and cost a frame of delay each.
        redundancy: copies of so many frames before its own in every packet.
        ssrc: the stream's name in the call.
        sequence: of the first packet; ``timestamp`` likewise. Both may be anything (RFC 3550 asks for random ones).
    """

    def __init__(
        self,
        codec: Codec,
        rate: RateSetting,
        *,
        frames: int = 1,
        redundancy: int = 0,
        ssrc: int = 1,
        sequence: int = 0,
        timestamp: int = 0,
    ) -> None:
        if not 1 <= frames <= MAX_FRAMES:
            raise UsageError(f"packets of {frames} frames; 1 to {MAX_FRAMES} are possible")
        if not 0 <= redundancy <= MAX_SPARES:
            raise UsageError(f"copies of {redundancy} frames; 0 to {MAX_SPARES} are possible")
        self.frames, self.redundancy, self.ssrc = frames, redundancy, ssrc
        self._codec = codec
        spare = lowest_rate(codec)
        # Both codings are one computation of two rows; at the lowest rate they are the same.
        self._rates = [rate, spare] if redundancy and spare != rate else [rate]
        self.header = call_header(codec, rate)
        self.spare_levels = spare.levels
        self._format = PayloadFormat(self.header, spare.levels, codec.entropy)
        self._sequence, self._timestamp = sequence & 0xFFFF, timestamp & 0xFFFFFFFF
        self._pending = np.zeros(0, np.float32)
        self._spares: deque[Ints] = deque(maxlen=redundancy)
        self.packets = self.bytes = 0
        self._quiet_overlap = True
        self._silent_frames: int | None = _FIRST_SILENCES  # None in a talkspurt; a call begins silent
        self._begin()

    def _begin(self) -> None:
        """The state before a talkspurt."""
        self._state: Any = self._codec.runtime.encoder_state(len(self._rates))
        self._coded: list[NDArray[np.int64]] = []  # [rows, 1, groups] of each frame of the packet being filled
        self._marker = True

    def restart(self) -> None:
        """Begin a talkspurt here, for somebody who heard nothing of what was before."""
        self._spares.clear()
        self._begin()

    @property
    def sequence(self) -> int:
        """Of the next packet."""
        return self._sequence

    def push(self, samples: Samples) -> list[bytes]:
        """``[n]`` samples, any ``n``; the datagrams that they complete."""
        hop = self._codec.hop_samples
        self._pending = np.concatenate([self._pending, np.asarray(samples, np.float32)])
        whole = len(self._pending) // hop * hop
        frames, self._pending = self._pending[:whole].reshape(-1, hop), self._pending[whole:].copy()
        return [datagram for frame in frames for datagram in self._frame(frame)]

    def _frame(self, wave: Samples) -> list[bytes]:
        silent, quiet_before = not wave.any(), self._quiet_overlap
        self._quiet_overlap = not wave[-self._codec.delay_samples :].any()
        if silent and quiet_before:
            return self._silence()
        self._silent_frames = None
        rows = np.repeat(wave[None], len(self._rates), axis=0)
        indices, self._state = self._codec.encode_block(rows, self._rates, self._state)
        self._coded.append(indices)
        return self._talk() if len(self._coded) == self.frames else []

    def _talk(self) -> list[bytes]:
        coded = np.concatenate(self._coded, axis=1)  # [rows, frames, groups]
        datagram = self._packet(Contents(coded[0][:, None], self._copies()), len(self._coded))
        self._spares.extend(coded[-1][:, None])
        self._coded, self._marker = [], False
        return [datagram]

    def _silence(self) -> list[bytes]:
        datagrams = []
        if self._silent_frames is None:
            if self._coded:
                datagrams = self._talk()
            self._silent_frames = 0
            self._begin()
        number, self._silent_frames = self._silent_frames, self._silent_frames + 1
        if number < _FIRST_SILENCES or number % _REMINDER_FRAMES == 0:
            # Copies of the last words; each packet is one frame further away from them.
            copies = self._copies() if number == 0 else self._none
            datagrams.append(self._packet(Contents(self._none, copies), 1, marker=False))
        else:
            self._timestamp = (self._timestamp + self._codec.hop_samples) & 0xFFFFFFFF
        self._spares.clear()
        return datagrams

    @property
    def _none(self) -> Ints:
        return np.zeros((0, 1, len(self.header.levels)), np.int64)

    def _copies(self) -> Ints:
        return np.stack(list(self._spares)) if self._spares else self._none

    def _packet(self, contents: Contents, frames: int, marker: bool | None = None) -> bytes:
        payload = self._format.pack(contents)
        if len(payload) + HEADER_BYTES > MAX_DATAGRAM:  # no model is near it; a datagram in pieces is lost more often
            payload = self._format.pack(Contents(contents.frames, self._none))
        marked = self._marker if marker is None else marker
        data = RtpPacket(self._sequence, self._timestamp, self.ssrc, payload, marked).pack()
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + frames * self._codec.hop_samples) & 0xFFFFFFFF
        self.packets, self.bytes = self.packets + 1, self.bytes + len(data)
        return data


def call_header(codec: Codec, rate: RateSetting) -> StreamHeader:
    """What one side of a call sends, as the header of a stream."""
    return header_of(
        codec,
        (rate, lowest_rate(codec)),
        channels=1,
        block_frames=1,
        packet_frames=PACKET_FRAMES,
        total_samples=None,
        source_rate=codec.sample_rate,
    )
