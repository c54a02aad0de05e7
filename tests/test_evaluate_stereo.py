"""Evaluation in stereo: recordings stay as they are, measures are of the downmix and of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError
from test_metrics import noisy, speech_like

from audiocodec.errors import AudioError, UsageError
from audiocodec.evaluate import run
from audiocodec.evaluate.compare import check_metric
from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.metrics import METRICS
from audiocodec.evaluate.peers import peer_systems
from audiocodec.evaluate.recipe import EvaluationRecipe, load_recipe, metrics_of
from audiocodec.evaluate.recordings import coded_file, read_audio, read_mono
from audiocodec.evaluate.store import Store
from audiocodec.evaluate.systems import Coded, System
from audiocodec.evaluate.wanted import gather

ROOT = Path(__file__).resolve().parent.parent


def two_voices() -> np.ndarray:
    return np.stack([speech_like(1.5), 0.5 * speech_like(1.5, seed=5)])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "a.wav"
    path.parent.mkdir()
    soundfile.write(path, two_voices().T, 16_000)
    return path


@dataclass(frozen=True)
class NoisyLeft:
    """Keeps the right channel, and adds noise to the left."""

    stereo: ClassVar[bool] = True
    codec: str = "noisy"
    setting: str = "left"

    def identity(self) -> dict[str, str]:
        return {}

    def run(self, source: Path, folder: Path) -> Coded:
        wave, rate = read_audio(source)
        out = np.stack([noisy(wave[0], 10.0), wave[1]]) if wave.ndim == 2 else noisy(wave, 10.0)
        return Coded(out, rate, 1000, 800, 0.5, 0.25, delay_s=0.0)


def rows(recording: Path, place: Path, channels: str) -> list[dict]:
    names = ["si_sdr", "mel"] + (["si_sdr_lr", "mel_lr"] if channels == "stereo" else [])
    systems: list[System] = [NoisyLeft()]
    job = run.Job(Store(place), systems, names, "speech", channels)  # type: ignore[arg-type]
    return run.evaluate_recording(job, run.Task(recording, recording.name)).rows


def test_measures_are_of_the_downmix_and_of_left_and_right(recording: Path, tmp_path: Path) -> None:
    (row,) = rows(recording, tmp_path / "out", "stereo")
    (mixed,) = rows(recording, tmp_path / "mixed", "downmix")
    assert row["kbps"] == pytest.approx(1000 * 8 / 1.5 / 1000)
    wave, _ = read_audio(recording)
    left = Pair(wave[0], 16_000, noisy(wave[0], 10.0), 16_000, delay_s=0.0, max_delay_s=0.0)
    assert row["mel_lr"] == pytest.approx(left.score("mel", "speech") / 2, rel=0.01)
    assert 0 < row["mel"] < 2 * row["mel_lr"]
    assert row["mel"] != pytest.approx(row["mel_lr"], rel=0.05)
    assert "mel_lr" not in mixed
    (again,) = rows(recording, tmp_path / "out", "stereo")  # read back from what was kept, which is stereo
    assert again == row
    assert read_audio(next((tmp_path / "out" / "audio").rglob("*left*.flac")))[0].shape == wave.shape


def test_a_recording_is_given_as_it_is_or_mixed_down(recording: Path, tmp_path: Path) -> None:
    with coded_file(recording, tmp_path, "stereo") as source:
        assert source == recording
    with coded_file(recording, tmp_path, "downmix") as source:
        assert read_audio(source)[0].shape == (24_000,)
        np.testing.assert_allclose(read_audio(source)[0], read_mono(recording)[0], atol=1e-7)
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), 16_000)
    with pytest.raises(AudioError, match="6 channels"), coded_file(tmp_path / "six.wav", tmp_path, "stereo"):
        pass


def test_mono_stands_for_both_channels() -> None:
    stereo = two_voices()
    pair = Pair(stereo, 16_000, stereo.mean(axis=0), 16_000, delay_s=0.0, max_delay_s=0.0)
    assert pair.score("mel", "speech") == pytest.approx(0.0, abs=1e-9)
    assert pair.score("mel_lr", "speech") > 0.05
    heard = np.stack([noisy(stereo[0], 20.0), stereo[1]])
    panned = Pair(np.stack([stereo[0], 0 * stereo[0]]), 16_000, heard, 16_000, delay_s=0.0, max_delay_s=0.0)
    # of a channel that is silent it is undefined
    assert panned.score("si_sdr_lr", "speech") == pytest.approx(20.0, abs=0.5)


def test_measures_of_channels_are_for_stereo_alone() -> None:
    assert not [name for name in metrics_of("music", False) if METRICS[name].per_channel]
    assert "visqol_audio_lr" in metrics_of("music", False, "stereo")
    assert "wer_lr" not in METRICS
    settings = {"name": "x", "files": {"folder": "."}, "metrics": ["mel_lr"]}
    with pytest.raises(ValidationError, match="channels: stereo"):
        EvaluationRecipe.model_validate(settings)
    EvaluationRecipe.model_validate({**settings, "channels": "stereo"})
    with pytest.raises(UsageError, match="_lr"):
        check_metric("mel_lr", "speech")


def test_the_recipe_of_stereo_music_feeds_peers_in_stereo() -> None:
    recipe = load_recipe(ROOT / "recipes" / "evaluate_music_stereo.yaml")
    assert recipe.channels == "stereo"
    assert list(gather(recipe).roles) == ["ours"] * 2 + ["peer"] * 5 + ["anchor"]


def test_codecs_of_one_channel_are_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    from audiocodec.evaluate import wanted

    @dataclass(frozen=True)
    class Mono(NoisyLeft):
        stereo: ClassVar[bool] = False
        codec: str = "mono"

    monkeypatch.setattr(wanted, "peer_systems", lambda names, lyra: ([NoisyLeft(), Mono()], {}))
    recipe = EvaluationRecipe.model_validate({"name": "x", "files": {"folder": "."}, "channels": "stereo"})
    found = gather(recipe)
    assert [system.codec for system in found.systems] == ["noisy"]
    assert "one channel" in found.absent["mono left"]


@pytest.mark.parametrize("name", ["opus-audio:24", "vorbis:2", "aac:64", "mp3:64"])
def test_peers_keep_left_and_right_apart(name: str, tmp_path: Path) -> None:
    systems, absent = peer_systems([name])
    if absent:
        pytest.skip(next(iter(absent.values())))
    t = np.arange(48_000) / 24_000
    wave = np.stack([0.3 * np.sin(2 * np.pi * 440 * t), 0.1 * np.sin(2 * np.pi * 700 * t)])
    soundfile.write(tmp_path / "a.wav", wave.T, 24_000)
    for shape in ((2,), ()):
        if not shape:
            soundfile.write(tmp_path / "a.wav", wave[0], 24_000)
        coded = systems[0].run(tmp_path / "a.wav", tmp_path)
        assert coded.samples.shape[:-1] == shape
        assert coded.samples.shape[-1] / coded.sample_rate == pytest.approx(2.0, abs=0.1)
        for channel, hertz in zip(np.atleast_2d(coded.samples), (440, 700), strict=False):
            spectrum = np.abs(np.fft.rfft(channel * np.hanning(len(channel))))
            assert np.argmax(spectrum) * coded.sample_rate / len(channel) == pytest.approx(hertz, abs=2)
