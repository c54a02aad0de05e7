"""A corpus to train on for a few steps."""

from __future__ import annotations

import numpy as np


def write_corpus() -> None:
    """Six recordings of a second of syllables of noise at 16 kHz, as ``speech.npy`` in the working folder."""
    draws = np.random.default_rng(20260)
    syllables = np.repeat(draws.random(60), 1600) * draws.standard_normal(96_000)
    np.save("speech.npy", (3000 * syllables).astype(np.int16))
    np.save("speech_index.npy", np.array([[i * 16_000, 16_000] for i in range(6)]))
