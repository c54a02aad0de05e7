"""What a measure is: its name, where it is valid, which way is better; and how signals are checked before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from audiocodec.errors import MissingExtraError, UsageError
from audiocodec.evaluate.metrics.packages import extra, versions

Samples = npt.NDArray[np.floating]
Domain = Literal["speech", "music"]
DOMAINS: tuple[Domain, ...] = ("speech", "music")

SPEECH_RATE = 16_000
MIN_JUDGED_SECONDS = 0.5  # PLCMOS fails below 0.1 s, and no network heard such clips in training


@dataclass(frozen=True)
class Metric:
    """A measure of a decoded signal, most often against its original.

    ``function(reference, degraded, sample_rate)`` takes float arrays [samples] of equal length, full scale at 1.0. A
    value that is undefined for its input (a speech measure of silence) is NaN, so that one odd file does not end an
    evaluation.
    """

    name: str
    """What recipes and result files call it."""
    heading: str
    """What tables and charts call it."""
    function: Callable[[Samples, Samples, int], float]
    source: str
    """The paper, standard or package that defines it."""
    sample_rate: int | None = SPEECH_RATE
    """The one rate in Hz at which it is defined; None: any."""
    domains: frozenset[Domain] = frozenset(DOMAINS)
    """What it says something about; anything else is refused."""
    higher_is_better: bool = True
    best: float | None = None
    """The value for identical signals; None where it depends on the recording, as without a reference."""
    decimals: int = 2
    needs_reference: bool = True
    """False: it judges the degraded signal alone."""
    needs_transcript: bool = False
    """True: it compares words, not signals; ``function`` cannot be called, see :mod:`.recognition`."""
    per_channel: bool = False
    """True: the mean over left and right, each by itself; else stereo is mixed down first."""
    packages: tuple[str, ...] = ()
    """What it imports beyond the package's own requirements; all of the ``eval`` extra."""

    def of_channels(self) -> Metric:
        """The same measure of left and right, each by itself."""
        return replace(self, name=f"{self.name}_lr", heading=f"{self.heading} L, R", per_channel=True)

    def absent_reason(self) -> str | None:
        """Why it cannot run here, with the remedy, in one line; None where it can. Imports, but measures nothing."""
        return absent_reason(self.packages)

    def version(self) -> str:
        """Names and versions of the packages that it comes from, this one where there are no others."""
        return versions(self.packages or ("audiocodec",))

    def __call__(self, reference: Samples, degraded: Samples, sample_rate: int, domain: Domain | None = None) -> float:
        """The value; ``domain`` says what the recording is, None that the caller vouches for it.

        Raises:
            UsageError: another rate or domain than the measure is valid for, arrays of other shapes.
            MissingExtraError: its package is not installed.
        """
        if domain is not None and domain not in self.domains:
            raise UsageError(f"{self.heading} is a measure of {' and '.join(sorted(self.domains))}, not of {domain}")
        return self.function(*checked_pair(reference, degraded, sample_rate, self.sample_rate), sample_rate)


def checked_pair(
    reference: Samples, degraded: Samples, sample_rate: int | None, required_rate: int | None
) -> tuple[Samples, Samples]:
    """Both signals as float64. Raises UsageError for a wrong rate, for unequal lengths, for more than one axis."""
    if required_rate is not None and sample_rate != required_rate:
        raise UsageError(f"this measure is defined at {required_rate} Hz, not {sample_rate} Hz; resample both signals")
    if sample_rate is not None and sample_rate <= 0:
        raise UsageError(f"a sample rate of {sample_rate} Hz is impossible")
    reference, degraded = (np.asarray(x, dtype=np.float64) for x in (reference, degraded))
    if reference.ndim != 1 or reference.shape != degraded.shape:
        raise UsageError(
            f"reference {reference.shape} and degraded {degraded.shape} must both be [samples], of equal length"
        )
    return reference, degraded


def absent_reason(packages: tuple[str, ...]) -> str | None:
    """What is wrong with the first of ``packages`` that does not import, with the remedy; None: nothing."""
    try:
        for package in packages:
            extra(package)
    except MissingExtraError as error:
        return str(error)
    return None


def is_unjudgeable(samples: Samples, sample_rate: int) -> bool:
    """Silent, or shorter than the half second that the learned measures need."""
    return is_silent(samples) or samples.size < MIN_JUDGED_SECONDS * sample_rate


def is_silent(samples: Samples) -> bool:
    """Nothing to judge: no samples, or all of one value (a silent track with an offset is silent)."""
    return samples.size == 0 or bool(np.ptp(samples) == 0.0)
