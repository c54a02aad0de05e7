"""Measures of speech: quality by PESQ, intelligibility by STOI."""

from __future__ import annotations

import math

import numpy as np

from audiocodec.evaluate.metrics.base import SPEECH_RATE, Samples, checked_pair, extra


def pesq_wb(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Wideband PESQ (ITU-T P.862.2, 1.0 to 4.64), by the ``pesq`` package, at 16 kHz only.

    NaN where PESQ finds no utterance: a silent or very short reference, or a silent degraded signal.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    reference, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    pesq = extra("pesq")
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


def _intelligibility(reference: Samples, degraded: Samples, sample_rate: int, extended: bool) -> float:
    reference, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    pystoi = extra("pystoi")
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
