"""Other codecs: each that runs here gives back what it was given, late by no more than it says; others are absent."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.errors import UsageError
from audiocodec.evaluate.metrics import SPEECH_RATE, align, resample, stoi
from audiocodec.evaluate.peers import KNOWN_PEERS, PEER_DESCRIPTIONS, ffmpeg, peer_systems
from audiocodec.evaluate.peers.ffmpeg import FORMATS, MP3_KBPS, Ffmpeg
from audiocodec.evaluate.recordings import read_mono
from audiocodec.evaluate.systems import Coded, System
from tests.conftest import ROOT

SECONDS = 3.0
LYRA = ROOT.parent / "shared" / "peers" / "lyra"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of speech at 22.05 kHz, in a folder with a space in its name."""
    samples, rate = soundfile.read(ROOT / "samples" / "speech.flac", stop=int(SECONDS * 22_050))
    path = tmp_path_factory.mktemp("a folder") / "speech.wav"
    soundfile.write(path, samples, rate)
    return path


def here(name: str) -> list[System]:
    """The systems of a peer; skips where it cannot run, with its own reason."""
    systems, absent = peer_systems([name], lyra=LYRA)
    if absent:
        pytest.skip(f"{name}: {absent[name]}")
    return systems


def heard(source: Path, coded: Coded) -> tuple[float, float]:
    """(STOI, delay in milliseconds) of a decoded recording, aligned as it says that it must be."""
    original, rate = read_mono(source)
    reference = resample(original, rate, SPEECH_RATE)
    decoded = resample(coded.samples, coded.sample_rate, SPEECH_RATE)
    search = 0 if coded.delay_s is not None else round(coded.max_delay_s * SPEECH_RATE)
    reference, decoded, delay = align(reference, decoded, search)
    assert len(reference) >= (SECONDS - 0.01) * SPEECH_RATE, "the end is lost"
    return stoi(reference, decoded, SPEECH_RATE), 1000.0 * delay / SPEECH_RATE


# STOI of noise in place of speech is below 0.45; floors lie a little below what was measured.
@pytest.mark.parametrize(
    ("name", "kbps", "floor"),
    [
        ("opus:6", 5.6, 0.88),
        ("opus:24", 24.0, 0.97),
        ("opus-cbr:16", 16.0, 0.95),
        ("opus-audio:32", 34.0, 0.96),
        ("codec2:700", 0.7, 0.70),
        ("codec2:1200", 1.2, 0.75),
        ("codec2:3200", 3.2, 0.80),
        ("lc3:16", 16.0, 0.90),
        ("lc3:32", 32.0, 0.96),
        ("lyra:3.2", 3.2, 0.85),
        ("lyra:9.2", 9.2, 0.92),
        ("amr-wb:6.6", 7.0, 0.90),
        ("amr-wb:23.85", 24.25, 0.97),
        ("aac:16", 16.5, 0.93),
        ("aac:64", 68.0, 0.97),
        ("he-aac:16", 16.0, 0.90),
        ("mp3:16", 16.0, 0.93),
        ("mp3:64", 64.0, 0.97),
        ("vorbis:0", 34.0, 0.95),
    ],
)
def test_a_peer_gives_back_what_it_was_given(
    name: str, kbps: float, floor: float, speech: Path, tmp_path: Path
) -> None:
    (system,) = here(name)
    coded = pickle.loads(pickle.dumps(system)).run(speech, tmp_path)
    quality, delay_ms = heard(speech, coded)
    assert quality > floor
    # The delay is real: nothing of it lies at the end of the search
    assert abs(delay_ms) < max(1.0, 900.0 * coded.max_delay_s)
    assert coded.payload_bytes * 8e-3 / SECONDS == pytest.approx(kbps, rel=0.1)
    assert coded.payload_bytes <= coded.file_bytes < coded.payload_bytes * 1.35 + 2000
    assert len(coded.samples) / coded.sample_rate == pytest.approx(SECONDS, abs=0.1)
    assert np.abs(coded.samples).max() < 1.5
    assert coded.encode_seconds > 0.0 or coded.decode_seconds > 0.0
    assert all(isinstance(text, str) and text for text in system.identity().values())


def test_every_rate_of_a_peer_is_another_system_that_says_so() -> None:
    for name in ("opus", "opus-cbr", "opus-audio", "mp3"):
        systems = here(name)
        assert len({(system.codec, system.setting) for system in systems}) == len(systems) > 1
        assert len({str(system.identity()) for system in systems}) == len(systems)
    assert [system.setting for system in here("opus:6,9")] == ['"6" VBR voip', '"9" VBR voip']
    both, _ = peer_systems(["opus:6", "opus:6,9", "opus-cbr:6"])
    assert len(both) == 3


def test_the_libopus_in_use_is_named() -> None:
    (system,) = here("opus:6")
    assert system.identity()["libopus"][0] in "1u"  # a version, or unknown


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000])
def test_recordings_of_any_rate_are_coded(rate: int, speech: Path, tmp_path: Path) -> None:
    samples, original = read_mono(speech)
    source = tmp_path / "source.wav"
    soundfile.write(source, resample(samples, original, rate), rate)
    systems, _ = peer_systems(["opus:16", "aac:16", "mp3:160", "lc3:64", "vorbis:2", "amr-wb:6.6", "codec2:1200"])
    for system in systems:
        quality, _ = heard(source, system.run(source, tmp_path))
        assert quality > 0.75, system.codec


