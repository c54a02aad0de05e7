"""Two recordings against each other: how far apart in time, level, length and band, and every measure that holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audiocodec.audio import AudioReader
from audiocodec.errors import AudioError, MissingExtraError, ModelError, UsageError
from audiocodec.evaluate.lag import MATCH_FLOOR
from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.metrics import DOMAINS, METRICS, Domain, Metric, Samples
from audiocodec.evaluate.metrics.base import is_silent
from audiocodec.output import STDIO

Channels = Literal["mono", "left", "right"]

MAX_DELAY_MS = 200.0
# Relative to the strongest part of the long-term spectrum: 16-bit noise lies some 90 dB below that of speech.
BAND_FLOOR_DB = -80.0
# Measures of speech want about 0.4 s of it (30 frames of STOI).
SHORT_S = 0.5


@dataclass(frozen=True)
class Recording:
    """What was read: ``rate`` in Hz, ``samples`` a channel, ``band_hz`` up to where there is sound (0: silence)."""

    path: str
    rate: int
    channels: int
    samples: int
    band_hz: float

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.samples / self.rate


@dataclass(frozen=True)
class Score:
    """One measure's finding. ``value`` is NaN where undefined, and ``note`` says why; or what else to know of it."""

    name: str
    heading: str
    value: float
    higher_is_better: bool
    best: float | None
    decimals: int
    note: str = ""

    @property
    def shown(self) -> str:
        """The value as tables show it."""
        return "undefined" if math.isnan(self.value) else f"{self.value:.{self.decimals}f}"


