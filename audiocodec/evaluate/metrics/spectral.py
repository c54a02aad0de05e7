"""Distances between waveforms and between spectra: of any sound, at any rate."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from audiocodec.evaluate.metrics.align import resample
from audiocodec.evaluate.metrics.base import Samples, checked_pair

MEL_RATE = 24_000
MEL_SCALES: tuple[tuple[int, int], ...] = ((512, 40), (1024, 64), (2048, 80))  # (window in samples, mel bands)
MEL_FLOOR = 1e-5  # amplitude below which a band counts as silent


def si_sdr(reference: Samples, degraded: Samples, sample_rate: int | None = None) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 3), means removed.

    Infinity for identical signals, NaN for a silent reference, -infinity for a silent degraded signal.
    ``sample_rate`` is accepted so that all measures share one signature; the value does not depend on it.
    """
    reference, degraded = checked_pair(reference, degraded, sample_rate, None)
    if reference.size == 0:
        return math.nan
    reference = reference - reference.mean()
    degraded = degraded - degraded.mean()
    reference_energy = float(reference @ reference)
    if reference_energy == 0.0:
        return math.nan
    target = (float(degraded @ reference) / reference_energy) * reference
    noise = degraded - target
    target_energy, noise_energy = float(target @ target), float(noise @ noise)
    # Residuals at the level of double-precision rounding are equality.
    if noise_energy <= 1e-25 * target_energy:
        return math.inf if target_energy > 0.0 else -math.inf
    return 10.0 * math.log10(target_energy / noise_energy) if target_energy > 0.0 else -math.inf


def mel_distance(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Multi-scale log-mel distance: mean of |log10 mel amplitude difference| (0 = identical).

    Both signals are resampled to 24 kHz; windows of 512, 1024 and 2048 samples with 40, 64 and 80 bands from 0 to
    12 kHz, hop a quarter of the window, amplitudes floored at 1e-5; each scale weighs the same.
    NaN for signals without samples.
    """
    reference, degraded = checked_pair(reference, degraded, sample_rate, None)
    if reference.size == 0:
        return math.nan
    reference, degraded = (resample(x, sample_rate, MEL_RATE) for x in (reference, degraded))
    distances = []
    for window, bands in MEL_SCALES:
        difference = _log_mel(reference, window, bands) - _log_mel(degraded, window, bands)
        distances.append(float(np.abs(difference).mean()))
    return float(np.mean(distances))


def _log_mel(samples: Samples, window: int, bands: int) -> Samples:
    """log10 of the floored mel amplitudes, [frames, bands], of a signal at MEL_RATE."""
    hop = window // 4
    padded = np.pad(samples, window // 2)
    padded = np.pad(padded, (0, max(0, window - padded.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    amplitudes = np.abs(np.fft.rfft(frames * hann, axis=-1))
    return np.log10(np.maximum(amplitudes @ _mel_filters(window, bands), MEL_FLOOR))


@lru_cache(maxsize=8)
def _mel_filters(window: int, bands: int) -> Samples:
    """Triangular filters [bins, bands] on the Slaney mel scale, each of unit area in Hz (librosa's default)."""
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(MEL_RATE / 2), bands + 2))
    bins_hz = np.arange(window // 2 + 1) * (MEL_RATE / window)
    widths = np.diff(edges_hz)
    slopes = edges_hz[None, :] - bins_hz[:, None]
    rising, falling = -slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return filters * (2.0 / (edges_hz[2:] - edges_hz[:-2]))


def _hz_to_mel(hz: float) -> float:
    """Slaney's scale: linear below 1 kHz (15 mel), logarithmic above (27 mel for a factor of 6.4)."""
    return hz * 3.0 / 200.0 if hz < 1000.0 else 15.0 + 27.0 * math.log(hz / 1000.0) / math.log(6.4)


def _mel_to_hz(mel: Samples) -> Samples:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * math.log(6.4) / 27.0))
