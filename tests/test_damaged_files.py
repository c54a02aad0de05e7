"""Damaged, cut and foreign files: what is sound is heard, and the rest is reported or refused."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from coding_helpers import codec, coded, header_bytes, model  # noqa: F401 (fixtures among them)

from audiocodec.cli import main
from audiocodec.codec import Codec
from audiocodec.errors import BitstreamError
from audiocodec.transcode import decode_file


def decode_bytes(model: str, tmp_path: Path, data: bytes) -> int:
    (tmp_path / "bad.vpc").write_bytes(data)
    return main(["decode", str(tmp_path / "bad.vpc"), str(tmp_path / "out.wav"), "-m", model, "--force"])


def test_a_flipped_byte_costs_its_packet_and_is_reported(
    model: str, coded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode_bytes(model, tmp_path, coded) == 0
    whole = soundfile.read(tmp_path / "out.wav")[0]
    flipped = bytearray(coded)
    flipped[len(coded) // 2] ^= 0x55
    capsys.readouterr()
    assert decode_bytes(model, tmp_path, bytes(flipped)) == 3
    told = capsys.readouterr().err
    assert "lost at byte" in told
    audio = soundfile.read(tmp_path / "out.wav")[0]
    assert len(audio) == len(whole)
    assert np.array_equal(audio[:16000], whole[:16000])
    assert not np.array_equal(audio, whole)


def test_a_cut_file_gives_what_it_holds(
    model: str, coded: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decode_bytes(model, tmp_path, coded[: len(coded) // 2]) == 3
    told = capsys.readouterr().err
    assert told.startswith("warning: ")
    assert soundfile.info(tmp_path / "out.wav").frames >= 16000


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_without_a_header_there_is_no_output(model: str, coded: bytes, tmp_path: Path, cut: int) -> None:
    assert decode_bytes(model, tmp_path, coded[:cut]) == 3
    assert not (tmp_path / "out.wav").exists()


def test_random_bytes_and_foreign_files_are_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in (np.random.default_rng(0).bytes(5000), b"RIFF" + bytes(100), b"\x89VPC"):
        assert decode_bytes(model, tmp_path, data) == 3
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert "bad.vpc" in told
        assert told.count("\n") == 1
        assert not (tmp_path / "out.wav").exists()


def test_a_header_with_nothing_sound_behind_it_is_no_audio(codec: Codec, coded: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.vpc").write_bytes(coded[:200] if len(coded) < 200 else coded[: header_bytes(coded)])
    with pytest.raises(BitstreamError, match=r"bad\.vpc: nothing in it can be decoded"):
        decode_file(codec, tmp_path / "bad.vpc", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


# Pipes, full disks, signals