def test_a_tenth_of_a_second_is_coded(speech: Path, tmp_path: Path) -> None:
    samples, rate = read_mono(speech)
    source = tmp_path / "short.wav"
    soundfile.write(source, samples[: rate // 10], rate)
    systems, _ = peer_systems(["opus", "codec2:700", "lc3:16", "lyra:6", "amr-wb:6.6", "aac:16", "mp3:16"], lyra=LYRA)
    for system in systems:
        coded = system.run(source, tmp_path)
        assert len(coded.samples) / coded.sample_rate >= 0.099, system.codec


def test_unknown_peers_and_impossible_rates_name_the_possible_ones() -> None:
    for name in ("speex", "opus:fast", "opus:1", "", "opus:6,,8"):
        with pytest.raises(UsageError, match=r"opus:6,12"):
            peer_systems([name])
    with pytest.raises(UsageError, match=r"lyra has no 4 kbps; it has 3\.2, 6, 9\.2 kbps; write for instance lyra:"):
        peer_systems(["lyra:4"])
    with pytest.raises(UsageError, match="known: opus, opus-cbr"):
        peer_systems(["Opus"])
    for name in KNOWN_PEERS:
        assert "\n" not in PEER_DESCRIPTIONS[name]
        with pytest.raises(UsageError, match=f"write for instance {name}:"):
            peer_systems([f"{name}:9999"])


@pytest.mark.parametrize(
    ("name", "remedy"), [("codec2", "apt install codec2"), ("lc3:16", "apt install liblc3-tools"), ("he-aac", "ffmpeg")]
)
def test_a_program_that_is_not_there_makes_a_peer_absent(
    name: str, remedy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    systems, absent = peer_systems([name])
    assert systems == []
    assert list(absent) == [name]
    assert remedy in absent[name]


def test_packages_that_are_not_there_make_peers_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    systems, absent = peer_systems(["opus", "mp3:16", "vorbis"])
    assert systems == []
    assert all("pip install 'audiocodec[eval]'" in reason for reason in absent.values())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    _, absent = peer_systems(["encodec", "dac:6", "mimi", "snac"])
    assert [absent[name].partition("run: ")[2] for name in absent] == [
        "pip install encodec",
        "pip install descript-audio-codec",
        "pip install transformers",
        "pip install snac",
    ]


def test_lyra_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pass --lyra FOLDER with soundstream_encoder.tflite" in peer_systems(["lyra"])[1]["lyra"]
    for name in ("soundstream_encoder.tflite", "quantizer.tflite"):
        (tmp_path / name).touch()
    assert "lacks lyragan.tflite" in peer_systems(["lyra:6"], lyra=tmp_path)[1]["lyra:6"]
    (tmp_path / "lyragan.tflite").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert "pip install 'audiocodec[peers]'" in peer_systems(["lyra"], lyra=tmp_path)[1]["lyra"]


def test_lyra_starts_afresh_and_says_nothing(speech: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (system,) = here("lyra:3.2")
    first, second = (system.run(speech, tmp_path).samples for _ in range(2))
    np.testing.assert_array_equal(first, second)
    os.write(2, b"standard error is back")
    assert capfd.readouterr() == ("", "standard error is back")


def test_the_ffmpeg_program_stands_in_for_an_encoder_that_pyav_lacks(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here("mp3:32")
    if shutil.which("ffmpeg") is None or "libmp3lame" not in ffmpeg._program_encoders(str(shutil.which("ffmpeg"))):
        pytest.skip("no ffmpeg with libmp3lame on PATH")
    system = Ffmpeg("mp3", 32)
    direct, by_pyav = system.run(speech, tmp_path), system.identity()
    monkeypatch.setattr(ffmpeg, "has_encoder", lambda name: False)
    through, by_program = system.run(speech, tmp_path), system.identity()
    assert (by_pyav["by"], by_program["by"]) == ("PyAV", "ffmpeg")
    assert by_program["program"].startswith("ffmpeg version")
    assert through.payload_bytes == pytest.approx(direct.payload_bytes, rel=0.05)
    assert heard(speech, through)[0] > 0.95


def test_few_bits_are_spent_on_a_narrow_band() -> None:
    assert [FORMATS["mp3"].sample_rate(kbps, 44_100) for kbps in (16, 24, 56, 64)] == [16_000, 24_000, 32_000, 44_100]
    assert FORMATS["aac"].sample_rate(64, 22_050) == 22_050
    assert FORMATS["aac"].sample_rate(64, 192_000) == 48_000
    # libfdk_aac's HE-AAC refuses any other rate at these bits, whatever the recording has
    assert [FORMATS["he-aac"].sample_rate(kbps, 16_000) for kbps in (8, 16, 32)] == [24_000, 32_000, 48_000]
    assert max(MP3_KBPS) == 160, "MPEG-2, which recordings below 32 kHz need, has no more"
