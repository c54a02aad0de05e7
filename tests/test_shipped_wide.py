"""The shipped models of wider band keep the project's promises too: rates, cuttings, levels in every band, cost."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT
from test_content import tune
from test_streaming import decode_cut, encode_cut

import audiocodec
from audiocodec.codec import Codec
from audiocodec.cost import macs_per_second
from audiocodec.streaming import FILE_BLOCK_FRAMES

NAMES = ("speech-24k", "music-48k")


@pytest.fixture(scope="module", params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    return audiocodec.load(ROOT / "pretrained" / request.param)


@pytest.fixture(scope="module")
def wave(codec: Codec) -> np.ndarray:
    """What the model is for, at its rate: [n]."""
    if codec.config.name.startswith("speech"):
        samples, rate = soundfile.read(ROOT / "samples" / "speech.flac", dtype="float32")
    else:
        samples, rate = tune(6.0)[0].astype(np.float32), 44100
    return np.asarray(soxr.resample(samples, rate, codec.sample_rate))[: 6 * codec.sample_rate]


def octaves_db(wave: np.ndarray, rate: int) -> np.ndarray:
    power = np.abs(np.fft.rfft(wave)) ** 2 / len(wave)
    frequency = np.fft.rfftfreq(len(wave), 1 / rate)
    edges = 125.0 * 2.0 ** np.arange(7)
    bands = [power[(frequency >= low) & (frequency < high)].sum() for low, high in pairwise(edges)]
    return 10 * np.log10(np.array(bands) + 1e-9)


def test_any_cutting_gives_the_same_bytes_and_samples(codec: Codec, wave: np.ndarray) -> None:
    part, block = wave[None, : codec.sample_rate], FILE_BLOCK_FRAMES
    options = {"block_frames": block, "packet_frames": 2 * block, "rate": codec.choose_rate()}
    whole = encode_cut(codec, part, **options)
    sound = decode_cut(codec, whole)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        assert encode_cut(codec, part, rng, **options) == whole
        np.testing.assert_array_equal(decode_cut(codec, whole, rng), sound)


@pytest.mark.parametrize("bitrate", [3.1, 6.3])
def test_the_rate_is_kept_and_the_entropy_coder_earns_its_place(codec: Codec, wave: np.ndarray, bitrate: float) -> None:
    coded = {mode: len(codec.compress(wave, bitrate_kbps=bitrate, mode=mode)) for mode in ("range", "raw")}
    assert coded["range"] < 0.95 * coded["raw"]
    assert coded["range"] * 8e-3 / (len(wave) / codec.sample_rate) < 1.15 * bitrate


def test_every_octave_keeps_its_level(codec: Codec, wave: np.ndarray) -> None:
    back, rate = codec.decompress(codec.compress(wave, bitrate_kbps=6.3))
    assert (rate, back.shape) == (codec.sample_rate, (1, len(wave)))
    given, heard = octaves_db(wave, rate), octaves_db(back[0], rate)
    loud = given > given.max() - 50
    assert loud.sum() >= 4
    assert np.abs(given - heard)[loud].max() < 5.0


def test_cost_is_within_the_budget(codec: Codec) -> None:
    """At most 0.8 G multiply-accumulates a second of audio."""
    assert sum(macs_per_second(codec.net).values()) < 0.8e9
    assert codec.sample_rate >= 24000
