"""``audiocodec compare``: what is said of two recordings, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speech_like

from audiocodec.cli import main
from audiocodec.errors import MissingExtraError, UsageError
from audiocodec.evaluate import compare as module
from audiocodec.evaluate.compare import band_hz, compare_files
from audiocodec.evaluate.measure import Pair
from audiocodec.evaluate.metrics import METRICS, resample

Capture = pytest.CaptureFixture[str]


def write(path: Path, samples: np.ndarray, rate: int) -> str:
    soundfile.write(str(path), samples, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return str(path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A stereo recording, and itself at half the rate: 20 ms late, 6 dB down, upside down."""
    folder = tmp_path_factory.mktemp("pair")
    speech = speech_like(2.0, 32000)
    late = resample(np.concatenate([np.zeros(640), -0.5 * speech]), 32000, 16000)
    return write(folder / "a.flac", np.stack([speech, speech], 1), 32000), write(folder / "b.wav", late, 16000)


def test_delay_level_length_polarity_and_band(pair: tuple[str, str]) -> None:
    found = compare_files(*pair, metrics=["mel", "si_sdr"])
    assert found.lag_ms == pytest.approx(20.0, abs=0.1)
    assert found.inverted
    assert found.level_db == pytest.approx(-6.0, abs=0.3)
    assert (found.length_ms, found.length_samples) == (pytest.approx(20.0), 640)
    assert (found.reference.channels, found.degraded.channels) == (2, 1)
    assert found.reference.band_hz > 15000
    assert 7000 < found.degraded.band_hz < 8100
    assert [score.name for score in found.scores] == ["mel", "si_sdr"]


def test_a_file_against_itself_scores_best(pair: tuple[str, str]) -> None:
    found = compare_files(pair[0], pair[0], metrics=["mel", "si_sdr"])
    assert [score.value for score in found.scores] == [0.0, math.inf]
    assert (found.lag_ms, found.inverted, found.level_db, found.length_ms) == (0.0, False, 0.0, 0.0)
    json.loads(json.dumps(found.as_dict(), allow_nan=False))


def test_the_table(pair: tuple[str, str], capsys: Capture) -> None:
    assert main(["compare", *pair, "--metric", "mel", "--metric", "si_sdr"]) == 0
    told = capsys.readouterr().out
    for words in ("2 channels, averaged", "20.00 ms late", "polarity turned", "measure", "mel", "lower", "higher"):
        assert words in told
    assert max(len(line) for line in told.splitlines() if pair[0] not in line and pair[1] not in line) < 80


def test_json_is_for_programs(pair: tuple[str, str], capsys: Capture) -> None:
    assert main(["compare", *pair, "--metric", "si_sdr", "--json", "--domain", "music"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["domain"] == "music"
    assert found["scores"][0]["name"] == "si_sdr"
    assert found["inverted"] is True


@pytest.mark.parametrize("domain", ["music", None])
def test_speech_measures_are_for_speech(pair: tuple[str, str], domain: str | None, monkeypatch) -> None:
    monkeypatch.setattr(Pair, "score", lambda *_: 1.0)
    names = [score.name for score in compare_files(*pair, domain=domain).scores]  # type: ignore[arg-type]
    assert "mel" in names
    assert not {"pesq_wb", "stoi"} & set(names)
    assert "pesq_wb" in [score.name for score in compare_files(*pair, domain="speech").scores]
    with pytest.raises(UsageError, match="PESQ-WB is a measure of speech"):
        compare_files(*pair, domain=domain, metrics=["pesq_wb"])  # type: ignore[arg-type]


def test_a_measure_that_cannot_run_is_named(pair: tuple[str, str], monkeypatch, capsys: Capture) -> None:
    def score(_: Pair, name: str, domain: object) -> float:
        if name == "stoi":
            raise MissingExtraError("pystoi does not import; run: pip install 'audiocodec[eval]'")
        return 1.0

    monkeypatch.setattr(Pair, "score", score)
    assert main(["compare", *pair]) == 0
    assert "not measured: stoi (pystoi does not import" in capsys.readouterr().out
    assert main(["compare", *pair, "--metric", "stoi"]) == 9  # asked for by name


def test_undefined_says_why(tmp_path: Path, pair: tuple[str, str], monkeypatch) -> None:
    silent = write(tmp_path / "silent.wav", np.zeros(32000), 32000)
    short = write(tmp_path / "short.wav", speech_like(0.05), 16000)
    monkeypatch.setattr(module, "METRICS", {name: METRICS[name] for name in ("pesq_wb", "stoi", "mel", "si_sdr")})
    by_name = {score.name: score for score in compare_files(silent, pair[0]).scores}
    assert (by_name["si_sdr"].shown, by_name["si_sdr"].note) == ("undefined", "reference silent")
    assert by_name["stoi"].note == "reference silent"
    by_name = {score.name: score for score in compare_files(short, short).scores}
    assert by_name["pesq_wb"].note == "too short, 50 ms"
    assert by_name["mel"].note == ""
    assert compare_files(silent, pair[0], metrics=["mel"]).level_db is None


def test_what_is_refused(tmp_path: Path, pair: tuple[str, str], capsys: Capture) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    refused = {
        str(tmp_path / "nowhere.wav"): "No such file",
        str(tmp_path / "text.wav"): "not audio",
        write(tmp_path / "empty.wav", np.zeros(0), 16000): "holds no samples",
        write(tmp_path / "nan.wav", np.array([0.1, np.nan]), 16000): "holds nan",
    }
    for path, words in refused.items():
        for arguments in ((path, pair[0]), (pair[0], path)):
            assert main(["compare", *arguments]) == 4
            told = capsys.readouterr()
            assert told.out == ""
            assert told.err.count("\n") == 1
            assert words in told.err
    assert main(["compare", *pair, "--metric", "pesc"]) == 2
    assert main(["compare", "-", "-"]) == 2


def test_one_channel_of_two(tmp_path: Path) -> None:
    left, right = speech_like(1.0, seed=1), speech_like(1.0, seed=2)
    stereo = write(tmp_path / "stereo.wav", np.stack([left, right], 1), 16000)
    mono = write(tmp_path / "mono.wav", right, 16000)
    assert compare_files(stereo, mono, metrics=["mel"], channels="right").scores[0].value == 0.0
    assert compare_files(stereo, mono, metrics=["mel"], channels="left").scores[0].value > 0.0


def test_the_band() -> None:
    rate = 48000
    noise = np.random.default_rng(0).standard_normal(rate)
    assert band_hz(noise, rate) > 23900
    assert band_hz(resample(resample(noise, rate, 8000), 8000, rate), rate) == pytest.approx(4000, rel=0.1)
    assert band_hz(np.zeros(100), rate) == 0.0


def test_the_shipped_codec_is_compared_in_step(tmp_path: Path) -> None:
    """It makes up phases: its waveform alone correlates best 14 ms off, and STOI would tell of that."""
    import audiocodec

    original = str(Path(__file__).parent.parent / "samples" / "speech.flac")
    samples, rate = soundfile.read(original)
    codec = audiocodec.load("speech-16k")
    decoded, _ = codec.decompress(codec.compress(samples[: 4 * rate], sample_rate=rate, bitrate_kbps=3))
    coded = write(tmp_path / "coded.wav", decoded.squeeze(), rate)
    found = compare_files(original, coded, metrics=["stoi"])
    assert abs(found.lag_ms) <= 1.0
    assert found.scores[0].value > 0.85
