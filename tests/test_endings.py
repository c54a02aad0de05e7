"""Signals end live streams of the commands, and leave files as whole as if the streams had ended by themselves."""

from __future__ import annotations

import array
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from coding_helpers import tone, wav
from conftest import speech_like
from test_pipes import MODEL, RAW, command, integers, through

from audiocodec.bitstream.header import MAGIC
from audiocodec.cli import main
from audiocodec.cli.ending import ONE_WISH_S, ended_by_signals
from audiocodec.describe import describe_file
from audiocodec.ending import Ending


class Live:
    """A command that waits for more on its standard input, after it has read ``data``."""

    def __init__(self, data: bytes, *arguments: str, stdout: int = subprocess.DEVNULL) -> None:
        self.child = subprocess.Popen(command(*arguments), stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE)
        assert self.child.stdin is not None
        self.child.stdin.write(data)
        self.child.stdin.flush()
        left = array.array("i", [1])
        deadline = time.monotonic() + 60
        while left[0] and time.monotonic() < deadline:
            fcntl.ioctl(self.child.stdin, termios.FIONREAD, left)
            time.sleep(0.05)
        time.sleep(0.5)  # what was read is worked at

    def end(self, number: int) -> str:
        """Send a signal; the exit code must be its. What was told."""
        self.child.send_signal(number)
        _, told = self.child.communicate(timeout=60)
        assert self.child.returncode == 128 + number, told
        assert b"Traceback" not in told
        return told.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_recording_that_is_then_whole(number: int, tmp_path: Path) -> None:
    wave = speech_like(2.5)
    target = tmp_path / "a.vpc"
    told = Live(integers(wave), "encode", "-", str(target), *MODEL, *RAW).end(number)
    assert "warning" not in told
    assert describe_file(target)["samples"] == 40000
    assert [path.name for path in tmp_path.iterdir()] == ["a.vpc"]
    through(integers(wave), "encode", "-", str(tmp_path / "b.vpc"), *MODEL, *RAW)
    assert target.read_bytes() == (tmp_path / "b.vpc").read_bytes()
    assert main(["decode", str(target)]) == 0
    assert soundfile.info(tmp_path / "a.wav").frames == 40000


def test_a_signal_ends_a_wav_stream_early_too(tmp_path: Path) -> None:
    data = wav(tmp_path / "a.wav", tone(64000)).read_bytes()[: 44 + 2 * 24000]
    told = Live(data, "encode", "-", str(tmp_path / "a.vpc"), *MODEL).end(signal.SIGTERM)
    assert "warning" not in told
    assert describe_file(tmp_path / "a.vpc")["samples"] == 24000


def test_from_pipe_to_pipe_a_signal_ends_by_an_end_packet() -> None:
    live = Live(integers(speech_like(1.0)), "encode", "-", "-", *MODEL, *RAW, stdout=subprocess.PIPE)
    live.child.send_signal(signal.SIGINT)
    coded, told = live.child.communicate(timeout=60)
    assert live.child.returncode == 130, told
    assert coded == through(integers(speech_like(1.0)), "encode", "-", "-", *MODEL, *RAW)[0]
    sound, told = through(coded, "decode", "-", "-", "--format", "s16le")
    assert len(sound) == 2 * 16000
    assert "warning" not in told


def test_a_signal_ends_what_is_decoded_as_it_comes(tmp_path: Path) -> None:
    coded, _ = through(integers(speech_like(2.0)), "encode", "-", "-", *MODEL, *RAW)
    Live(coded[: len(coded) // 2], "decode", "-", str(tmp_path / "a.wav")).end(signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    whole, _ = through(coded, "decode", "-", "-", "--format", "s16le")
    sound, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert 0.5 < len(sound) / 16000 < 1.5
    assert whole.startswith(sound.astype("<i2").tobytes())


@pytest.mark.parametrize(
    ("data", "arguments"), [(b"RIFF", ("encode", "-", "{}/a.vpc", *MODEL)), (MAGIC, ("decode", "-", "{}/a.wav"))]
)
def test_before_anything_came_a_signal_leaves_nothing(data: bytes, arguments: tuple[str, ...], tmp_path: Path) -> None:
    Live(data, *(word.format(tmp_path) for word in arguments)).end(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


_FOR_EVER = "import sys\nwhile True: sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"


@pytest.mark.skipif(shutil.which("timeout") is None, reason="no timeout")
def test_timeout_leaves_a_valid_file_of_an_endless_source(tmp_path: Path) -> None:
    """Valid, and what the same samples give that end by themselves."""
    (tmp_path / "a.raw").write_bytes(integers(speech_like(3.0)))
    target = tmp_path / "a.vpc"
    with subprocess.Popen(
        [sys.executable, "-c", _FOR_EVER, str(tmp_path / "a.raw")], stdout=subprocess.PIPE
    ) as endless:
        arguments = command("encode", "-", str(target), *MODEL, *RAW)
        result = subprocess.run(["timeout", "5", *arguments], stdin=endless.stdout, capture_output=True, timeout=100)
        endless.kill()
    assert result.returncode == 124, result.stderr
    facts = describe_file(target)
    assert facts["samples"] > 0
    assert facts["damaged_places"] == 0
    samples = np.resize(np.frombuffer((tmp_path / "a.raw").read_bytes(), "<i2"), facts["samples"])
    (tmp_path / "b.raw").write_bytes(samples.tobytes())
    assert main(["encode", str(tmp_path / "b.raw"), str(tmp_path / "b.vpc"), *MODEL, *RAW]) == 0
    assert target.read_bytes() == (tmp_path / "b.vpc").read_bytes()


def test_a_second_signal_aborts_unless_it_is_the_same_wish() -> None:
    with ended_by_signals() as ending:
        ending.live = True
        interrupt()
        interrupt()  # as `timeout` sends it twice
        assert ending.signum == signal.SIGINT
        time.sleep(ONE_WISH_S + 0.1)
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with ended_by_signals(), pytest.raises(KeyboardInterrupt):  # of what is not live, the first
        interrupt()


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="pipes have one size")
def test_a_second_signal_ends_what_cannot_be_finished(tmp_path: Path) -> None:
    """Nobody takes the output, so that the first signal, which waits for the end of a packet, ends nothing."""
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    (tmp_path / "a.raw").write_bytes(integers(speech_like(60.0)))
    arguments = command("encode", "-", "-", *MODEL, *RAW)
    with (tmp_path / "a.raw").open("rb") as source:
        child = subprocess.Popen(arguments, stdin=source, stdout=theirs, stderr=subprocess.PIPE)
    full, deadline = array.array("i", [0]), time.monotonic() + 60
    while full[0] < 4096 - 200 and time.monotonic() < deadline:
        time.sleep(0.1)
        fcntl.ioctl(ours, termios.FIONREAD, full)
    time.sleep(0.5)
    child.send_signal(signal.SIGTERM)
    time.sleep(ONE_WISH_S + 0.3)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert child.returncode == 143, told
    assert b"Traceback" not in told


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)  # by which it has arrived


def test_an_ending_wakes_whoever_waits() -> None:
    ours, theirs = os.pipe()
    ending = Ending()
    with os.fdopen(ours, "rb") as pipe, os.fdopen(theirs, "wb") as other:
        threading.Timer(0.2, ending.ask).start()
        assert not ending.wait(pipe)
        assert not ending.wait(pipe)
        other.write(b"x")
    ending.close()
