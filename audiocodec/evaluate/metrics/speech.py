"""Measures of speech against its original: quality by PESQ, intelligibility by STOI."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import numpy as np

from audiocodec.evaluate.metrics.base import SPEECH_RATE, Samples, checked_pair, is_silent
from audiocodec.evaluate.metrics.packages import extra, seeded_numpy

STOI_SECONDS = 0.384  # 30 frames of 25.6 ms at half overlap


def pesq_wb(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Wideband PESQ (ITU-T P.862.2, 1.0 to 4.64), by the ``pesq`` package, at 16 kHz only.

    NaN where PESQ finds no utterance: a silent or very short reference, or a silent degraded signal.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    return _pesq(reference, degraded, sample_rate, "wb")


def pesq_nb(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Narrowband PESQ (ITU-T P.862 mapped by P.862.1, 1.0 to 4.55), by the ``pesq`` package, at 16 kHz only.

    P.862 is defined for input at 8 and at 16 kHz and filters both to the telephone band; 16 kHz is taken here, so
    that no resampler of ours has a say. What lies above 3.4 kHz does not count. NaN and refusals as :func:`pesq_wb`.
    """
    return _pesq(reference, degraded, sample_rate, "nb")


def _pesq(reference: Samples, degraded: Samples, sample_rate: int, mode: Literal["wb", "nb"]) -> float:
    reference, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    pesq = extra("pesq")
    # Below a quarter of a second PESQ has no frame to compare; without signal it divides by zero.
    if reference.size < sample_rate // 4 or is_silent(reference) or not np.any(degraded):
        return math.nan
    try:
        return float(pesq.pesq(sample_rate, reference, degraded, mode))
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
    # Shorter than its 30 frames pystoi has nothing to correlate, and below one frame it fails.
    if reference.size < STOI_SECONDS * sample_rate or is_silent(reference):
        return math.nan
    # The extended form adds noise from numpy's global generator.
    with warnings.catch_warnings(), seeded_numpy():
        # pystoi answers too little speech with a warning and the value 1e-5, which would pass for a measurement.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, degraded, sample_rate, extended=extended))
        except RuntimeWarning:
            return math.nan
