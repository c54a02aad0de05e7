"""Objective measures of a decoded signal against its original.

Every measure takes ``reference`` and ``degraded`` as float arrays of shape [samples] and of equal length, full scale
at 1.0, plus their sample rate. A measure that is undefined for its input (speech measures of a silent reference, say)
is NaN rather than an exception, so that one odd file does not end an evaluation.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import ModuleType

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MissingExtraError, UsageError

Samples = npt.NDArray[np.floating]

SPEECH_RATE = 16_000
MEL_RATE = 24_000
MEL_SCALES: tuple[tuple[int, int], ...] = ((512, 40), (1024, 64), (2048, 80))  # (window in samples, mel bands)
MEL_FLOOR = 1e-5  # amplitude below which a band counts as silent


def pesq_wb(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Wideband PESQ (ITU-T P.862.2, 1.0 to 4.64), by the ``pesq`` package, at 16 kHz only.

    NaN where PESQ finds no utterance: a silent or very short reference, or a silent degraded signal.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    reference, degraded = _checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    pesq = _extra("pesq")
    # Below a quarter of a second PESQ has no frame to compare; without signal it divides by zero.
    if reference.size < sample_rate // 4 or not np.any(reference) or not np.any(degraded):
        return math.nan
    try:
        return float(pesq.pesq(sample_rate, reference, degraded, "wb"))
    except pesq.PesqError:
        return math.nan


def stoi(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011, 0 to 1), by the ``pystoi`` package, at 16 kHz only.

    NaN where the reference holds less than the 30 active frames (384 ms) that the measure needs.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    return _intelligibility(reference, degraded, sample_rate, extended=False)


def estoi(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Extended STOI (Jensen and Taal 2016): as :func:`stoi`, and also right for modulated noise."""
    return _intelligibility(reference, degraded, sample_rate, extended=True)


def si_sdr(reference: Samples, degraded: Samples, sample_rate: int | None = None) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 3), means removed.

    Infinity for identical signals, NaN for a silent reference, -infinity for a silent degraded signal.
    ``sample_rate`` is accepted so that all measures share one signature; the value does not depend on it.
    """
    reference, degraded = _checked_pair(reference, degraded, sample_rate, None)
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
    reference, degraded = _checked_pair(reference, degraded, sample_rate, None)
    if reference.size == 0:
        return math.nan
    reference, degraded = (resample(x, sample_rate, MEL_RATE) for x in (reference, degraded))
    distances = []
    for window, bands in MEL_SCALES:
        difference = _log_mel(reference, window, bands) - _log_mel(degraded, window, bands)
        distances.append(float(np.abs(difference).mean()))
    return float(np.mean(distances))


def resample(samples: Samples, rate_in: int, rate_out: int) -> Samples:
    """Resample [samples] (or [samples, channels]) at soxr's high quality; the identity at equal rates."""
    if rate_in == rate_out:
        return samples
    import soxr

    return soxr.resample(samples, rate_in, rate_out, quality="HQ")


def align(reference: Samples, degraded: Samples, max_shift: int) -> tuple[Samples, Samples, int]:
    """Cut two signals [samples] to their common part after the best shift, by cross-correlation.

    Returns (reference, degraded, delay in samples), the delay positive where ``degraded`` comes late; shifts beyond
    ``max_shift`` are not considered. Without any correlation (silence) the delay is 0.
    """
    delay = _best_delay(reference, degraded, max_shift)
    if delay >= 0:
        degraded = degraded[delay:]
    else:
        reference = reference[-delay:]
    length = min(len(reference), len(degraded))
    return reference[:length], degraded[:length], delay


def _best_delay(reference: Samples, degraded: Samples, max_shift: int) -> int:
    if len(reference) == 0 or len(degraded) == 0:
        return 0
    size = 1 << (len(reference) + len(degraded) - 1).bit_length()
    spectrum = np.fft.rfft(degraded, size) * np.conj(np.fft.rfft(reference, size))
    correlation = np.fft.irfft(spectrum, size)
    shifts = np.arange(-min(max_shift, len(reference) - 1), min(max_shift, len(degraded) - 1) + 1)
    scores = np.abs(correlation[shifts])  # absolute: a codec may turn the polarity
    best = int(np.argmax(scores))
    return int(shifts[best]) if scores[best] > 0 else 0


def _intelligibility(reference: Samples, degraded: Samples, sample_rate: int, extended: bool) -> float:
    reference, degraded = _checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    pystoi = _extra("pystoi")
    if reference.size == 0 or not np.any(reference):
        return math.nan
    import warnings

    with warnings.catch_warnings():
        # pystoi answers too little speech with a warning and the value 1e-5, which would pass for a measurement.
        warnings.simplefilter("error", RuntimeWarning)
        # Its extended form adds noise from numpy's global generator; fixed here, put back after.
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return float(pystoi.stoi(reference, degraded, sample_rate, extended=extended))
        except RuntimeWarning:
            return math.nan
        finally:
            np.random.set_state(state)


def _extra(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f"{name} does not import ({error}); run: pip install 'audiocodec[eval]'") from error


def _checked_pair(
    reference: Samples, degraded: Samples, sample_rate: int | None, required_rate: int | None
) -> tuple[Samples, Samples]:
    if required_rate is not None and sample_rate != required_rate:
        raise UsageError(f"this measure is defined at {required_rate} Hz, not {sample_rate} Hz; resample both signals")
    if sample_rate is not None and sample_rate <= 0:
        raise UsageError(f"a sample rate of {sample_rate} Hz is impossible")
    reference, degraded = (np.asarray(x, dtype=np.float64) for x in (reference, degraded))
    if reference.ndim != 1 or reference.shape != degraded.shape:
        raise UsageError(
            f"reference {reference.shape} and degraded {degraded.shape} must both be [samples], of equal length"
        )
    return reference, degraded


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
