"""How late a degraded signal is: by its waveform, and by its envelopes where a codec did not keep the waveform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audiocodec.evaluate.metrics import Samples, align, resample

# Below this a delay is known too coarsely to be applied at 48 kHz.
MIN_SEARCH_RATE = 16_000
# Longer recordings are searched in their loudest stretch of so many seconds: the transforms of an hour take gigabytes.
SEARCH_SECONDS = 60.0
# A codec that makes up phases matches its original by 0.15 at a delay that is a pitch period or two off; one that
# keeps the waveform (Opus at 6 kbps) by 0.88. Between the two the envelopes are asked as well.
MATCH_FLOOR = 0.5
_ENVELOPE_RATE = 16_000
_HOP_S, _WINDOW_S = 0.001, 0.02
_BANDS = 12
# The waveform's answer is the finer one: it stands if the envelopes' is as near as they can tell.
_AGREE_S = 0.0015


@dataclass(frozen=True)
class Lag:
    """How late the degraded signal is, in seconds (negative: early), and whether its polarity is turned.

    ``match`` is the absolute correlation of the waveforms at ``seconds``, 0 to 1. ``by_envelopes`` tells that it was
    too low to go by: the delay is then good to 1 ms, and ``inverted`` False says nothing.
    """

    seconds: float
    inverted: bool
    match: float = 1.0
    by_envelopes: bool = False


def search_rate(reference_rate: int, degraded_rate: int) -> int:
    """The rate in Hz to search a delay at: the highest that both signals have content for, at least 16 kHz."""
    return max(MIN_SEARCH_RATE, min(reference_rate, degraded_rate))


def find_lag(reference: Samples, degraded: Samples, sample_rate: int, max_delay_s: float) -> Lag:
    """The delay of ``degraded`` [samples] within ``max_delay_s`` either way; 0 for silence.

    By cross-correlation of the waveforms; where they match by less than 0.5, by that of envelopes in bands.
    """
    start, stop = loudest(reference, round(SEARCH_SECONDS * sample_rate))
    if stop - start < len(reference):  # the delay moves what belongs to the stretch out of it at its ends, no more
        reference, degraded = reference[start:stop], degraded[start:stop]
    aligned, shifted, delay = align(reference, degraded, round(max_delay_s * sample_rate))
    match = _correlation(aligned, shifted)
    found = Lag(delay / sample_rate, match < 0.0, abs(match))
    if match == 0.0 or found.match >= MATCH_FLOOR:
        return found
    seconds, likeness = _envelope_lag(reference, degraded, sample_rate, max_delay_s)
    if likeness < MATCH_FLOOR or abs(seconds - found.seconds) <= _AGREE_S:
        return found
    aligned, shifted = cut(reference, degraded, round(seconds * sample_rate))
    return Lag(seconds, False, abs(_correlation(aligned, shifted)), by_envelopes=True)


def cut(reference: Samples, degraded: Samples, delay: int) -> tuple[Samples, Samples]:
    """The common part of two signals [samples] at one rate, ``degraded`` coming ``delay`` samples late."""
    reference, degraded = reference[max(0, -delay) :], degraded[max(0, delay) :]
    length = min(len(reference), len(degraded))
    return reference[:length], degraded[:length]


def loudest(samples: Samples, length: int) -> tuple[int, int]:
    """Where the stretch of ``length`` samples with the most energy lies, to half of its length."""
    if len(samples) <= length or length < 2:
        return 0, len(samples)
    starts = range(0, len(samples) - length + 1, length // 2)
    energies = [float(np.square(samples[start : start + length]).sum()) for start in starts]
    start = starts[int(np.argmax(energies))]
    return start, start + length


def _correlation(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    """Of two arrays of one shape, -1 to 1, without their means (an offset resembles any other); 0 for silence."""
    if a.size == 0:
        return 0.0
    a, b = (a - a.mean()).ravel(), (b - b.mean()).ravel()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0.0 else 0.0


def _envelope_lag(reference: Samples, degraded: Samples, sample_rate: int, max_delay_s: float) -> tuple[float, float]:
    """(delay in seconds to 1 ms, correlation at it) of the envelopes."""
    first, second = (_envelopes(resample(x, sample_rate, _ENVELOPE_RATE)) for x in (reference, degraded))
    most = int(max_delay_s / _HOP_S)
    likeness = {shift: _correlation(*cut(first, second, shift)) for shift in range(-most, most + 1)}
    best = max(likeness, key=lambda shift: (likeness[shift], -abs(shift)))
    return best * _HOP_S, likeness[best]


def _envelopes(samples: Samples) -> npt.NDArray[np.float64]:
    """log10 power [milliseconds, bands] of a signal at 16 kHz, each band without its mean."""
    window, hop = round(_WINDOW_S * _ENVELOPE_RATE), round(_HOP_S * _ENVELOPE_RATE)
    padded = np.pad(np.asarray(samples, dtype=np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    edges = np.geomspace(2, window // 2 + 1, _BANDS + 1).astype(int)[:-1]  # from 100 Hz on
    parts = []
    for start in range(0, len(frames), 4096):  # all at once they would be 320 times the signal
        power = np.abs(np.fft.rfft(frames[start : start + 4096] * np.hanning(window), axis=-1)) ** 2
        parts.append(np.add.reduceat(power, edges, axis=1))
    bands = np.concatenate(parts)
    # 60 dB below the mean of a band: pauses are alike, whatever noise is in them
    logs = np.log10(bands + 1e-6 * bands.mean(axis=0) + 1e-20)
    return logs - logs.mean(axis=0)