@dataclass(frozen=True)
class Comparison:
    """Everything found about two recordings.

    ``lag_ms`` is how late the degraded one is (negative: early), removed before measuring; ``inverted`` that its
    polarity is turned, which is left so; ``waveform_match`` the correlation of what is in step then, 0 to 1. Where that
    is low, ``lag_by_envelopes`` tells that the lag is that of the envelopes, and ``inverted`` is None: unknown.
    ``level_db`` and ``length_ms`` are degraded less reference, ``level_db`` None if either is silent. ``unmeasured``
    names the measures that could not run here, with the reason.
    """

    reference: Recording
    degraded: Recording
    domain: Domain | None
    channels: Channels
    lag_ms: float
    lag_by_envelopes: bool
    inverted: bool | None
    waveform_match: float
    level_db: float | None
    scores: list[Score]
    unmeasured: dict[str, str]
    warnings: list[str]

    @property
    def length_ms(self) -> float:
        """How much longer the degraded recording is, in ms."""
        return 1000.0 * (self.degraded.seconds - self.reference.seconds)

    @property
    def length_samples(self) -> int:
        """The same in samples at the reference's rate."""
        return round(self.length_ms * self.reference.rate / 1000.0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; numbers that are not finite become None, ``shown`` tells them apart."""
        from audiocodec.evaluate.results import plain

        whole = asdict(self)
        for score, found in zip(whole["scores"], self.scores, strict=True):
            score["shown"] = found.shown
        return plain({**whole, "length_ms": self.length_ms, "length_samples": self.length_samples})


def compare_files(
    reference: str | Path,
    degraded: str | Path,
    *,
    domain: Domain | None = "speech",
    metrics: Sequence[str] = (),
    max_delay_ms: float = MAX_DELAY_MS,
    channels: Channels = "mono",
) -> Comparison:
    """Compare the file ``degraded`` with the file ``reference``: any formats that are read, any two rates.

    Args:
        reference: the original.
        degraded: what became of it.
        domain: what the recordings are; None where that is unknown: measures of any sound alone.
        metrics: names in METRICS; empty: all that are valid for ``domain`` and can run here.
        max_delay_ms: the delay is searched within this, either way.
        channels: ``mono`` averages the channels; ``left`` and ``right`` take one (of mono, the only one).

    Raises:
        AudioError: a file cannot be read, is empty, or holds NaN or infinity.
        UsageError: an unknown measure, or one that says nothing about ``domain``.
        MissingExtraError, ModelError: a measure in ``metrics`` cannot run here.
    """
    if str(reference) == str(degraded) == STDIO:
        raise UsageError("standard input can be one of the two recordings, not both")
    for name in metrics:
        check_metric(name, domain)
    warnings: list[str] = []
    first, first_rate, original = _read(reference, channels, warnings)
    second, second_rate, other = _read(degraded, channels, warnings)
    pair = Pair(first, first_rate, second, second_rate, delay_s=None, max_delay_s=max_delay_ms / 1000.0)
    scores, unmeasured = _scores(pair, domain, metrics)
    return Comparison(
        reference=original,
        degraded=other,
        domain=domain,
        channels=channels,
        lag_ms=1000.0 * pair.lag.seconds,
        lag_by_envelopes=pair.lag.by_envelopes,
        inverted=None if pair.lag.by_envelopes or pair.lag.match < MATCH_FLOOR else pair.lag.inverted,
        waveform_match=pair.lag.match,
        level_db=_level_db(*pair.at(pair.search_rate)),
        scores=scores,
        unmeasured=unmeasured,
        warnings=warnings,
    )


def check_metric(name: str, domain: Domain | None) -> None:
    """Refuse a measure that is unknown or not valid for ``domain``. Raises UsageError."""
    if name not in METRICS:
        raise UsageError(f"unknown measure '{name}'; known: {', '.join(METRICS)}")
    metric = METRICS[name]
    if metric.per_channel:
        raise UsageError(f"'{name}' is a measure of stereo, which is mixed down here; name it without its '_lr'")
    if not valid(metric, domain):
        kinds = " and ".join(sorted(metric.domains))
        what = "of sound that may be anything" if domain is None else f"of {domain}"
        raise UsageError(f"{metric.heading} is a measure of {kinds}, not {what}; leave it out or change --domain")


def valid(metric: Metric, domain: Domain | None) -> bool:
    """Whether a measure says something about ``domain``; None: about every domain."""
    return metric.domains >= frozenset(DOMAINS) if domain is None else domain in metric.domains


def _scores(pair: Pair, domain: Domain | None, wanted: Sequence[str]) -> tuple[list[Score], dict[str, str]]:
    """What each measure found, and why others found nothing; one that was asked for by name raises instead."""
    scores, unmeasured = [], {}
    mono = {name: metric for name, metric in METRICS.items() if not metric.per_channel}
    fitting = [n for n, metric in mono.items() if valid(metric, domain) and not metric.needs_transcript]
    for name in dict.fromkeys(wanted or fitting):
        metric = METRICS[name]
        try:
            if reason := metric.absent_reason():
                raise MissingExtraError(reason)
            value = pair.score(name, domain)
        except (MissingExtraError, ModelError) as error:
            if wanted:
                raise
            unmeasured[name] = str(error)
            continue
        note = "" if metric.needs_reference else "of the degraded alone"
        note = _why_undefined(pair) if math.isnan(value) else note
        shape = metric.higher_is_better, metric.best, metric.decimals
        scores.append(Score(name, metric.heading, value, *shape, note))
    return scores, unmeasured


def _why_undefined(pair: Pair) -> str:
    reference, degraded = pair.at(pair.search_rate)
    seconds = len(reference) / pair.search_rate
    if seconds == 0.0:
        return "nothing in common"
    silent = [name for name, x in (("reference", reference), ("degraded", degraded)) if is_silent(x)]
    if silent:
        return f"{' and '.join(silent)} silent"
    return f"too short, {1000 * seconds:.0f} ms" if seconds < SHORT_S else "too little of it is active"


def _read(source: str | Path, channels: Channels, warnings: list[str]) -> tuple[Samples, int, Recording]:
    """The samples [samples] float64 of one file, its rate in Hz, and what to say of it."""
    with AudioReader(source) as reader:
        blocks = [_one_channel(block, channels) for block in reader]
        if not blocks:
            raise AudioError(f"{reader.name} holds no samples; there is nothing to compare")
        if reader.shortfall:
            warnings.append(reader.shortfall)
        samples, rate = np.concatenate(blocks), reader.sample_rate
        found = Recording(reader.name, rate, reader.channels, len(samples), band_hz(samples, rate))
    return samples, rate, found


def _one_channel(block: np.ndarray, channels: Channels) -> Samples:
    if channels == "mono":
        return block.mean(axis=0, dtype=np.float64)
    return block[0 if channels == "left" else -1].astype(np.float64)


def _level_db(reference: Samples, degraded: Samples) -> float | None:
    """The level of ``degraded`` above that of ``reference`` in dB, over what they have in common."""
    energies = float(reference @ reference), float(degraded @ degraded)
    return 10.0 * math.log10(energies[1] / energies[0]) if min(energies) > 0.0 else None


def band_hz(samples: Samples, rate: int) -> float:
    """The highest frequency in Hz at which the long-term spectrum is within 80 dB of its strongest part; 0: silence."""
    size = 2048
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    # At most about 2000 frames: the band of an hour is that of its parts
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: max(size // 2, len(padded) // 2000)]
    power = (np.abs(np.fft.rfft(frames * np.hanning(size), axis=-1)) ** 2).mean(axis=0)
    if not np.any(power):
        return 0.0
    above = np.flatnonzero(power >= power.max() * 10.0 ** (BAND_FLOOR_DB / 10.0))
    return float(above[-1]) * rate / size
