"""One decoded signal against its original by many measures: each at its own rate, brought into step once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from audiocodec.errors import UsageError
from audiocodec.evaluate.lag import Lag, cut, find_lag, search_rate
from audiocodec.evaluate.metrics import METRICS, Domain, Samples, resample
from audiocodec.evaluate.recordings import mixed_down


@dataclass
class _Signal:
    """[samples] at ``rate``, resampled to whatever rate is asked for, once each."""

    samples: Samples
    rate: int

    def __post_init__(self) -> None:
        self._at = {self.rate: self.samples}

    def at(self, rate: int) -> Samples:
        if rate not in self._at:
            self._at[rate] = resample(self.samples, self.rate, rate)
        return self._at[rate]


class Pair:
    """A degraded signal and its reference, mono [samples] each, in step at every rate that a measure asks for.

    With ``delay_s`` (seconds that ``degraded`` is late) it is cut by that, to the nearest sample; None: the delay is
    searched once within ``max_delay_s`` either way, and applied at every rate. What is longer is cut to the common
    part. ``lag`` is what was applied; where the delay was stated, the polarity was not looked at.
    """

    def __init__(
        self,
        reference: Samples,
        reference_rate: int,
        degraded: Samples,
        degraded_rate: int,
        *,
        delay_s: float | None,
        max_delay_s: float,
    ) -> None:
        self._reference, self._degraded = _Signal(reference, reference_rate), _Signal(degraded, degraded_rate)
        self._cut: dict[int, tuple[Samples, Samples]] = {}
        self.search_rate = search_rate(reference_rate, degraded_rate)
        self.lag = Lag(delay_s or 0.0, False)
        if delay_s is None:
            signals = self._reference.at(self.search_rate), self._degraded.at(self.search_rate)
            self.lag = find_lag(*signals, self.search_rate, max_delay_s)

    def at(self, rate: int) -> tuple[Samples, Samples]:
        """(reference, degraded) at ``rate`` Hz, of equal length."""
        if rate not in self._cut:
            delay = round(self.lag.seconds * rate)
            self._cut[rate] = cut(self._reference.at(rate), self._degraded.at(rate), delay)
        return self._cut[rate]

    def score(self, name: str, domain: Domain | None) -> float:
        """The measure ``name``, at its own rate, or at the reference's where it takes any; NaN where undefined.

        Raises:
            UsageError: an unknown measure, or one that says nothing about ``domain``.
            MissingExtraError: its package is missing.
        """
        if name not in METRICS:
            raise UsageError(f"unknown measure '{name}'; known: {', '.join(METRICS)}")
        # The reference keeps its full band: what the degraded signal lost of it counts.
        rate = METRICS[name].sample_rate or self._reference.rate
        reference, degraded = self.at(rate)
        return METRICS[name](reference, degraded, rate, domain) if len(reference) else math.nan


class StereoPair:
    """Like :class:`Pair`, of signals [samples] or [channels, samples] each, all channels moved by the same delay.

    It is found in the downmix, which most measures are of; those that are ``per_channel`` are the mean over channels,
    a mono signal being compared with both of a stereo one.
    """

    def __init__(
        self,
        reference: Samples,
        reference_rate: int,
        degraded: Samples,
        degraded_rate: int,
        *,
        delay_s: float | None,
        max_delay_s: float,
    ) -> None:
        mixed = mixed_down(reference), reference_rate, mixed_down(degraded), degraded_rate
        self._downmix = Pair(*mixed, delay_s=delay_s, max_delay_s=max_delay_s)
        self.lag = self._downmix.lag
        references, heard = np.atleast_2d(reference), np.atleast_2d(degraded)
        count = max(len(references), len(heard))
        self._channels = [
            Pair(a, reference_rate, b, degraded_rate, delay_s=self.lag.seconds, max_delay_s=max_delay_s)
            for a, b in zip(_spread(references, count), _spread(heard, count), strict=True)
        ]

    def score(self, name: str, domain: Domain | None) -> float:
        """Like :meth:`Pair.score`; of channels, NaN only where it is undefined for each."""
        if name not in METRICS or not METRICS[name].per_channel:
            return self._downmix.score(name, domain)
        scores = [score for pair in self._channels if not math.isnan(score := pair.score(name, domain))]
        return sum(scores) / len(scores) if scores else math.nan


def _spread(channels: Samples, count: int) -> list[Samples]:
    return [channels[0]] * count if len(channels) == 1 else list(channels)
