"""Resampling: lengths, sound, and the same whatever the pieces."""

from __future__ import annotations

import numpy as np
import pytest
from audio_helpers import RATES, tone

from audiocodec.audio import Resampler, resampled_length


@pytest.mark.parametrize("rate", RATES)
def test_resampling_there_and_back_keeps_length_and_sound(rate: int) -> None:
    audio = tone(rate // 2 + 7, 2, rate)
    down, up = Resampler(rate, 16000, 2), Resampler(16000, rate, 2)
    there = np.concatenate([down.push(audio), down.flush()], axis=1)
    assert there.shape[1] == resampled_length(audio.shape[1], rate, 16000)
    back = np.concatenate([up.push(there), up.flush(audio.shape[1])], axis=1)
    assert back.shape == audio.shape
    middle = slice(audio.shape[1] // 4, -audio.shape[1] // 4)
    assert np.abs(back - audio)[:, middle].max() < 1e-3  # no delay, no change of level


def test_any_cutting_resamples_to_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((2, 40000)).astype(np.float32)
    whole = Resampler(44100, 16000, 2)
    expected = np.concatenate([whole.push(audio), whole.flush()], axis=1)
    for _ in range(10):
        cut = Resampler(44100, 16000, 2)
        places = np.cumsum(rng.choice([0, 1, 7, 160, 5000], 40))
        pieces = [cut.push(piece) for piece in np.split(audio, places, axis=1)]
        assert np.array_equal(np.concatenate([*pieces, cut.flush()], axis=1), expected)


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_a_few_samples_resample_to_their_length(samples: int) -> None:
    down = Resampler(48000, 16000, 1)
    out = np.concatenate([down.push(np.ones((1, samples), np.float32)), down.flush()], axis=1)
    assert out.shape == (1, -(-samples // 3))


def test_flush_trims_and_pads_to_what_is_asked() -> None:
    same = Resampler(16000, 16000, 1)
    same.push(np.ones((1, 10), np.float32))
    assert np.array_equal(same.flush(13), np.zeros((1, 3), np.float32))
