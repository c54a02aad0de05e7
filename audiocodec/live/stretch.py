"""A frame played a little shorter or longer without a click: one period of its waveform is left out, or comes twice.

This is how a call follows a delay or a clock that changes (waveform similarity overlap-add): at the shift where the
frame resembles itself most, one copy fades into the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_LEAST_S, _MOST_S = 0.0025, 0.0125  # shifts: pitches from 400 Hz down to 80
_FADE_S = 0.005
_ALIKE = 0.5  # correlation below which a cut would be heard, unless the frame is quiet
_QUIET = 1e-3  # root mean square: 60 dB below full scale


def shorten(wave: Samples, sample_rate: int) -> Samples:
    """``wave [1, n]`` with a period left out, or as it is where that would be heard."""
    shift, fade = _best_shift(wave[0], sample_rate)
    if not shift:
        return wave
    ramp = _ramp(fade)
    joined = wave[:, :fade] * (1 - ramp) + wave[:, shift : shift + fade] * ramp
    return np.concatenate([joined, wave[:, shift + fade :]], axis=1)


def lengthen(wave: Samples, sample_rate: int) -> Samples:
    """``wave [1, n]`` with a period played twice, or as it is where that would be heard."""
    shift, fade = _best_shift(wave[0], sample_rate)
    if not shift:
        return wave
    ramp = _ramp(fade)
    joined = wave[:, shift : shift + fade] * (1 - ramp) + wave[:, :fade] * ramp
    return np.concatenate([wave[:, :shift], joined, wave[:, fade:]], axis=1)


def _ramp(samples: int) -> Samples:
    return (np.arange(samples, dtype=np.float32) + 1) / np.float32(samples + 1)


def _best_shift(wave: NDArray[np.float32], sample_rate: int) -> tuple[int, int]:
    """The shift at which a frame's beginning comes again, 0 where it does not; and the samples to fade over."""
    fade = round(_FADE_S * sample_rate)
    least, most = round(_LEAST_S * sample_rate), min(round(_MOST_S * sample_rate), len(wave) - fade)
    if most < least:
        return 0, fade
    if np.sqrt(np.mean(np.square(wave))) < _QUIET:
        return most, fade
    windows = np.lib.stride_tricks.sliding_window_view(wave[least : most + fade], fade)
    energy = np.sqrt((windows**2).sum(axis=1) * (wave[:fade] ** 2).sum())
    likeness = windows @ wave[:fade] / np.maximum(energy, 1e-9)
    best = int(np.argmax(likeness))
    return (least + best if likeness[best] >= _ALIKE else 0), fade
