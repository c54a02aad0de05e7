"""Distances between short-time spectra: of any sound, at any rate, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from audiocodec.evaluate.metrics.base import Samples, checked_pair

# (transform, hop, window) in samples at 24 kHz: Yamamoto et al. 2020, arXiv 1910.11480, table 1.
STFT_RATE = 24_000
STFT_SCALES: tuple[tuple[int, int, int], ...] = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
STFT_POWER_FLOOR = 1e-7  # as in the authors' code

# (transform and window, hop) in samples at 48 kHz: 43 ms and 11 ms.
LSD_RATE = 48_000
LSD_SCALE = (2048, 512)
LSD_FLOOR_DB = -100.0  # of a full-scale sine; 16-bit rounding noise lies near -126 dB in each bin

_FRAMES_AT_ONCE = 1024  # bounds memory: 1024 frames of 2048 doubles are 16 MB


def stft_distance(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Multi-scale STFT distance (0 = identical): spectral convergence plus mean |ln amplitude difference|.

    Yamamoto et al. 2020 (Parallel WaveGAN, arXiv 1910.11480, eq. 3 to 6), the mean over three resolutions. Their
    windows of 10, 25 and 50 ms (defined at 24 kHz) keep their duration at every rate, so the whole band counts; only
    values at one rate are comparable. NaN for a silent reference, which convergence divides by.
    """
    reference, degraded = checked_pair(reference, degraded, sample_rate, None)
    if reference.size == 0 or not np.any(reference):
        return math.nan
    distances = []
    for scale in STFT_SCALES:
        size, hop, window = (max(1, round(length * sample_rate / STFT_RATE)) for length in scale)
        difference = energy = log_difference = 0.0
        count = 0
        pairs = zip(_powers(reference, size, hop, window), _powers(degraded, size, hop, window), strict=True)
        for powers in pairs:
            first, second = (np.sqrt(np.maximum(x, STFT_POWER_FLOOR)) for x in powers)
            difference += float(((first - second) ** 2).sum())
            energy += float((first**2).sum())
            log_difference += float(np.abs(np.log(first / second)).sum())
            count += first.size
        distances.append(math.sqrt(difference / energy) + log_difference / count)
    return float(np.mean(distances))


def log_spectral_distance(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Log-spectral distance in dB (0 = identical): the frames' mean of the bins' root mean square level difference.

    Gray and Markel 1976 (IEEE Trans. ASSP 24(5)) on short-time spectra, as used for bandwidth
    extension (Kuleshov et al. 2017, arXiv 1708.00853, eq. 4, there in units of 10 dB). Hann windows of 43 ms every
    11 ms at every rate, so that the whole band counts; only values at one rate are comparable. Levels are floored at
    -100 dB of a full-scale sine: two silences are equal. NaN for signals without samples.
    """
    reference, degraded = checked_pair(reference, degraded, sample_rate, None)
    if reference.size == 0:
        return math.nan
    size, hop = (max(1, round(length * sample_rate / LSD_RATE)) for length in LSD_SCALE)
    full_scale = (size / 4.0) ** 2  # a Hann window sums to size / 2, and a sine has half its amplitude at +f
    total, frames = 0.0, 0
    for powers in zip(_powers(reference, size, hop, size), _powers(degraded, size, hop, size), strict=True):
        first, second = (10.0 * np.log10(np.maximum(x / full_scale, 10.0 ** (LSD_FLOOR_DB / 10.0))) for x in powers)
        total += float(np.sqrt(((first - second) ** 2).mean(axis=-1)).sum())
        frames += len(first)
    return total / frames


def _powers(samples: Samples, size: int, hop: int, window: int) -> Iterator[Samples]:
    """Power spectra [frames, bins] of Hann windows centred on every ``hop``-th sample, some frames at a time."""
    hann = np.zeros(size)
    start = (size - window) // 2
    hann[start : start + window] = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    padded = np.pad(samples, size // 2, mode="reflect")
    padded = np.pad(padded, (0, max(0, size - padded.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        yield np.abs(np.fft.rfft(frames[first : first + _FRAMES_AT_ONCE] * hann, axis=-1)) ** 2
