"""kill -9: what is lost are the packets in flight, the others go on, and nothing is left that nobody finds."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speech_like
from test_pipes import MODEL, RAW, command, integers, through

pytest.importorskip("fcntl", reason="pipes and signals of POSIX")
from kill_helpers import Fed
from waiting import until

import audiocodec
from audiocodec import StreamDecoder
from audiocodec.cli import main
from audiocodec.leftovers import left_behind
from audiocodec.streaming import FILE_BLOCK_FRAMES, FILE_PACKET_FRAMES
from audiocodec.transcode import LIVE_PACKET_FRAMES

HOP = 320  # samples of a frame, of two bytes each
PIECE_FRAMES = 5


def frames_in(coded: bytes, folder: Path) -> int:
    """Whole frames that can be decoded of what a killed encoder had written."""
    (folder / "left.vpc").write_bytes(coded)
    assert main(["decode", str(folder / "left.vpc"), str(folder / "left.wav"), "--force"]) == 3  # it has no end
    return -(-soundfile.info(folder / "left.wav").frames // HOP)


@pytest.mark.parametrize("seed", range(3))
def test_of_a_killed_encoder_in_a_pipe_all_but_a_packet_reaches_the_reader(seed: int, tmp_path: Path) -> None:
    frames = 60 + int(np.random.default_rng(seed).integers(100))
    encoder = Fed("encode", "-", "-", *MODEL, *RAW)
    encoder.feed(integers(speech_like(frames * HOP / 16000, seed=seed)), 2 * HOP * PIECE_FRAMES)
    encoder.kill()
    taken = encoder.taken // (2 * HOP)
    found = frames_in(bytes(encoder.out), tmp_path)
    # A packet being filled, the piece that was just read, and the frame that a decoder's delay holds back
    assert taken - (LIVE_PACKET_FRAMES + PIECE_FRAMES + 1) <= found <= taken


def test_of_a_killed_recording_all_but_a_packet_lies_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "talk.vpc"
    encoder = Fed("encode", "-", str(target), *MODEL, *RAW)
    encoder.feed(integers(speech_like(24.0)), 2 * HOP * FILE_BLOCK_FRAMES)
    assert left_behind(target) == []  # it is being written
    encoder.kill()
    assert not target.exists()
    (left,) = left_behind(target)
    found = frames_in(left.read_bytes(), tmp_path)
    taken = encoder.taken // (2 * HOP)
    assert taken - (FILE_PACKET_FRAMES + 2 * FILE_BLOCK_FRAMES) <= found
    # Who writes that name next is told so, and leaves it alone: another recording, and what is made of a file.
    _, told = through(integers(speech_like(0.5)), "encode", "-", str(target), *MODEL, *RAW)
    assert f"warning: {left}: recorded by a process that was killed; decode what you miss" in told
    (tmp_path / "a.raw").write_bytes(integers(speech_like(0.5)))
    _, told = through(b"", "encode", "--force", str(tmp_path / "a.raw"), str(target), *MODEL, *RAW)
    assert str(left) in told
    assert left.exists()
    assert target.exists()


def test_a_killed_decoder_ends_its_encoder_and_leaves_a_beginning(tmp_path: Path) -> None:
    wave = speech_like(4.0)
    coded, _ = through(integers(wave), "encode", "-", "-", *MODEL, *RAW)
    whole, _ = through(coded, "decode", "-", "-", "--format", "s16le")
    decoder = Fed("decode", "-", "-", "--format", "s16le")
    decoder.feed(coded[: len(coded) // 2], 100)
    decoder.kill()
    assert whole.startswith(bytes(decoder.out))
    known = StreamDecoder(audiocodec.load("speech-16k")).push(coded[: decoder.taken - 100])  # it had read on
    assert known.shape[1] > 16000
    assert len(decoder.out) >= 2 * known.shape[1]
    ours, theirs = os.pipe()
    encoder = subprocess.Popen(command("encode", "-", "-", *MODEL, *RAW), stdin=subprocess.PIPE, stdout=theirs)
    os.close(theirs)
    assert encoder.stdin is not None
    assert os.read(ours, 16)  # its header: it has begun
    os.close(ours)
    with contextlib.suppress(BrokenPipeError):
        while encoder.poll() is None:
            encoder.stdin.write(integers(wave))
    with contextlib.suppress(BrokenPipeError):
        encoder.stdin.close()
    assert encoder.wait(timeout=60) == 128 + signal.SIGPIPE


def test_of_a_decoder_killed_amid_a_file_nothing_has_its_name(tmp_path: Path) -> None:
    coded, _ = through(integers(speech_like(4.0)), "encode", "-", "-", *MODEL, *RAW)
    target = tmp_path / "a.wav"
    decoder = Fed("decode", "-", str(target))
    decoder.feed(coded[: len(coded) // 2], 100)
    until(lambda: list(tmp_path.glob(".a.wav.*.part")), "it writes")
    decoder.kill()
    assert not target.exists()
    (left,) = left_behind(target)
    _, told = through(coded, "decode", "-", str(target))
    assert f"{left}: recorded by a process that was killed; rename and play what you miss" in told
    assert soundfile.info(target).frames == 64000
    assert 0 < soundfile.info(left).frames < 64000  # a WAV without its end can be played


@pytest.mark.parametrize("kind", ["encode", "decode"])
def test_what_is_left_of_a_file_and_can_be_made_again_is_removed(kind: str, tmp_path: Path) -> None:
    wave, coded = tmp_path / "in.wav", tmp_path / "in.vpc"
    soundfile.write(wave, np.tile(speech_like(10.0), 120), 16000)
    source, target = (wave, tmp_path / "out.vpc") if kind == "encode" else (coded, tmp_path / "out.wav")
    if kind == "decode":
        assert main(["encode", str(wave), str(coded), *MODEL]) == 0
    options = MODEL if kind == "encode" else ()
    for _ in range(2):  # the second finds what the first left
        child = subprocess.Popen(command(kind, str(source), str(target), *options), stderr=subprocess.DEVNULL)
        until(lambda: sum(one.stat().st_size for one in tmp_path.glob(".out.*.part")), "it writes")
        child.kill()
        child.wait()
        assert len(list(tmp_path.glob(".out.*.part"))) == 1
    assert left_behind(target) == []  # nothing to tell of
    assert main([kind, "-q", str(source), str(target), *options]) == 0
    assert not list(tmp_path.glob(".*"))
    assert target.exists()


_SERVER = """
import sys, tempfile, time
from audiocodec.demo.studio import _workplace
tempfile.tempdir = sys.argv[1]
with _workplace("talk.wav") as folder:
    (folder / "recording").write_bytes(bytes(1000))
    print("working", flush=True)
    time.sleep(1000)
"""


def test_a_killed_server_leaves_nothing_of_its_visitors_on_disk(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="pip install 'audiocodec[demo]'")
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(tmp_path)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline() == b"working\n"
    assert list(tmp_path.iterdir())
    server.kill()
    server.wait()
    server.stdout.close()
    until(lambda: not list(tmp_path.iterdir()), "the folder is removed")
