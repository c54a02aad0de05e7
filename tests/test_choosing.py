"""``encode --model auto``: what it picks with any subset of models installed, how it says so, and what overrides it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from coding_helpers import make_model
from conftest import ROOT
from test_content import tune

from audiocodec import models
from audiocodec.audio import AudioReader
from audiocodec.bitstream import StreamHeader
from audiocodec.choosing import choose
from audiocodec.cli import main
from audiocodec.errors import ModelError
from audiocodec.modelfiles import fingerprint
from audiocodec.train.ship import enter

SPEECH16 = ("speech-16k", "speech", 16000, True)
SPEECH24 = ("speech-24k", "speech", 24000, True)
MUSIC48 = ("music-48k", "music", 48000, True)
VP = ("speech-16k-vp", "speech", 16000, False)
Kind = tuple[str, str, int, bool]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small untrained models under the names that ship."""
    place = tmp_path_factory.mktemp("made")
    return {kind[0]: make_model(place / kind[0], n) for n, kind in enumerate((SPEECH16, SPEECH24, MUSIC48, VP))}


@pytest.fixture
def shelf(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install these models, and no others."""

    def install(*kinds: Kind) -> Path:
        place = tmp_path / "shelf"
        place.mkdir()
        entries = []
        for name, domain, rate, automatic in kinds:
            (place / name).symlink_to(folders[name])
            entry = {"name": name, "fingerprint": fingerprint(folders[name]).hex(), "domain": domain}
            entries.append(entry | {"sample_rate": rate, "automatic": automatic})
        (place / "index.json").write_text(json.dumps({"models": entries}))
        monkeypatch.setattr(models, "search_folders", lambda: [place])
        return place

    return install


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings by what they hold; the sample is sampled at 22050 Hz and fills that."""
    place = tmp_path_factory.mktemp("sounds")
    speech, rate = soundfile.read(ROOT / "samples" / "speech.flac", dtype="float32")
    low = soxr.resample(speech, rate, 16000)
    made = {
        "speech": (speech, rate),
        "narrow": (soxr.resample(low, 16000, 48000), 48000),
        "music": (tune(6.0)[0], 44100),
    }
    for name, (samples, at) in made.items():
        soundfile.write(place / f"{name}.wav", samples, at)
    return {name: place / f"{name}.wav" for name in made}


def model_of(coded: Path) -> str | None:
    made_by = StreamHeader.unpack(coded.read_bytes())[0].fingerprint.hex()
    return next((model.name for model in models.list_models() if model.fingerprint == made_by), None)


@pytest.mark.parametrize(
    ("installed", "sound", "picked", "noted"),
    [
        ((SPEECH16, VP), "speech", "speech-16k", False),
        ((VP, SPEECH16, MUSIC48), "speech", "speech-16k", False),
        ((SPEECH16, SPEECH24, MUSIC48), "speech", "speech-24k", False),
        ((SPEECH24, SPEECH16), "narrow", "speech-16k", False),
        ((SPEECH24, VP), "narrow", "speech-24k", False),
        ((SPEECH16, SPEECH24, MUSIC48, VP), "music", "music-48k", False),
        ((SPEECH16, VP), "music", "speech-16k", True),
        ((MUSIC48,), "speech", "music-48k", True),
    ],
)
def test_any_subset_of_models(
    shelf, sounds, tmp_path: Path, capsys: pytest.CaptureFixture[str], installed, sound: str, picked: str, noted: bool
) -> None:
    shelf(*installed)
    target = tmp_path / "out.vpc"
    assert main(["encode", str(sounds[sound]), str(target), "--bitrate", "30"]) == 0
    assert model_of(target) == picked
    told = capsys.readouterr()
    holds = "music" if sound == "music" else "speech"
    assert f", {picked} ({holds}, " in told.out
    assert told.out.count("\n") == 1
    assert told.err.count("\n") == int(noted)
    if noted:
        assert told.err.startswith(f"note: no model of {holds} is installed: {sounds[sound]} ({holds}, ")
        assert told.err.endswith(f"is coded by {picked}\n")


def test_a_model_that_is_named_is_taken_without_a_word(shelf, sounds, tmp_path, capsys) -> None:
    shelf(SPEECH16, MUSIC48, VP)
    for name in ("speech-16k", "speech-16k-vp"):
        assert main(["encode", str(sounds["music"]), str(tmp_path / f"{name}.vpc"), "-m", name, "-l", "3"]) == 0
        assert model_of(tmp_path / f"{name}.vpc") == name
        told = capsys.readouterr()
        assert told.err == ""
        assert told.out.endswith("x real time\n")


def test_each_file_of_several_gets_its_own_model(shelf, sounds, tmp_path, capsys) -> None:
    shelf(SPEECH16, MUSIC48)
    out = tmp_path / "out"
    out.mkdir()
    assert main(["encode", str(sounds["speech"]), str(sounds["music"]), "-d", str(out), "-b", "30"]) == 0
    assert [model_of(out / f"{name}.vpc") for name in ("speech", "music")] == ["speech-16k", "music-48k"]


def test_quiet_has_no_note(shelf, sounds, tmp_path, capsys) -> None:
    shelf(SPEECH16)
    assert main(["encode", "-q", str(sounds["music"]), str(tmp_path / "a.vpc"), "-l", "3"]) == 0
    assert capsys.readouterr() == ("", "")


def test_without_a_model_that_may_be_picked(shelf, sounds, tmp_path, capsys) -> None:
    place = shelf(VP)
    assert main(["encode", str(sounds["speech"]), str(tmp_path / "a.vpc")]) == 5
    assert "installed: speech-16k-vp" in capsys.readouterr().err
    assert not (tmp_path / "a.vpc").exists()
    (place / "index.json").write_text("not JSON")
    with AudioReader(sounds["speech"]) as reader, pytest.raises(ModelError, match="is damaged"):
        choose(reader)


def test_an_index_of_before_still_serves(shelf, sounds, tmp_path) -> None:
    index = shelf(SPEECH16, MUSIC48) / "index.json"
    entries = json.loads(index.read_text())["models"]
    bare = [{"name": e["name"], "fingerprint": e["fingerprint"]} for e in entries]
    index.write_text(json.dumps({"models": bare}))
    assert main(["encode", str(sounds["speech"]), str(tmp_path / "a.vpc"), "-b", "30"]) == 0
    assert model_of(tmp_path / "a.vpc") == "speech-16k"


def test_a_rate_that_the_picked_model_lacks(shelf, sounds, tmp_path, capsys) -> None:
    shelf(SPEECH16, SPEECH24, MUSIC48)
    target = tmp_path / "a.vpc"
    for options in (["--bitrate", "0.01"], ["--levels", "4"], ["--bitrate", "3", "--levels", "3"]):
        assert main(["encode", str(sounds["music"]), str(target), *options]) == 2
        told = capsys.readouterr().err
        assert "music-48k; --model NAME" in told
        assert told.count("\n") == 1
        assert not target.exists()
    assert main(["encode", str(sounds["music"]), str(target)]) == 0  # by default the lowest rate, if all are above 3


def test_a_model_of_the_same_domain_steps_in_for_a_rate(shelf, sounds, folders, tmp_path) -> None:
    shelf(SPEECH16, SPEECH24)
    rates = folders["speech-24k"] / "rates.json"
    rates.write_text(json.dumps({str(n): {"file_bps": 50_000 + n} for n in (3, 5, 9, 17)}))
    try:
        assert main(["encode", str(sounds["speech"]), str(tmp_path / "a.vpc"), "-b", "30"]) == 0
    finally:
        rates.unlink()
    assert model_of(tmp_path / "a.vpc") == "speech-16k"


@pytest.mark.parametrize("sound", ["speech", "music"])
def test_a_pipe_into_a_file_is_listened_to_and_wholly_encoded(shelf, sounds, tmp_path, monkeypatch, sound) -> None:
    shelf(SPEECH16, MUSIC48)

    class Stdin:
        buffer = io.BytesIO(sounds[sound].read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert main(["encode", "-", str(tmp_path / "pipe.vpc"), "-b", "30"]) == 0
    assert model_of(tmp_path / "pipe.vpc") == {"speech": "speech-16k", "music": "music-48k"}[sound]
    assert main(["encode", str(sounds[sound]), str(tmp_path / "file.vpc"), "-b", "30"]) == 0
    assert (tmp_path / "pipe.vpc").read_bytes() == (tmp_path / "file.vpc").read_bytes()


def test_from_pipe_to_pipe_nothing_waits(sounds) -> None:
    command = [sys.executable, "-m", "audiocodec", "encode", "-", "-", "--bitrate", "6"]
    done = subprocess.run(command, input=sounds["music"].read_bytes(), capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert b"speech-16k (taken for speech, as live streams are)" in done.stderr
    assert StreamHeader.unpack(done.stdout)[0].fingerprint == fingerprint(ROOT / "pretrained" / "speech-16k")


def test_of_a_long_file_the_middle_and_the_end_count(shelf, sounds, tmp_path) -> None:
    shelf(SPEECH16, MUSIC48)
    speech, rate = soundfile.read(sounds["speech"], dtype="float32")
    music = soxr.resample(tune(12.0)[0], 44100, rate)
    soundfile.write(tmp_path / "jingle.wav", np.concatenate([music, np.tile(speech, 5)]), rate)
    with AudioReader(tmp_path / "jingle.wav") as reader:
        assert choose(reader).models[0].name == "speech-16k"
        assert sum(block.shape[1] for block in reader) == reader.frames


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_read_once(sounds, tmp_path) -> None:
    samples, rate = soundfile.read(sounds["speech"], dtype="float32")
    soundfile.write(tmp_path / "long.flac", np.resize(samples, 40 * rate), rate)
    os.mkfifo(tmp_path / "fifo")
    fill = ["cp", str(tmp_path / "long.flac"), str(tmp_path / "fifo")]
    with subprocess.Popen(fill), AudioReader(tmp_path / "fifo") as reader:
        assert "speech" in choose(reader).reason


def test_a_long_file_whose_length_was_never_filled_in_is_listened_to(sounds, tmp_path) -> None:
    samples, rate = soundfile.read(sounds["speech"], dtype="float32")
    soundfile.write(tmp_path / "long.wav", np.resize(samples, 40 * rate), rate)
    with open(tmp_path / "long.wav", "r+b") as file:
        file.seek(40)
        file.write(bytes(4))
    with AudioReader(tmp_path / "long.wav") as reader:
        assert "too quiet or short" not in choose(reader).reason


def test_peeking_changes_nothing(sounds) -> None:
    with AudioReader(sounds["speech"]) as reader:
        plain = np.concatenate(list(reader), axis=1)
    for seconds in (0.0, 0.001, 3.0, 60.0):
        with AudioReader(sounds["speech"]) as reader:
            first = np.concatenate([plain[:, :0], *reader.peek(seconds)], axis=1)
            assert first.shape[1] >= min(round(seconds * reader.sample_rate), plain.shape[1])
            np.testing.assert_array_equal(first, plain[:, : first.shape[1]])
            assert reader.samples_read == 0
            np.testing.assert_array_equal(np.concatenate(list(reader), axis=1), plain)
            assert reader.samples_read == plain.shape[1]


def test_the_index_says_what_a_model_is_for(folders, tmp_path) -> None:
    for name in ("speech-16k", "music-48k"):
        (tmp_path / name).symlink_to(folders[name])

    def entries() -> dict[str, dict[str, object]]:
        return {e["name"]: e for e in json.loads((tmp_path / "index.json").read_text())["models"]}

    enter(tmp_path / "music-48k", "of music", "music")
    enter(tmp_path / "speech-16k", automatic=True)
    assert entries()["music-48k"] | {"fingerprint": ""} == {
        "name": "music-48k",
        "fingerprint": "",
        "description": "of music",
        "sample_rate": 16000,
        "domain": "music",
        "automatic": True,
    }
    assert "domain" not in entries()["speech-16k"]
    enter(tmp_path / "music-48k", automatic=False)
    enter(tmp_path / "music-48k")  # what was entered stays
    assert (entries()["music-48k"]["domain"], entries()["music-48k"]["automatic"]) == ("music", False)


def test_the_shipped_index_says_what_its_models_are_for() -> None:
    shipped = {e["name"]: e for e in json.loads((ROOT / "pretrained" / "index.json").read_text())["models"]}
    assert (shipped["speech-16k"]["domain"], shipped["speech-16k"]["automatic"]) == ("speech", True)
    assert not shipped["speech-16k-vp"]["automatic"]
    for entry in shipped.values():
        assert entry["domain"] in ("speech", "music")
        config = json.loads((ROOT / "pretrained" / entry["name"] / "config.json").read_text())
        assert entry["sample_rate"] == config.get("sample_rate", 16000)


def test_help_explains_the_choice(capsys) -> None:
    assert main(["encode", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "the first 5 s" in text
    assert "audiocodec encode song.flac --model speech-16k" in text
