"""Frames to sound for one stream, whether it comes in a file or in a call: those that came, the lost ones, silence.

Where the network is needed a method yields a `Step`, for others to compute, or for `at_once`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec.concealment import Concealer, FrameHistory
from audiocodec.runtime.steps import Answer, Step
from audiocodec.stereo import MidSide

if TYPE_CHECKING:
    from audiocodec.codec import Codec
    from audiocodec.rates import RateSetting

Samples = NDArray[np.float32]
Indices = NDArray[np.int64]
Sounding = Generator[Step, Answer, Samples]
"""Yields what it asks of the network, and returns samples ``[channels, n]``."""


class FrameDecoder:
    """The network's state, the last frames and the gains of one stream.

    Args:
        codec: the loaded model.
        rate: of the stream.
        channels: that are heard; each is coded by itself, unless ``rate`` couples two.
    """

    def __init__(self, codec: Codec, rate: RateSetting | MidSide, channels: int = 1) -> None:
        self._codec = codec
        self._coupled = rate if isinstance(rate, MidSide) else None
        self._rates: tuple[RateSetting, ...] = rate.coded if isinstance(rate, MidSide) else (rate,) * channels
        self._channels = channels
        self._concealer = Concealer(codec.sample_rate, codec.hop_samples)
        self.reset()

    def reset(self) -> None:
        """Return to the beginning, as both sides do in a silence."""
        # Left and right are sum and difference: with one noise in both, one of them would lose what the other gains.
        self._state: Any = self._codec.runtime.decoder_state(len(self._rates), self._coupled is not None)
        self._history: FrameHistory | None = None

    @property
    def begun(self) -> bool:
        """Whether a frame came since the beginning."""
        return self._history is not None

    @property
    def estimates(self) -> bool:
        """Whether there is sound to be made up for the next frame, should it be lost; otherwise it is zeros."""
        return self._history is not None and not self._concealer.silent

    def rows(self, frames: Indices) -> Indices:
        """Frames ``[n, channels, tokens]`` as the network takes them: ``[rows, n, tokens]``."""
        return frames[:, : len(self._rates)].transpose(1, 0, 2)

    def came(self, indices: Indices, rates: Sequence[RateSetting] | None = None) -> Sounding:
        """Frames ``[rows, n, tokens]`` that came; ``rates`` where they are others than the stream's."""
        self._history = self._history or FrameHistory(self._codec, self._rates)
        self._history.heard(indices, rates)
        return self._concealer.resume((yield from self._step("decode", indices, rates or self._rates)))

    def lost(self, following: Indices | None = None, rest: int = 1) -> Sounding:
        """The next frame, which is lost, made up; only where ``estimates``. See `FrameHistory.lost`."""
        assert self._history is not None
        latents = self._history.lost(following, rest)
        return self._concealer.fade((yield from self._step("synthesise", latents, self._rates)))

    def silence(self) -> Samples:
        """A frame ``[channels, hop]`` of silence that was sent, with what sounds on into it; then the beginning."""
        wave = np.zeros((self._channels, self._codec.hop_samples), np.float32)
        if self.begun:
            tail = self._concealer.end(self._heard(self._codec.runtime.tail(self._state)))[:, : wave.shape[1]]
            wave[:, : tail.shape[1]] = tail
        self.reset()
        return wave

    def _step(
        self, kind: Literal["decode", "synthesise"], rows: NDArray[Any], rates: Sequence[RateSetting]
    ) -> Sounding:
        wave, self._state = yield Step(self._codec.runtime, kind, rows, rates, self._state)
        return self._heard(wave)

    def _heard(self, wave: Samples) -> Samples:
        """The rows that the network gave as channels."""
        return self._coupled.unfold(wave) if self._coupled else wave


def at_once(sounding: Sounding) -> Samples:
    """What it returns, each of its steps computed by itself."""
    answer: Answer | None = None
    while True:
        try:
            answer = sounding.send(answer).run()  # type: ignore[arg-type]
        except StopIteration as done:
            samples: Samples = done.value
            return samples
