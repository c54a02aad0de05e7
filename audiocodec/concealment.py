"""What a decoder plays when frames are lost: sound estimated from what is around them, fading out, and a soft return.

The network's state is carried on over latents that a small network estimates from the past and, where the frame after
the loss is there already, from that (:mod:`audiocodec.prediction`); without such a network the last latents are
repeated. The output fades to silence over about 100 ms, and the first frame after a loss fades back in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audiocodec.prediction import GAP_FRAMES

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Samples = NDArray[np.float32]
Latents = NDArray[np.float32]
Indices = NDArray[np.int64]

FADE_SECONDS = 0.1


class Concealer:
    """Gains over a decoder's output; one for each stream."""

    def __init__(self, sample_rate: int, hop_samples: int) -> None:
        self._fade_samples = int(FADE_SECONDS * sample_rate)
        self._return_samples = hop_samples // 2
        self._lost_samples = 0

    @property
    def silent(self) -> bool:
        """Whether the fade is over: nothing more need be computed for the loss."""
        return self._lost_samples >= self._fade_samples

    def end(self, tail: Samples) -> Samples:
        """What sounds on into a silence that was sent: faded on after a loss, which is then over."""
        if self._lost_samples:
            tail = self.fade(tail)
            self._lost_samples = 0
        return tail

    def fade(self, wave: Samples) -> Samples:
        """The next lost stretch, ``[channels, samples]``, faded on from where the last one ended."""
        position = self._lost_samples + np.arange(wave.shape[1], dtype=np.float32)
        self._lost_samples += wave.shape[1]
        return wave * np.maximum(1 - position / np.float32(self._fade_samples), 0)

    def resume(self, wave: Samples) -> Samples:
        """The first stretch received after a loss, faded in from where the loss left off; others pass unchanged."""
        if not self._lost_samples:
            return wave
        start = max(0.0, 1 - self._lost_samples / self._fade_samples)
        self._lost_samples = 0
        ramp = np.arange(wave.shape[1], dtype=np.float32) / self._return_samples
        return wave * np.minimum(start + (1 - start) * ramp, 1)


class FrameHistory:
    """The last frames of one decoder, and estimates of those that are lost. Costs next to nothing until one is.

    Args:
        codec: the loaded model.
        rates: of the stream, one for each row of the decoder's batch.
    """

    def __init__(self, codec: Codec, rates: Sequence[RateSetting]) -> None:
        self._runtime, self._rates = codec.runtime, tuple(rates)
        self._predictor = codec.predictor
        self._context = self._predictor.context_frames if self._predictor else 1
        self._detail = np.log2(np.array([rate.base_levels for rate in rates], np.float32))
        self._past = np.zeros((len(rates), 0, codec.facts.dims), np.float32)
        self._estimated = np.zeros((len(rates), 0), np.float32)
        self._fresh: deque[tuple[tuple[RateSetting, ...], Indices]] = deque(maxlen=self._context)
        self._gap: list[Latents] = []

    def heard(self, indices: Indices, rates: Sequence[RateSetting] | None = None) -> None:
        """Frames ``[rows, frames, tokens]`` that were decoded; ``rates`` where they are others than the stream's."""
        if self._gap:
            self._append(np.stack(self._gap, axis=1), estimated=True)
            self._gap = []
        self._fresh.append((tuple(rates) if rates else self._rates, indices[:, -self._context :]))

    def lost(self, following: Indices | None = None, rest: int = 1) -> Latents:
        """Latents ``[rows, 1, dims]`` to play for the next frame, which is lost. There must have been one before.

        Args:
            following: tokens ``[rows, tokens]`` of the first frame after the loss, if it is known.
            rest: frames from the one wanted to that, from 1 on.
        """
        for rates, group in groupby(self._fresh, key=lambda fresh: fresh[0]):
            block = np.concatenate([indices for _, indices in group], axis=1)[:, -self._context :]
            self._append(self._runtime.latents(block, rates), estimated=rates != self._rates)
        self._fresh.clear()
        guess = self._guessed(following, rest) if self._predictor else self._past[:, -1]
        self._gap.append(guess)
        return guess[:, None]

    def _guessed(self, following: Indices | None, rest: int) -> Latents:
        assert self._predictor is not None
        place = min(len(self._gap) + 1, GAP_FRAMES)
        after = None
        if following is not None and place + rest - 1 <= GAP_FRAMES:
            after = self._runtime.latents(following[:, None], self._rates)[:, 0]
        past, estimated = self._past, self._estimated
        if absent := self._context - past.shape[1]:  # the stream has just begun
            past = np.pad(past, ((0, 0), (absent, 0), (0, 0)))
            estimated = np.pad(estimated, ((0, 0), (absent, 0)), constant_values=1)
        guess = self._predictor.estimate(past, estimated, after, place, rest, self._detail)
        return guess * past.any(axis=1)  # dimensions that the rate leaves out are zero in every frame

    def _append(self, latents: Latents, estimated: bool) -> None:
        flags = np.full(latents.shape[:2], estimated, np.float32)
        self._past = np.concatenate([self._past, latents], axis=1)[:, -self._context :]
        self._estimated = np.concatenate([self._estimated, flags], axis=1)[:, -self._context :]
