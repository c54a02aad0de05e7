"""Bringing two signals to one rate and into step."""

from __future__ import annotations

import numpy as np

from audiocodec.evaluate.metrics.base import Samples


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
    # Without its mean: an offset in both signals correlates best unshifted, whatever the sound does.
    spectrum = np.fft.rfft(degraded - degraded.mean(), size) * np.conj(np.fft.rfft(reference - reference.mean(), size))
    correlation = np.fft.irfft(spectrum, size)
    shifts = np.arange(-min(max_shift, len(reference) - 1), min(max_shift, len(degraded) - 1) + 1)
    scores = np.abs(correlation[shifts])  # absolute: a codec may turn the polarity
    best = int(np.argmax(scores))
    # Less than 1e-9 of full correlation is the rounding of the means and of the transforms, not a resemblance.
    floor = 1e-9 * float(np.linalg.norm(reference) * np.linalg.norm(degraded))
    return int(shifts[best]) if scores[best] > floor else 0
