"""Speech or music: a few statistics of a recording below 3.7 kHz, and a logistic regression on them.

What sets speech apart is old knowledge: syllables come about four times a second, pauses lie between them, and voices
glide where instruments hold their notes.

- E. Scheirer and M. Slaney, "Construction and evaluation of a robust multifeature speech/music discriminator", ICASSP
  1997: modulation at 4 Hz, frames of low energy, spectral flux and centroid and their variation, the pulse.
- J. Saunders, "Real-time discrimination of broadcast speech/music", ICASSP 1996: the skew of zero crossings' rate.
- K. Seyerlehner et al., "Automatic music detection in television productions", DAFx 2007: notes that last.

Everything is measured at 8 kHz, so that neither the bandwidth of a recording nor its sampling rate can be a cue, and
nothing depends on its level. ``recipes/fit_content.py`` fits the constants in ``content_fit.py``.

Singing without instruments, rap and speech over loud music lie between the two, and either answer may come; tones and
steady noise count as music, silence as speech.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiocodec import content_fit

Domain = Literal["speech", "music"]
Array = NDArray[np.float64]

RATE = 8000
FRAME, HOP = 256, 128  # 32 ms every 16 ms
FRAME_RATE = RATE / HOP
LONG_FRAME, LONG_HOP = 1024, 512  # 128 ms every 64 ms: apart enough to tell a held note, long enough to resolve it
LOWEST_HZ, HIGHEST_HZ = 125.0, 3700.0  # the band that telephones have as well
BANDS = 12
CHUNK = 1 << 15  # samples of frames transformed at once: in fresh memory for all of them it takes twice as long
AROUND = 17  # bins of 7.8 Hz that a spectral peak is held against
AUDIBLE = 1e-4  # of the strongest bin's power: weaker ones are no notes
CLIP = 4.0  # standard deviations: further out a feature says no more
SUREST = 4.0  # log odds
# Of full scale, as root mean square in the band: what is quieter throughout is taken for silence.
SILENCE = 1e-4
# Less than this is a word at most: too little to tell a rhythm of syllables from one of notes.
LEAST_SAMPLES = RATE // 2
NAMES = (
    "low energy",
    "4 Hz modulation",
    "slow modulation",
    "flux",
    "flux variation",
    "zero crossing skew",
    "centroid variation",
    "range",
    "held notes",
    "peakedness",
    "pulse",
)


@dataclass(frozen=True)
class Content:
    """What a recording seems to hold. ``music`` is the probability of music; ``heard`` is False where nothing told."""

    domain: Domain
    music: float
    heard: bool = True

    @property
    def reason(self) -> str:
        """In words, for people: ``speech, 98 % sure``."""
        if not self.heard:
            return f"taken for {self.domain}, too quiet or short to tell"
        return f"{self.domain}, {100 * max(self.music, 1 - self.music):.0f} % sure"


def classify(pieces: Sequence[NDArray[np.float32]]) -> Content:
    """Speech or music, from some stretches of one recording.

    Args:
        pieces: each ``[samples]``, mono, at ``RATE``, one to ten seconds; silent and very short ones do not count, and
            with no other the answer is speech.
    """
    heard = [(row, len(piece)) for piece in pieces if (row := features(piece)) is not None]
    if not heard:
        return Content("speech", 0.0, heard=False)
    weights = np.array([count for _, count in heard], np.float64)
    logits = np.array([logit(row) for row, _ in heard])
    # Between a mean, in which one piece outvotes two, and a vote: a piece is 98 % sure at most.
    mean = float(np.average(np.clip(logits, -SUREST, SUREST), weights=weights))
    music = 1.0 / (1.0 + math.exp(-mean))
    return Content("music" if music > 0.5 else "speech", music)


def logit(row: Array) -> float:
    """The regression: ``row [features]`` as of `features` to log odds of music."""
    scaled = (row - np.array(content_fit.MEAN)) / np.array(content_fit.SCALE)
    return float(np.clip(scaled, -CLIP, CLIP) @ np.array(content_fit.WEIGHTS) + content_fit.BIAS)


def features(samples: NDArray[np.float32]) -> Array | None:
    """``[samples]`` at ``RATE``, mono, to one number for each of ``NAMES``; None if silent, short or not finite."""
    wave = np.asarray(samples, np.float32)
    if len(wave) < LEAST_SAMPLES or not np.isfinite(wave).all():
        return None
    power = _spectra(wave, FRAME, HOP)
    energy = power.sum(axis=1, dtype=np.float64)
    # From the power of half a spectrum to a mean square; 0.375 = mean of the squared window.
    if math.sqrt(energy.mean() * 2.0 / (FRAME * 0.375 * FRAME)) < SILENCE:
        return None
    floored = power + np.float32(1e-6 * energy.max() / power.shape[1])  # 60 dB below the loudest frame
    active = energy > 1e-4 * energy.max()
    return np.array(
        [
            *_loudness(energy),
            *_flux(floored, active),
            _zero_crossing_skew(wave, active),
            _centroid_variation(floored, active),
            _range(energy),
            *_held_notes(wave),
            _pulse(floored),
        ]
    )


def _spectra(wave: NDArray[np.float32], size: int, hop: int) -> NDArray[np.float32]:
    """Power ``[frames, bins]`` between LOWEST_HZ and HIGHEST_HZ."""
    first, last = round(LOWEST_HZ * size / RATE), round(HIGHEST_HZ * size / RATE)
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]
    window = np.hanning(size).astype(np.float32)
    power = np.empty((len(frames), last - first), np.float32)
    step = CHUNK // size
    for start in range(0, len(frames), step):
        bins = np.fft.rfft(frames[start : start + step] * window, axis=1)[:, first:last]
        power[start : start + step] = np.square(np.abs(bins))
    return power


def _loudness(energy: Array) -> tuple[float, float, float]:
    """The share of frames below half the mean level of their second, and how far loudness moves at 3-6 and 0-2 Hz."""
    level = np.sqrt(energy)
    width = min(len(level), round(FRAME_RATE))
    around = np.convolve(level, np.ones(width), "same") / np.convolve(np.ones_like(level), np.ones(width), "same")
    low = float(np.mean(level < 0.5 * around))
    moving = np.abs(np.fft.rfft((level - level.mean()) * np.hanning(len(level)))) ** 2
    hertz = np.fft.rfftfreq(len(level), 1 / FRAME_RATE)
    # Against the mean level: the depth of the modulation, whatever the length and the level of the piece.
    scale = len(level) ** 2 * level.mean() ** 2
    depths = [moving[(hertz >= a) & (hertz < b)].sum() / scale for a, b in ((3.0, 6.0), (0.0, 2.0))]
    return low, *(math.log10(1e-6 + depth) for depth in depths)  # type: ignore[return-value]


def _flux(power: NDArray[np.float32], active: NDArray[np.bool_]) -> tuple[float, float]:
    """How far the shape of the spectrum moves from frame to frame, and how unevenly."""
    shape = np.log(_bands(power))
    shape -= shape.mean(axis=1, keepdims=True)
    change = np.sqrt(np.square(np.diff(shape, axis=0)).mean(axis=1))[active[1:] & active[:-1]]
    if len(change) < 2:
        return 0.0, 0.0
    mean = max(float(change.mean()), 1e-6)
    return math.log(mean), float(change.std()) / mean


def _bands(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[frames, bins]`` to ``[frames, BANDS]``, on a scale that is nearly logarithmic."""
    # Not np.unique, nor np.quantile below: they import masked arrays, a thirtieth of encoding a second of audio.
    edges = sorted({round(edge) - 4 for edge in np.geomspace(4, power.shape[1] + 4, BANDS + 1).tolist()})
    return np.add.reduceat(power, edges[:-1], axis=1)


