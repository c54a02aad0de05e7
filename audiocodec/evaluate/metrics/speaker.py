"""Whether a voice is still the same person's."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from audiocodec.evaluate.metrics.base import SPEECH_RATE, Samples, checked_pair, is_unjudgeable
from audiocodec.evaluate.metrics.packages import extra

LEVEL_DBFS = -30.0  # resemblyzer.hparams.audio_norm_target_dBFS


def speaker_similarity(reference: Samples, degraded: Samples, sample_rate: int) -> float:
    """Cosine of the two signals' speaker embeddings (GE2E, Wan et al. 2018, arXiv 1710.10467; 0 to 1), at 16 kHz.

    By the ``resemblyzer`` package with its bundled weights, in windows of 1.6 s, shorter clips padded with silence.
    Unlike in the package's own preprocessing, loud signals are brought to its -30 dBFS as quiet ones are (the
    embedding depends on the level, a person does not), and silences stay in (a voice detector would cut the two
    signals differently). Unequal recordings of one speaker lie near 0.9 (0.86 to 0.96 within LJ Speech and within
    a French reader), of two speakers near 0.5 (0.50 to 0.59 between those).
    NaN for silence and below half a second.
    Raises UsageError at another sample rate, MissingExtraError without the package.
    """
    reference, degraded = checked_pair(reference, degraded, sample_rate, SPEECH_RATE)
    package, encoder = extra("resemblyzer"), _encoder()
    if is_unjudgeable(reference, sample_rate) or is_unjudgeable(degraded, sample_rate):
        return math.nan
    first, second = (
        encoder.embed_utterance(package.normalize_volume(x, LEVEL_DBFS).astype(np.float32))
        for x in (reference, degraded)
    )
    return float(np.clip(first @ second, 0.0, 1.0))


@lru_cache(maxsize=1)
def _encoder() -> Any:
    package = extra("resemblyzer")
    import torch

    with torch.random.fork_rng(devices=[]):  # building draws weights, which are then replaced
        # It reads its weights by torch.load, which has refused other pickled objects since torch 2.6.
        return package.VoiceEncoder("cpu", verbose=False).eval()
