"""Streaming resampling."""

from __future__ import annotations

import numpy as np
import soxr

from audiocodec.audio import prompt


class Resampler:
    """Streaming resampling of ``[channels, n]`` blocks by soxr (HQ, linear phase, delay compensated).

    Any cutting of the input gives the same samples. At equal rates the blocks pass untouched.

    Args:
        rate_in: in Hz.
        rate_out: in Hz.
        channels: how many.
        live: give out samples as soon as they are settled (`audiocodec.audio.prompt`), not in soxr's blocks, where the
            ratio of the rates is one of numbers up to 1000.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int, live: bool = False) -> None:
        self.samples_in = self.samples_out = 0
        self._rates = (rate_in, rate_out)
        self._channels = channels
        self._stream: soxr.ResampleStream | prompt.PromptStream | None = None
        if rate_in != rate_out and live and prompt.possible(rate_in, rate_out):
            self._stream = prompt.PromptStream(rate_in, rate_out, channels)
        elif rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, "float32", "HQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """float32 [channels, n] at the input rate -> [channels, m] at the output rate; m may be 0."""
        self.samples_in += block.shape[1]
        return self._resample(block, last=False)

    def flush(self, expected: int | None = None) -> np.ndarray:
        """The last samples, so that the whole output is ``expected`` long: trimmed, or padded with zeros.

        Without ``expected`` it is :func:`resampled_length` of what went in.
        """
        if expected is None:
            expected = resampled_length(self.samples_in, *self._rates)
        missing = expected - self.samples_out
        rest = self._resample(np.zeros((self._channels, 0), np.float32), last=True)[:, : max(missing, 0)]
        return np.pad(rest, ((0, 0), (0, max(missing - rest.shape[1], 0))))

    def _resample(self, block: np.ndarray, last: bool) -> np.ndarray:
        if self._stream is not None:
            interleaved = np.ascontiguousarray(block.T, np.float32)
            block = np.ascontiguousarray(self._stream.resample_chunk(interleaved, last=last).T)
        self.samples_out += block.shape[1]
        return block


def resampled_length(samples: int, rate_in: int, rate_out: int) -> int:
    """Samples at ``rate_out`` that cover ``samples`` at ``rate_in``: rounded up, in integers, exact at any length."""
    return -(-samples * rate_out // rate_in)
