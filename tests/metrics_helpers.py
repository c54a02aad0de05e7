"""Real speech and the damage that measures are tried on."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr

from audiocodec.evaluate import metrics

SPEECH = Path(__file__).resolve().parent.parent / "samples" / "speech.flac"
SNRS_DB = (30.0, 15.0, 5.0)


@lru_cache(maxsize=4)
def speech(rate: int, seconds: float = 3.0) -> np.ndarray:
    """The start of the repository's sample [samples] at ``rate``."""
    samples, own_rate = soundfile.read(SPEECH)
    cut = soxr.resample(samples[: int(seconds * own_rate)], own_rate, rate)
    cut.flags.writeable = False
    return cut


def noisy(signal: np.ndarray, snr_db: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(signal))
    return signal + noise * np.sqrt((signal**2).mean() / (noise**2).mean() / 10 ** (snr_db / 10))


def low_passed(signal: np.ndarray, rate: int, cutoff_hz: float = 3500.0) -> np.ndarray:
    spectrum = np.fft.rfft(signal)
    spectrum[np.fft.rfftfreq(len(signal), 1 / rate) > cutoff_hz] = 0.0
    return np.fft.irfft(spectrum, len(signal))


def clipped(signal: np.ndarray, part: float = 0.05) -> np.ndarray:
    limit = part * np.abs(signal).max()
    return np.clip(signal, -limit, limit)


def with_losses(signal: np.ndarray, rate: int) -> np.ndarray:
    """Every eighth packet of 20 ms silent."""
    packet = np.arange(len(signal)) // (rate // 50)
    return np.where(packet % 8 == 7, 0.0, signal)


def rate_of(metric: metrics.Metric) -> int:
    return metric.sample_rate or 22_050


def require(metric: metrics.Metric) -> None:
    """Skip with the reason where the measure cannot run."""
    import pytest

    if reason := metric.absent_reason():
        pytest.skip(reason)


def score(name: str, damage=lambda signal, rate: signal) -> float:
    """The measure ``name`` of some seconds of speech after ``damage(signal, rate)``."""
    metric = metrics.METRICS[name]
    require(metric)
    # DNSMOS repeats clips until they pass 9.01 s: 4.6 s make one window of it, 3 s would make three.
    signal = speech(rate_of(metric), 4.6 if name == "dnsmos" else 3.0)
    return metric(signal, damage(signal, rate_of(metric)), rate_of(metric))


def falls(name: str, scores: list[float]) -> bool:
    """Whether each score is worse than the one before."""
    worse = scores if metrics.METRICS[name].higher_is_better else [-value for value in scores]
    return all(first > second for first, second in pairwise(worse))
