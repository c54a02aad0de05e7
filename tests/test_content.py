"""Speech is told from music by what is below 4 kHz alone, at any level and rate, and cheaply imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT

from audiocodec import content
from audiocodec.choosing import content_pieces, fills

EVALUATION = ROOT.parent / "shared" / "eval"
SAMPLE = ROOT / "samples" / "speech.flac"


def read(path: Path) -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.T, rate


def judged(samples: np.ndarray, rate: int) -> content.Content:
    return content.classify(content_pieces([[samples]], rate))


def tune(seconds: float, rate: int = 44100) -> np.ndarray:
    """Struck chords, two a second: ``[1, samples] float32``."""
    time_s = np.arange(round(seconds * rate)) / rate
    out = np.zeros(len(time_s))
    for beat in range(round(2 * seconds)):
        since = time_s - beat / 2
        decay = np.where(since >= 0, np.exp(-2 * np.maximum(since, 0)), 0.0)
        for step in ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))[beat // 2 % 4]:
            for harmonic in range(1, 8):
                out += decay * np.sin(2 * np.pi * 220 * 2 ** (step / 12) * harmonic * time_s) / harmonic**1.5
    return (0.1 * out / np.abs(out).max())[None].astype(np.float32)


@pytest.fixture(scope="module")
def reserved() -> list[tuple[str, np.ndarray, int]]:
    """Recordings that no constant was fitted to, with what they hold."""
    found = [(path.parent.name, *read(path)) for path in sorted(EVALUATION.glob("*/*.flac"))]
    if not found:
        pytest.skip(f"the development set is not at {EVALUATION}")
    return found


def test_every_reserved_recording_is_told_right(reserved: list[tuple[str, np.ndarray, int]]) -> None:
    for domain, samples, rate in reserved:
        heard = judged(samples, rate)
        assert heard.domain == domain
        assert heard.heard
        assert max(heard.music, 1 - heard.music) > 0.95


@pytest.mark.parametrize("condition", ["8 kHz", "16 kHz", "soft", "noise", "3 s"])
def test_devices_make_no_difference(reserved: list[tuple[str, np.ndarray, int]], condition: str) -> None:
    rng = np.random.default_rng(0)
    for domain, samples, rate in reserved:
        if condition.endswith("kHz"):
            lower = int(condition.split()[0]) * 1000
            samples, rate = soxr.resample(samples.T, rate, lower).T, lower
        elif condition == "soft":
            samples = samples / 100
        elif condition == "noise":  # 20 dB below
            samples = samples + 0.1 * samples.std() * rng.standard_normal(samples.shape).astype(np.float32)
        else:
            samples = samples[:, : 3 * rate]
        assert judged(samples, rate).domain == domain


def test_the_sample_is_speech_and_struck_chords_are_music() -> None:
    assert judged(*read(SAMPLE)).domain == "speech"
    assert judged(tune(8.0), 44100).domain == "music"
    both = np.concatenate([tune(9.0, 22050), np.zeros((1, 22050), np.float32)], axis=1)
    assert judged(np.concatenate([np.zeros_like(both), both]), 22050).domain == "music"  # in one channel of two


def test_level_and_rate_hardly_move_the_features() -> None:
    samples, rate = read(SAMPLE)
    wanted = content.features(content_pieces([[samples]], rate)[0])
    assert wanted is not None
    for gain, other in ((1.0, 8000), (1.0, 48000), (0.01, rate), (4.0, rate)):
        changed = soxr.resample((gain * samples).T, rate, other).T
        row = content.features(content_pieces([[changed]], other)[0])
        assert row is not None
        assert np.abs((row - wanted) / np.array(content.content_fit.SCALE)).max() < 0.2


@pytest.mark.parametrize(
    "wave",
    [np.zeros(80000), np.zeros(0), np.full(80000, 1e-6), np.full(8000, np.nan), 0.1 * np.ones(100)],
    ids=["silence", "nothing", "hum", "nan", "too short"],
)
def test_what_tells_nothing_is_taken_for_speech(wave: np.ndarray) -> None:
    heard = content.classify([wave.astype(np.float32)])
    assert (heard.domain, heard.heard) == ("speech", False)
    assert "too quiet or short" in heard.reason
    assert content.classify([]).domain == "speech"


@pytest.mark.parametrize("seconds", [0.5, 0.7, 1.0, 10.0])
@pytest.mark.parametrize("kind", ["noise", "tone", "click", "constant"])
def test_odd_sounds_give_some_answer(kind: str, seconds: float) -> None:
    samples = round(seconds * content.RATE)
    wave = {
        "noise": 0.1 * np.random.default_rng(0).standard_normal(samples),
        "tone": 0.5 * np.sin(2 * np.pi * 1000 * np.arange(samples) / content.RATE),
        "click": np.eye(1, samples, samples // 2)[0],
        "constant": np.full(samples, 0.5),
    }[kind].astype(np.float32)
    row = content.features(wave)
    assert row is None or np.isfinite(row).all()
    assert content.classify([wave]).domain in ("speech", "music")


def test_one_piece_of_three_is_outvoted() -> None:
    samples, rate = read(SAMPLE)
    speech = content_pieces([[samples[:, : 9 * rate]]], rate)[0]
    music = content_pieces([[tune(9.0)]], 44100)[0]
    assert content.classify([music, speech, speech]).domain == "speech"
    assert content.classify([music, speech, music]).domain == "music"


def test_bandwidth_is_that_of_the_sound_and_not_of_the_file() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 48000)).astype(np.float32)
    assert fills([[noise]], 48000, 8000)
    assert not fills([[noise]], 16000, 8000)
    raised = soxr.resample(noise[0], 16000, 48000)[None]
    assert not fills([[raised]], 48000, 8000)
    assert fills([[raised]], 48000, 6000)
    quantised = np.round(raised * 32768) / np.float32(32768)
    assert not fills([[quantised]], 48000, 8000)


def test_the_measure_needs_numpy_alone() -> None:
    code = "import sys, audiocodec.content; sys.exit(any(m in sys.modules for m in ('torch', 'soxr', 'soundfile')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
