"""The commands encode, decode and info: options, several inputs, refusals, and what they tell."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coding_helpers import codec, coded, make_model, model, tone, wav  # noqa: F401 (fixtures among them)

from audiocodec.cli import main
from audiocodec.codec import Codec, load


def test_encode_and_decode_beside_the_input(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = wav(tmp_path / "a.flac", tone(16000))
    assert main(["encode", str(source), "--model", model, "--levels", "3"]) == 0
    told = capsys.readouterr()
    assert "kbps" in told.out
    assert "times smaller" in told.out
    assert told.err == ""  # no progress bar where nobody watches
    assert main(["decode", str(tmp_path / "a.vpc"), "--model", model]) == 0
    assert "16000 Hz mono" in capsys.readouterr().out
    assert soundfile.info(tmp_path / "a.wav").frames == 16000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.flac", "a.vpc", "a.wav"]


def test_quiet_says_nothing(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav(tmp_path / "a.wav", tone(1000))
    assert main(["encode", "-q", str(tmp_path / "a.wav"), "-m", model, "-l", "3"]) == 0
    assert main(["decode", "-q", "-f", str(tmp_path / "a.vpc"), "-m", model]) == 0
    assert capsys.readouterr() == ("", "")


def test_options_choose_the_sample_format(model: str, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(1000))
    assert main(["encode", str(tmp_path / "a.wav"), "-m", model, "-l", "3"]) == 0
    vpc = str(tmp_path / "a.vpc")
    assert main(["decode", vpc, str(tmp_path / "b.wav"), "-m", model, "--subtype", "FLOAT"]) == 0
    assert soundfile.info(tmp_path / "b.wav").subtype == "FLOAT"
    assert main(["decode", vpc, "-m", model, "--format", "flac"]) == 0
    assert soundfile.info(tmp_path / "a.flac").frames == 1000
    assert main(["decode", vpc, "-m", model, "--format", "xyz"]) == 6


def test_several_inputs_go_on_past_a_bad_one(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    wav(tmp_path / "a.wav", tone(1000))
    (tmp_path / "b.wav").write_text("no audio")
    wav(tmp_path / "c.wav", tone(2000))
    inputs = [str(tmp_path / f"{name}.wav") for name in "abc"]
    assert main(["encode", *inputs, "--out-dir", str(tmp_path / "out"), "-m", model, "-l", "3"]) == 4
    assert "1 of 3 files failed" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.vpc", "c.vpc"]
    coded = [str(p) for p in sorted((tmp_path / "out").iterdir())]
    assert main(["decode", *coded, "--out-dir", str(tmp_path / "out"), "-m", model]) == 0
    assert soundfile.info(tmp_path / "out" / "c.wav").frames == 2000


# Refusals: one line, its exit code, nothing left


@pytest.mark.parametrize(
    ("name", "make", "code", "words"),
    [
        ("nan.wav", lambda p: wav(p, np.full((40000, 1), np.nan), subtype="FLOAT"), 4, "nan at 0.000000 s"),
        ("inf.wav", lambda p: wav(p, np.full((40000, 1), np.inf), subtype="FLOAT"), 4, "inf at 0.000000 s"),
        ("text.wav", lambda p: p.write_text("words"), 4, "not audio"),
        ("empty.wav", lambda p: p.write_bytes(b""), 4, "not audio"),
        ("missing.wav", lambda p: None, 4, "No such file"),
        ("folder.wav", lambda p: p.mkdir(), 4, "s a directory"),
        ("slow.wav", lambda p: wav(p, tone(100), 7000), 4, "7000 Hz"),
        ("many.wav", lambda p: wav(p, np.zeros((10, 6))), 4, "6 channels"),
    ],
)
def test_bad_inputs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, make: object, code: int, words: str
) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    before = sorted(tmp_path.iterdir())
    assert main(["encode", str(tmp_path / name), str(tmp_path / "out.vpc"), "-m", model, "-l", "3"]) == code
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert words in told
    assert told.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_outputs_that_cannot_be(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    options = ["-m", model, "-l", "3"]
    assert main(["encode", source, *options]) == 0
    coded = (tmp_path / "a.vpc").read_bytes()
    assert main(["encode", source, *options]) == 6
    assert "--force" in capsys.readouterr().err
    assert main(["encode", source, str(tmp_path / "none" / "a.vpc"), *options]) == 6
    assert main(["encode", source, source, "--force", *options]) in (2, 6)
    assert main(["encode", source, "/dev/full", *options]) == 6
    assert "No space left" in capsys.readouterr().err
    assert main(["encode", source, "--force", *options]) == 0
    assert (tmp_path / "a.vpc").read_bytes() == coded
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vpc", "a.wav"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission(model: str, tmp_path: Path) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(["encode", source, str(tmp_path / "locked" / "a.vpc"), "-m", model, "-l", "3"]) == 6


def test_models_that_are_missing_or_another(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    assert main(["encode", source, "-m", str(tmp_path / "nowhere")]) == 5
    assert main(["encode", source, "-m", model, "-l", "3"]) == 0
    capsys.readouterr()
    fingerprint = load(model).fingerprint.hex()
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav")]) == 5
    told = capsys.readouterr().err
    assert fingerprint in told
    assert "a.vpc" in told
    assert "--model" in told
    other = make_model(tmp_path / "other", 1)
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav"), "-m", str(other)]) == 5
    assert not (tmp_path / "b.wav").exists()
    # Once an index names it, the file finds its model by itself
    entry = {"name": "tiny", "fingerprint": fingerprint, "description": "small"}
    (Path(model).parent / "index.json").write_text(json.dumps({"models": [entry]}))
    monkeypatch.setenv("AUDIOCODEC_MODELS", str(Path(model).parent))
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav")]) == 0
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    assert entry["name"] in [m["name"] for m in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize("options", [["--levels", "4"], ["--bitrate", "0.01"], ["--bitrate", "3", "--levels", "3"]])
def test_rates_that_the_model_does_not_have(model: str, tmp_path: Path, options: list[str]) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    assert main(["encode", source, "-m", model, *options]) == 2
    assert not (tmp_path / "a.vpc").exists()


# Damage


def test_stereo_can_be_chosen_and_is_told(
    codec: Codec, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mono = wav(tmp_path / "a.wav", np.repeat(tone(4000), 2, axis=1))
    for choice, coupling in (("auto", "mid-side"), ("mid-side", "mid-side"), ("independent", "independent")):
        assert main(["encode", str(mono), "-m", model, "-l", "3", "--stereo", choice, "-f", "-q"]) == 0
        assert main(["info", str(tmp_path / "a.vpc"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["coupling"] == coupling
        assert told["side_setting"] == ("absent" if coupling == "mid-side" else None)
    assert main(["encode", str(mono), "-m", model, "--stereo", "wide"]) == 2


def test_info_about_a_file(
    model: str, codec: Codec, coded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.vpc").write_bytes(coded)
    assert main(["info", str(tmp_path / "a.vpc"), "--json"]) == 0  # without the model at hand
    facts = json.loads(capsys.readouterr().out)
    assert facts["fingerprint"] == codec.fingerprint.hex()
    assert facts["seconds"] == 4.0
    assert facts["source_rate_hz"] == 16000
    assert facts["bytes"] == len(coded)
    assert facts["kbps"] == pytest.approx(len(coded) * 8 / 4000, abs=0.01)
    assert main(["info", str(tmp_path / "a.vpc")]) == 0
    assert codec.fingerprint.hex() in capsys.readouterr().out
    (tmp_path / "bad.vpc").write_bytes(b"nothing")
    assert main(["info", str(tmp_path / "bad.vpc")]) == 3
    assert main(["info", str(tmp_path / "missing.vpc")]) in (4, 5)


def test_info_about_a_model(model: str, codec: Codec, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", model, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["latency_ms"] == 30.0
    assert facts["parameters"] == sum(p.numel() for p in codec.net.parameters())
    assert [rate["levels"] for rate in facts["rates"]] == list(codec.config.level_settings)
    # The analysis alone, a 320 x 320 product 100 times a second, is 10.24 million
    assert facts["encoder_mega_macs_per_second"] > 10.24
    assert main(["info", model]) == 0
    assert "latency" in capsys.readouterr().out
