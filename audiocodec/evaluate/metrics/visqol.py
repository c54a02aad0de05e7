"""ViSQOL: perceptual similarity of spectrogram patches, of music and of speech, by the ``visqol-python`` package."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

from audiocodec.evaluate.metrics.base import SPEECH_RATE, Samples, checked_pair, is_silent
from audiocodec.evaluate.metrics.packages import extra

VISQOL_AUDIO_RATE = 48_000


def visqol_audio(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """ViSQOL v3 in audio mode (Chinen et al. 2020, arXiv 2004.09584; 1 to 4.73), at 48 kHz only.

    The package's port of ViSQOL 3.3.3 with the support vector regression that it bundles, trained on music. Level and
    delay are matched by the measure itself. NaN for silence and for clips shorter than about a second.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    return _visqol(reference, degraded, sample_rate, VISQOL_AUDIO_RATE, "audio")


def visqol_speech(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """ViSQOL v3 in speech mode (Chinen et al. 2020, arXiv 2004.09584, section 3; 1 to 5), at 16 kHz only.

    The similarity becomes an opinion score by the fitted exponential, scaled so that identical signals score 5. The
    C++ program's default since 3.3 is a lattice network instead, which needs another runtime, does not give identical
    signals its best value, and lies 1 to 2 points lower: compare values of this measure with each other only.
    NaN for silence and where no speech is detected, as in clips shorter than about a second.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    return _visqol(reference, degraded, sample_rate, SPEECH_RATE, "speech")


def _visqol(
    reference: Samples, degraded: Samples, sample_rate: int, required_rate: int, mode: Literal["audio", "speech"]
) -> float:
    reference, degraded = checked_pair(reference, degraded, sample_rate, required_rate)
    api = _api(mode)
    if is_silent(reference) or is_silent(degraded):
        return math.nan
    try:
        with _one_numba_thread():
            return float(api.measure_from_arrays(reference, degraded, sample_rate).moslqo)
    except (IndexError, ValueError):  # no patch to compare: too short, or no active speech
        return math.nan


@lru_cache(maxsize=2)
def _api(mode: str) -> Any:
    api = extra("visqol").VisqolApi()
    api.create(mode=mode, use_lattice_model=False)  # never by what happens to be installed
    return api


@contextmanager
def _one_numba_thread() -> Iterator[None]:
    """The package adds up in parallel where numba is installed, in an order that changes the last digits."""
    try:
        import numba
    except ImportError:
        yield
        return
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(threads)
