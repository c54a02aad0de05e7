"""Objective measures of decoded audio: each is a :class:`Metric`, by name in :data:`METRICS`.

Importing this imports none of the packages that measure: each loads at its first use, once a process.
"""

from __future__ import annotations

from audiocodec.evaluate.metrics.align import align, resample
from audiocodec.evaluate.metrics.base import DOMAINS, SPEECH_RATE, Domain, Metric, Samples
from audiocodec.evaluate.metrics.logspectral import log_spectral_distance, stft_distance
from audiocodec.evaluate.metrics.predicted import distillmos, dnsmos, plcmos
from audiocodec.evaluate.metrics.recognition import (
    RECOGNISER_PACKAGES,
    no_transcript,
    recogniser_absent_reason,
    word_error_rate,
)
from audiocodec.evaluate.metrics.speaker import speaker_similarity
from audiocodec.evaluate.metrics.spectral import MEL_RATE, mel_distance, si_sdr
from audiocodec.evaluate.metrics.speech import estoi, pesq_nb, pesq_wb, stoi
from audiocodec.evaluate.metrics.visqol import VISQOL_AUDIO_RATE, visqol_audio, visqol_speech

__all__ = [
    "DOMAINS",
    "MEL_RATE",
    "METRICS",
    "SPEECH_RATE",
    "Domain",
    "Metric",
    "Samples",
    "align",
    "distillmos",
    "dnsmos",
    "estoi",
    "log_spectral_distance",
    "mel_distance",
    "pesq_nb",
    "pesq_wb",
    "plcmos",
    "recogniser_absent_reason",
    "resample",
    "si_sdr",
    "speaker_similarity",
    "stft_distance",
    "stoi",
    "visqol_audio",
    "visqol_speech",
    "word_error_rate",
]

_SPEECH: frozenset[Domain] = frozenset({"speech"})
_MUSIC: frozenset[Domain] = frozenset({"music"})

_OF_SPEECH = (
    Metric(
        "pesq_wb",
        "PESQ-WB",
        pesq_wb,
        "ITU-T P.862.2, package pesq",
        domains=_SPEECH,
        best=4.64,
        packages=("pesq",),
    ),
    Metric(
        "pesq_nb",
        "PESQ-NB",
        pesq_nb,
        "ITU-T P.862 and P.862.1, package pesq",
        domains=_SPEECH,
        best=4.55,
        packages=("pesq",),
    ),
    Metric(
        "stoi",
        "STOI",
        stoi,
        "Taal et al. 2011, package pystoi",
        domains=_SPEECH,
        best=1.0,
        decimals=3,
        packages=("pystoi",),
    ),
    Metric(
        "estoi",
        "ESTOI",
        estoi,
        "Jensen and Taal 2016, package pystoi",
        domains=_SPEECH,
        best=1.0,
        decimals=3,
        packages=("pystoi",),
    ),
    Metric(
        "visqol_speech",
        "ViSQOL speech",
        visqol_speech,
        "Chinen et al. 2020, speech mode with the exponential mapping, package visqol-python",
        domains=_SPEECH,
        best=5.0,
        packages=("visqol",),
    ),
    Metric(
        "dnsmos",
        "DNSMOS",
        dnsmos,
        "Reddy et al. 2022 (P.835 overall), package speechmos",
        domains=_SPEECH,
        needs_reference=False,
        packages=("speechmos.dnsmos",),
    ),
    Metric(
        "plcmos",
        "PLCMOS",
        plcmos,
        "Diener et al. 2023 (version 2), package speechmos",
        domains=_SPEECH,
        needs_reference=False,
        packages=("speechmos.plcmos",),
    ),
    Metric(
        "distillmos",
        "DistillMOS",
        distillmos,
        "Stahl and Gamper 2025, package distillmos",
        domains=_SPEECH,
        needs_reference=False,
        packages=("distillmos.sqa",),
    ),
    Metric(
        "speaker",
        "speaker similarity",
        speaker_similarity,
        "cosine of GE2E embeddings, Wan et al. 2018, package resemblyzer",
        domains=_SPEECH,
        best=1.0,
        decimals=3,
        packages=("resemblyzer",),
    ),
    Metric(
        "wer",
        "WER",
        no_transcript,
        "words by package pocketsphinx (US English), aligned by package jiwer",
        sample_rate=None,
        domains=_SPEECH,
        higher_is_better=False,
        decimals=3,
        needs_reference=False,
        needs_transcript=True,
        packages=RECOGNISER_PACKAGES,
    ),
)

_OF_ANY_SOUND = (
    Metric(
        "visqol_audio",
        "ViSQOL audio",
        visqol_audio,
        "Chinen et al. 2020, audio mode, package visqol-python",
        sample_rate=VISQOL_AUDIO_RATE,
        domains=_MUSIC,
        best=4.73,
        packages=("visqol",),
    ),
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
    Metric(
        "stft",
        "STFT",
        stft_distance,
        "Yamamoto et al. 2020, eq. 3 to 6, three windows",
        sample_rate=None,
        higher_is_better=False,
        best=0.0,
        decimals=3,
    ),
    Metric(
        "lsd",
        "LSD dB",
        log_spectral_distance,
        "Gray and Markel 1976, windows of 43 ms, floor at -100 dB",
        sample_rate=None,
        higher_is_better=False,
        best=0.0,
    ),
    Metric("si_sdr", "SI-SDR dB", si_sdr, "Le Roux et al. 2019, eq. 3", best=float("inf"), decimals=1),
)

_OF_ONE_CHANNEL = (*_OF_SPEECH, *_OF_ANY_SOUND)
_OF_CHANNELS = tuple(metric.of_channels() for metric in _OF_ONE_CHANNEL if not metric.needs_transcript)
METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_OF_ONE_CHANNEL, *_OF_CHANNELS)}
