"""A wider network does below its old band what the narrow one did, and says something of the band above."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import ROOT

from audiocodec.checkpoint import load_model
from audiocodec.config import ModelConfig
from audiocodec.errors import ConfigError
from audiocodec.evaluate.metrics import mel_distance
from audiocodec.nn.model import CodecNet
from audiocodec.train.network import reconstruct
from audiocodec.train.recipe import load_recipe
from audiocodec.train.widen import widened


@pytest.fixture(scope="module")
def speech() -> tuple[np.ndarray, int]:
    samples, rate = soundfile.read(ROOT / "samples" / "speech.flac", dtype="float32")
    return samples, rate


@pytest.fixture(scope="module")
def narrow() -> CodecNet:
    return load_model(ROOT / "pretrained" / "speech-16k")[0].eval()


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_recipe(ROOT / "recipes" / "free_speech_24k.yaml", ()).model


def decoded(net: CodecNet, wave: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return reconstruct(net, torch.from_numpy(wave)[None], torch.tensor([22]))[0].numpy()


def band_db(wave: np.ndarray, rate: int, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2 / len(wave) ** 2
    frequency = np.fft.rfftfreq(len(wave), 1 / rate)
    return float(10 * np.log10(power[(frequency >= low) & (frequency < high)].sum() + 1e-12))


def test_the_old_band_is_kept_and_the_new_one_is_filled(speech, narrow, config):
    samples, rate = speech
    low, high = (soxr.resample(samples, rate, to) for to in (16000, 24000))
    waves = torch.from_numpy(high[: len(high) // 24000 * 24000].reshape(-1, 24000))
    wide = widened(narrow, config, waves).eval()
    once, again = decoded(narrow, low), soxr.resample(decoded(wide, high), 24000, 16000)
    length = min(len(once), len(again))
    # Pulses need not fall on the same instants: levels are compared.
    distances = [mel_distance(low[:length], wave[:length], 16000) for wave in (once, again)]
    assert distances[1] < 1.05 * distances[0]
    upper = [band_db(wave, 24000, 8500, 11500) for wave in (high, decoded(wide, high))]
    assert abs(upper[0] - upper[1]) < 4.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"band_edges": ()}, "band_edges"),
        ({"stem_hop": 160, "band_edges": (), "pitch": True}, "duration of a stem frame"),
        ({"frame_width": 128}, "frame_width"),
    ],
)
def test_what_does_not_fit_is_refused(narrow, config, change, message):
    with pytest.raises(ConfigError, match=message):
        widened(narrow, config.model_copy(update=change), torch.zeros(1, 48000))


def test_other_bottlenecks_are_refused(config):
    vectors = load_model(ROOT / "pretrained" / "speech-16k-vp")[0]
    with pytest.raises(ConfigError, match="bottleneck"):
        widened(vectors, config, torch.zeros(1, 48000))


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path):
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "audiocodec.train.widen",
            "nowhere",
            str(tmp_path),
            "--recipe",
            str(tmp_path / "no.yaml"),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode != 0
    assert "no.yaml" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
