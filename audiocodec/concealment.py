"""What a decoder plays when frames are lost: the last sound, fading out, and a soft return.

The network's state is carried on over the last indices received, so that it has something plausible to continue
from; its output fades to silence over about 100 ms, and the first frame after a loss fades back in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

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
