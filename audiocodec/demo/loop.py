"""One microphone's way through the codec and back, at a rate that may change on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocodec.audio import MAX_RATE, MIN_RATE, Resampler
from audiocodec.errors import UsageError
from audiocodec.streaming import StreamDecoder, StreamEncoder

if TYPE_CHECKING:
    from audiocodec.codec import Codec

Samples = NDArray[np.float32]
WARM_FRAMES = 12
"""Of what went before, through which a new stream is run before it is heard: a quarter of a second, which takes a few
milliseconds. It has then settled where the one before it was."""


class _Stream:
    """Encoder and decoder at one rate; frames are computed one at a time."""

    def __init__(self, codec: Codec, levels: int) -> None:
        self.encoder = StreamEncoder(codec, codec.choose_rate(levels=levels), block_frames=1)
        self.decoder = StreamDecoder(codec, live=True)
        self.decoder.push(self.encoder.header.pack())

    def push(self, wave: Samples) -> Samples:
        """``[1, n]`` to ``[1, m]``; every packet arrives."""
        return self.decoded(self.encoder.push(wave))

    def decoded(self, packets: list[bytes]) -> Samples:
        """The packets that arrive to ``[1, m]``."""
        return np.concatenate([_nothing(), *map(self.decoder.push, packets)], axis=1)


class Loop:
    """One microphone's way through the codec.

    Args:
        codec: the model.
        levels: of one of its rates.
        sample_rate: of the microphone and of what is heard, in Hz.

    Raises:
        UsageError: no microphone has such a rate, or the model no such levels.
    """

    def __init__(self, codec: Codec, levels: int, sample_rate: int) -> None:
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise UsageError(f"a microphone at {sample_rate} Hz is outside {MIN_RATE} to {MAX_RATE} Hz")
        self._codec = codec
        self._to_codec = Resampler(sample_rate, codec.sample_rate, 1, live=True)
        self._from_codec = Resampler(codec.sample_rate, sample_rate, 1, live=True)
        self._luck = np.random.default_rng()
        self._levels, self._stream = levels, _Stream(codec, levels)
        self._leaving: _Stream | None = None  # until what is heard has faded from it
        self._left = _nothing()  # of it, not heard yet
        self._ready = _nothing()  # of the new one, not heard yet
        self._past = _nothing()  # the newest samples that went in, at the model's rate
        self._came = self._given = 0  # samples in and out, at the model's rate

    def set_levels(self, levels: int) -> None:
        """Go on at another rate, without a gap: a stream keeps the rate of its header, so it is another stream.

        It begins a little earlier, at the beginning of a frame, and takes over where the one before it is now.
        Raises UsageError where the model has no such levels.
        """
        if levels == self._levels:
            return
        stream = _Stream(self._codec, levels)
        begin = max(0, self._came // self._codec.hop_samples - WARM_FRAMES) * self._codec.hop_samples
        sound = stream.push(self._past[:, self._past.shape[1] - (self._came - begin) :])
        # Where packets were lost until now, more is waited for than what the new stream was run through.
        gap = np.zeros((1, max(0, begin - self._given)), np.float32)
        self._ready = np.concatenate([gap, sound[:, max(0, self._given - begin) :]], axis=1)
        if self._leaving is None:
            self._leaving = self._stream
        self._levels, self._stream = levels, stream

    def feed(self, samples: NDArray[np.int16], loss: float) -> tuple[NDArray[np.int16], int, int, int]:
        """int16 ``[n]`` to int16 ``[m]``; bytes coded, packets, and those of them that were lost."""
        wave = self._to_codec.push(samples.astype(np.float32)[None] / 32768.0)
        self._came += wave.shape[1]
        kept = (WARM_FRAMES + 1) * self._codec.hop_samples
        self._past = np.concatenate([self._past, wave], axis=1)[:, -kept:]
        packets = self._stream.encoder.push(wave)
        lost = self._luck.random(len(packets)) < loss
        sound = self._stream.decoded([packet for packet, gone in zip(packets, lost, strict=True) if not gone])
        if self._leaving is not None:
            sound = self._faded(self._leaving, wave, sound)
        self._given += sound.shape[1]
        out = self._from_codec.push(sound)
        coded = np.clip(np.rint(out[0] * 32767.0), -32768, 32767).astype("<i2")
        return coded, sum(map(len, packets)), len(packets), int(lost.sum())

    def _faded(self, leaving: _Stream, wave: Samples, sound: Samples) -> Samples:
        """From the stream that is left to the new one, over all that both have: a frame as a rule."""
        self._left = np.concatenate([self._left, leaving.push(wave)], axis=1)
        self._ready = np.concatenate([self._ready, sound], axis=1)
        both = min(self._left.shape[1], self._ready.shape[1])
        if not both:
            return _nothing()
        new = self._ready
        share = np.linspace(0.0, 1.0, both, dtype=np.float32)
        new[:, :both] = share * new[:, :both] + (1.0 - share) * self._left[:, :both]
        self._leaving, self._left, self._ready = None, _nothing(), _nothing()
        return new


def _nothing() -> Samples:
    return np.zeros((1, 0), np.float32)
