"""Objective measures of decoded audio: each is a :class:`Metric`, by name in :data:`METRICS`."""

from __future__ import annotations

from audiocodec.evaluate.metrics.align import align, resample
from audiocodec.evaluate.metrics.base import DOMAINS, SPEECH_RATE, Domain, Metric, Samples
from audiocodec.evaluate.metrics.spectral import MEL_RATE, mel_distance, si_sdr
from audiocodec.evaluate.metrics.speech import estoi, pesq_wb, stoi

__all__ = [
    "DOMAINS",
    "MEL_RATE",
    "METRICS",
    "SPEECH_RATE",
    "Domain",
    "Metric",
    "Samples",
    "align",
    "estoi",
    "mel_distance",
    "pesq_wb",
    "resample",
    "si_sdr",
    "stoi",
]

_SPEECH: frozenset[Domain] = frozenset({"speech"})

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("pesq_wb", "PESQ-WB", pesq_wb, "ITU-T P.862.2, package pesq", domains=_SPEECH, best=4.64),
        Metric("stoi", "STOI", stoi, "Taal et al. 2011, package pystoi", domains=_SPEECH, best=1.0, decimals=3),
        Metric("estoi", "ESTOI", estoi, "Jensen and Taal 2016, package pystoi", domains=_SPEECH, best=1.0, decimals=3),
        Metric(
            "mel",
            "mel",
            mel_distance,
            "mean |log10 mel amplitude difference| at 24 kHz, three windows",
            sample_rate=MEL_RATE,
            higher_is_better=False,
            best=0.0,
            decimals=3,
        ),
        Metric("si_sdr", "SI-SDR dB", si_sdr, "Le Roux et al. 2019, eq. 3", best=float("inf"), decimals=1),
    )
}
