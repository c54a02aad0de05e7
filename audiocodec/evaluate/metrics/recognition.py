"""How many words a recogniser gets wrong: a measure of intelligibility where a transcript is at hand."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

import numpy as np

from audiocodec.errors import UsageError
from audiocodec.evaluate.metrics.align import resample
from audiocodec.evaluate.metrics.base import SPEECH_RATE, Samples, absent_reason
from audiocodec.evaluate.metrics.packages import extra

RECOGNISER_PACKAGES = ("pocketsphinx", "jiwer")


def recogniser_absent_reason() -> str | None:
    """Why words cannot be recognised here, with the remedy, in one line; None where they can."""
    return absent_reason(RECOGNISER_PACKAGES)


def no_transcript(_reference: Samples, _degraded: Samples, _sample_rate: int) -> float:
    """What stands in METRICS for the word error rate. Raises UsageError: signals alone do not tell what was said."""
    raise UsageError("the word error rate needs transcripts; name them in a recipe as files.transcripts")


def word_error_rate(degraded: Samples, sample_rate: int, transcript: str) -> float:
    """Word error rate of English speech [samples] against its transcript (0 = all right; insertions can pass 1).

    Recognised by ``pocketsphinx`` with the US English model that it bundles, aligned by ``jiwer``; case, punctuation
    and hyphens do not count, numbers should be spelt out. The recogniser is old and easily thrown: eight LJ Speech
    recordings themselves score 0.20, with white noise at 30 dB 0.23, at 15 dB 0.46, at 5 dB 0.92. So it is the
    difference from the original's rate, over many recordings, that says something of a codec. About 0.4 of real time
    on one core, slower the worse it sounds.
    NaN for a transcript without words. Raises UsageError below 16 kHz, which the model was not trained for,
    MissingExtraError without the packages.
    """
    if sample_rate < SPEECH_RATE:
        raise UsageError(f"the recogniser needs speech at {SPEECH_RATE} Hz or more, not {sample_rate} Hz")
    degraded = np.asarray(degraded, dtype=np.float64)
    if degraded.ndim != 1:
        raise UsageError(f"degraded {degraded.shape} must be [samples]")
    jiwer = extra("jiwer")
    said = words(transcript)
    return float(jiwer.wer(said, words(recognise(degraded, sample_rate)))) if said else math.nan


def recognise(samples: Samples, sample_rate: int) -> str:
    """The words of English speech [samples], lower case; empty where none are heard."""
    decoder = _decoder()
    if samples.size == 0:
        return ""
    pcm = (np.clip(resample(samples, sample_rate, SPEECH_RATE), -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)  # the whole at once: cepstral means are then the utterance's own
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return str(hypothesis.hypstr) if hypothesis else ""


def words(text: str) -> str:
    """Lower-case words parted by single blanks, without punctuation; apostrophes inside words stay."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\u2019", "'")))


@lru_cache(maxsize=1)
def _decoder() -> Any:
    return extra("pocketsphinx").Decoder(samprate=SPEECH_RATE, loglevel="FATAL")