def _zero_crossing_skew(wave: NDArray[np.float32], active: NDArray[np.bool_]) -> float:
    """Skewness of the rate of zero crossings: in speech, few consonants cross often and many vowels seldom."""
    crossings = np.concatenate([[0], np.cumsum(np.signbit(wave[1:]) != np.signbit(wave[:-1]))])
    starts = np.arange(len(active)) * HOP
    counts = (crossings[starts + FRAME - 1] - crossings[starts])[active].astype(np.float64)
    spread = counts.std()
    return float(np.mean((counts - counts.mean()) ** 3) / spread**3) if spread > 0 else 0.0


def _centroid_variation(power: NDArray[np.float32], active: NDArray[np.bool_]) -> float:
    """Spread of the spectrum's centre in octaves."""
    bins = np.arange(power.shape[1]) + 4.0
    centre = np.log2((power @ bins) / power.sum(axis=1))[active]
    return float(centre.std())


def _range(energy: Array) -> float:
    """Decibels between loud and soft frames."""
    soft, loud = _quantiles(np.sort(energy), 0.1, 0.95)
    return float(10 * np.log10((loud + 1e-12) / (soft + 1e-6 * loud + 1e-12)))


def _quantiles(ordered: Array, *shares: float) -> Iterator[float]:
    """As np.quantile, linear between neighbours, which imports masked arrays."""
    for share in shares:
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        yield float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def _held_notes(wave: NDArray[np.float32]) -> tuple[float, float]:
    """The share of spectral peaks that are there again 128 ms later, and how far peaks stand out."""
    if len(wave) < 4 * LONG_FRAME:
        wave = np.pad(wave, (0, 4 * LONG_FRAME - len(wave)))
    power = _spectra(wave, LONG_FRAME, LONG_HOP)
    level = np.log(np.maximum(power, np.float32(AUDIBLE) * power.max()))
    total = np.cumsum(level, axis=1)
    around = (total[:, AROUND:] - total[:, :-AROUND]) / AROUND  # of bins 1 to AROUND, and so on
    middle = AROUND // 2 + 1
    above = level[:, middle : middle + around.shape[1]] - around
    inner = above[:, 1:-1]
    peak = (inner > above[:, :-2]) & (inner >= above[:, 2:]) & (inner > 1.0)  # 4.3 dB
    lag = LONG_FRAME // LONG_HOP
    earlier, later = peak[:-lag], peak[lag:]
    if not earlier.any():
        return 0.0, 0.0
    return float(np.sum(earlier & later) / np.sum(earlier)), float(inner[peak].mean())


def _pulse(power: NDArray[np.float32]) -> float:
    """The strongest repetition of onsets at 40 to 240 beats a minute, as an autocorrelation."""
    onset = np.maximum(np.diff(np.log(_bands(power)), axis=0), 0.0).sum(axis=1)
    onset -= onset.mean()
    size = 2 ** math.ceil(math.log2(2 * len(onset)))
    self_similar = np.fft.irfft(np.abs(np.fft.rfft(onset, size)) ** 2)[: len(onset)]
    lags = self_similar[round(0.25 * FRAME_RATE) : round(1.5 * FRAME_RATE)]
    if self_similar[0] <= 0 or not len(lags):
        return 0.0
    return float(lags.max() / self_similar[0])
