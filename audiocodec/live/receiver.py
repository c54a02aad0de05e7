"""The other side's voice: RTP packets in as they come, samples out as the speaker asks for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocodec.bitstream.header import StreamHeader
from audiocodec.decoding import FrameDecoder, at_once
from audiocodec.live.jitter import JitterBuffer, JitterSettings, Slot, SlotKind, Verdict
from audiocodec.live.payload import PayloadFormat
from audiocodec.live.rtp import RtpPacket
from audiocodec.live.stretch import lengthen, shorten
from audiocodec.stereo import MidSide

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """One frame's indices ``[1, 1, groups]`` and what they were coded at; ``first`` of a talkspurt."""

    indices: NDArray[np.int64]
    rate: RateSetting
    first: bool = False


class Receiver:
    """Plays what a :class:`~audiocodec.live.sender.Sender` with ``header`` and ``spare_levels`` sends.

    Raises ModelError where the model offers no such levels.
    """

    def __init__(
        self, codec: Codec, header: StreamHeader, spare_levels: tuple[int, ...], settings: JitterSettings
    ) -> None:
        codec.check_header(header)
        self._codec = codec
        self._rate = _setting(codec, header)
        self._spare_rate = _setting(codec, replace(header, levels=spare_levels))
        self._format = PayloadFormat(header, spare_levels, codec.entropy if header.mode == "range" else None)
        self.jitter = JitterBuffer(settings)
        self.concealed_frames = self.recovered_frames = self.played_frames = 0
        self._frames = FrameDecoder(codec, self._rate)
        self._ready = np.zeros((1, 0), np.float32)

    def receive(self, packet: RtpPacket, now: float) -> Verdict:
        """A packet of this stream. Raises BitstreamError when its payload is none.

        What comes twice is known by its number: decoding its entropy code would cost most of what a new packet does.
        """
        if self.jitter.repeats(packet.sequence, packet.timestamp):
            return Verdict.DUPLICATE
        contents = self._format.parse(packet.payload)
        frames = [
            Heard(frame[None], self._rate, packet.marker and number == 0)
            for number, frame in enumerate(contents.frames)
        ]
        spares = [Heard(frame[None], self._spare_rate) for frame in contents.spares]
        return self.jitter.put(packet.sequence, packet.timestamp, frames, spares, now=now)

    def pull(self, samples: int, now: float) -> Samples:
        """The next ``[samples]``, the first of which is heard at ``now``."""
        parts, count = [self._ready], self._ready.shape[1]
        while count < samples:
            wave = self._play(self.jitter.take(now + count / self._codec.sample_rate))
            parts.append(wave)
            count += wave.shape[1]
        whole = np.concatenate(parts, axis=1)
        self._ready = whole[:, samples:].copy()
        return np.asarray(whole[0, :samples])

    def _play(self, slot: Slot) -> Samples:
        if slot.kind is SlotKind.SILENCE:
            return self._silence()
        if slot.kind is SlotKind.LOST:
            self.concealed_frames += 1
            return self._conceal(slot)
        self.played_frames += 1
        self.recovered_frames += slot.kind is SlotKind.SPARE
        heard: Heard = slot.item
        if heard.first and self._frames.begun:  # the silence before it, and with it the reset, was lost
            self._frames.reset()
        return self._paced(at_once(self._frames.came(heard.indices, [heard.rate])), slot.pace)

    def _paced(self, wave: Samples, pace: int) -> Samples:
        if not pace:
            return wave
        rate = self._codec.sample_rate
        played = shorten(wave, rate) if pace < 0 else lengthen(wave, rate)
        self.jitter.stretched((played.shape[1] - wave.shape[1]) / rate)
        return played

    def _conceal(self, slot: Slot) -> Samples:
        if not self._frames.estimates:
            return np.zeros((1, self._codec.hop_samples), np.float32)
        following = None if slot.following is None or slot.following.first else slot.following.indices[:, 0]
        return at_once(self._frames.lost(following, slot.rest))

    def _silence(self) -> Samples:
        if not self._frames.begun:  # a little at a time, so that the next word may begin when it should
            return np.zeros((1, self._codec.hop_samples // 4), np.float32)
        return self._frames.silence()


def _setting(codec: Codec, header: StreamHeader) -> RateSetting:
    setting = codec.rate_of(header)
    assert not isinstance(setting, MidSide)  # a call's header has one channel
    return setting
