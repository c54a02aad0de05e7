"""One decoded signal against its original by many measures: each at its own rate, brought into step once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

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
    """A degraded signal and its reference, [samples] or [channels, samples], in step at every rate that is asked for.

    Measures are of the downmix; those that are ``per_channel`` are the mean over channels, all of them moved by the
    same delay, and a mono signal is compared with both of a stereo one.

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
        self._whole = reference, degraded
        self._reference = _Signal(mixed_down(reference), reference_rate)
        self._degraded = _Signal(mixed_down(degraded), degraded_rate)
        self._cut: dict[int, tuple[Samples, Samples]] = {}
        self.search_rate = search_rate(reference_rate, degraded_rate)
        self.lag = Lag(delay_s or 0.0, False)
        if delay_s is None:
            signals = self._reference.at(self.search_rate), self._degraded.at(self.search_rate)
            self.lag = find_lag(*signals, self.search_rate, max_delay_s)

    def at(self, rate: int) -> tuple[Samples, Samples]:
        """(reference, degraded), mixed down, at ``rate`` Hz, of equal length."""
        if rate not in self._cut:
            delay = round(self.lag.seconds * rate)
            self._cut[rate] = cut(self._reference.at(rate), self._degraded.at(rate), delay)
        return self._cut[rate]

    def score(self, name: str, domain: Domain | None) -> float:
        """The measure ``name``, at its own rate, or at the reference's where it takes any; NaN where undefined.

        Of channels NaN only where it is undefined for each.

        Raises:
            UsageError: an unknown measure, or one that says nothing about ``domain``.
            MissingExtraError: its package is missing.
        """
        if name not in METRICS:
            raise UsageError(f"unknown measure '{name}'; known: {', '.join(METRICS)}")
        if METRICS[name].per_channel and self._channels:
            scores = [score for pair in self._channels if not math.isnan(score := pair.score(name, domain))]
            return sum(scores) / len(scores) if scores else math.nan
        # The reference keeps its full band: what the degraded signal lost of it counts.
        rate = METRICS[name].sample_rate or self._reference.rate
        reference, degraded = self.at(rate)
        return METRICS[name](reference, degraded, rate, domain) if len(reference) else math.nan

    @cached_property
    def _channels(self) -> list[Pair]:
        """A pair for each channel; none where both signals are [samples]."""
        if all(signal.ndim == 1 for signal in self._whole):
            return []
        count = max(len(np.atleast_2d(signal)) for signal in self._whole)
        rates = self._reference.rate, self._degraded.rate
        return [
            Pair(a, rates[0], b, rates[1], delay_s=self.lag.seconds, max_delay_s=0.0)
            for a, b in zip(*(_spread(np.atleast_2d(signal), count) for signal in self._whole), strict=True)
        ]


def _spread(channels: Samples, count: int) -> list[Samples]:
    return [channels[0]] * count if len(channels) == 1 else list(channels)
