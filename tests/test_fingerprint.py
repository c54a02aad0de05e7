"""The same sound is found through coding, level, resampling and cutting; different sounds are not confused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import soxr

from audiocodec.train.fingerprint import FingerprintIndex, fingerprint


def _babble(seed: int, seconds: float = 4.0) -> np.ndarray:
    """[n] int16 of noise whose spectrum moves as quickly as that of speech."""
    generator = np.random.default_rng(seed)
    count = int(seconds * 16000)
    noise = generator.standard_normal((8, count))
    time = np.arange(count) / 16000.0
    out = np.zeros(count)
    for band in noise:
        carrier = np.cos(2 * np.pi * generator.uniform(300, 2000) * time + generator.uniform(0, 6))
        slow = np.interp(
            time,
            np.arange(0, seconds + 0.1, 0.1),
            generator.random(int(seconds / 0.1) + 2)[: len(np.arange(0, seconds + 0.1, 0.1))] ** 2,
        )
        out += np.convolve(band, np.ones(60) / 60, "same") * carrier * slow
    return (out / np.abs(out).max() * 12000).astype(np.int16)


@pytest.fixture(scope="module")
def index() -> FingerprintIndex:
    known = FingerprintIndex()
    for seed in range(6):
        known.add(f"sound{seed}", fingerprint(_babble(seed)))
    return known


def _coded(samples: np.ndarray, rate: int, level: float) -> np.ndarray:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="OGG", subtype="VORBIS", compression_level=level)
    return soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")[0]


def test_a_cut_quieter_recoded_copy_is_found(index: FingerprintIndex) -> None:
    for seed in range(6):
        piece = _babble(seed)[17777:49000].astype(np.float32) / 32768.0 * 0.3
        high = _coded(soxr.resample(piece, 16000, 44100), 44100, 0.6)
        found = index.find(fingerprint((soxr.resample(high, 44100, 16000) * 32768.0).astype(np.int16)))
        assert found is not None
        assert found.name == f"sound{seed}"
        assert found.errors < 0.15
        assert found.seconds == pytest.approx(len(piece) / 16000, rel=0.25)


def test_different_sounds_do_not_match(index: FingerprintIndex) -> None:
    assert [index.find(fingerprint(_babble(seed))) for seed in range(100, 112)] == [None] * 12


def test_silence_and_short_sounds_match_nothing(index: FingerprintIndex) -> None:
    index.add("silence", fingerprint(np.zeros(16000, np.int16)))
    assert index.find(fingerprint(np.zeros(32000, np.int16))) is None
    assert index.find(fingerprint(_babble(0)[:3000])) is None
    assert len(fingerprint(np.zeros(0, np.int16))) <= 1
