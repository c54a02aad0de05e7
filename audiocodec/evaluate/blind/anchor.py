"""The low anchor of ITU-R BS.1534-3: the reference below 3.5 kHz."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from audiocodec.evaluate.metrics import Samples

PASS_HZ = 3500.0
# BS.1534-3: at most 0.1 dB of ripple below 3.5 kHz, at least 25 dB down at 4 kHz and 50 dB at 4.5 kHz.
# One design satisfies all three: 60 dB down from 4 kHz on, which is 0.01 dB of ripple.
_STOP_HZ = 4000.0
_ATTENUATION_DB = 60.0


def anchor_filter(sample_rate: int) -> npt.NDArray[np.float64]:
    """A linear-phase low-pass [taps], an odd number of them: a Kaiser-windowed sinc (Kaiser 1974)."""
    width = 2.0 * math.pi * (_STOP_HZ - PASS_HZ) / sample_rate
    half = math.ceil((_ATTENUATION_DB - 7.95) / (2.285 * width) / 2.0)
    cutoff = (PASS_HZ + _STOP_HZ) / sample_rate  # of the half-amplitude point, in units of half the rate
    taps = cutoff * np.sinc(cutoff * np.arange(-half, half + 1))
    taps *= np.kaiser(2 * half + 1, 0.1102 * (_ATTENUATION_DB - 8.7))
    return taps / taps.sum()


def low_anchor(reference: Samples, sample_rate: int) -> Samples:
    """``reference`` [samples] below 3.5 kHz, as long and in step with it."""
    taps = anchor_filter(sample_rate)
    half = len(taps) // 2
    size = 1 << (len(reference) + len(taps)).bit_length()
    filtered = np.fft.irfft(np.fft.rfft(reference, size) * np.fft.rfft(taps, size), size)
    return filtered[half : half + len(reference)]
