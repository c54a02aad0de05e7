"""Live streams of the commands: raw samples through pipes, and ends by signals that leave valid files."""

from __future__ import annotations

import array
import fcntl
import json
import os
import re
import select
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

from audiocodec.audio import RAW_FORMATS, AudioReader, RawFormat
from audiocodec.bitstream.header import MAGIC
from audiocodec.cli import main
from audiocodec.cli.ending import ONE_WISH_S, ended_by_signals
from audiocodec.cli.options import RAW_NAMES
from audiocodec.describe import describe_file
from audiocodec.ending import Ending

MODEL = ("-m", "speech-16k")
RAW = ("--format", "s16le", "--rate", "16000")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "audiocodec", *arguments]


def through(data: bytes, *arguments: str, code: int = 0) -> tuple[bytes, str]:
    """Standard output and error of a command that reads ``data``."""
    result = subprocess.run(command(*arguments), input=data, capture_output=True, timeout=100)
    assert result.returncode == code, result.stderr
    return result.stdout, result.stderr.decode()


def integers(wave: np.ndarray) -> bytes:
    """Samples ``[n]`` or ``[n, channels]`` as s16le."""
    return np.rint(wave * 32767).astype("<i2").tobytes()


def as_raw(name: str, integers: np.ndarray) -> bytes:
    """``[n, channels] int16`` in a raw format that holds them all."""
    wide = integers.astype(np.int64)
    match name:
        case "s24le":
            return (wide << 8).astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
        case "s32le":
            return (wide << 16).astype("<i4").tobytes()
        case "f32le" | "f64le":
            return (wide / 32768).astype("<f4" if name == "f32le" else "<f8").tobytes()
    return integers.astype("<i2").tobytes()


def test_the_command_line_knows_the_library_s_formats() -> None:
    assert tuple(RAW_FORMATS) == RAW_NAMES


@pytest.mark.parametrize("name", ["s16le", "s24le", "s32le", "f32le", "f64le"])
def test_raw_files_hold_what_wav_files_hold(name: str, tmp_path: Path) -> None:
    samples = np.rint(tone(5000, 2, 44100) * 32767).astype(np.int16)
    (tmp_path / "a.raw").write_bytes(as_raw(name, samples) + b"\0")
    with AudioReader(tmp_path / "a.raw", raw=RawFormat(name, 44100, 2)) as reader:
        assert (reader.frames, reader.live, reader.sample_rate, reader.channels) == (5000, False, 44100, 2)
        read = np.concatenate(list(reader), axis=1)
    np.testing.assert_array_equal(read, samples.T / np.float32(32768))
    assert str(reader.shortfall).endswith("ends within a sample; its last 1 bytes are left out")


def test_raw_through_pipes_gives_the_samples_that_files_give(tmp_path: Path) -> None:
    """By a raw pipe, a raw file and a WAV file the .vpc is the same, and so is what comes back of it."""
    samples = np.rint(np.stack([speech_like(3.0, 44100), speech_like(3.0, 44100, 1)], axis=1) * 32767).astype("<i2")
    soundfile.write(tmp_path / "a.wav", samples, 44100)
    (tmp_path / "a.raw").write_bytes(samples.tobytes())
    layout = ("--format", "s16le", "--rate", "44100", "--channels", "2")
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "a.vpc"), *MODEL]) == 0
    assert main(["encode", str(tmp_path / "a.raw"), str(tmp_path / "b.vpc"), *MODEL, *layout]) == 0
    through(samples.tobytes(), "encode", "-", str(tmp_path / "c.vpc"), *MODEL, *layout)
    coded = (tmp_path / "a.vpc").read_bytes()
    assert (tmp_path / "b.vpc").read_bytes() == coded
    assert (tmp_path / "c.vpc").read_bytes() == coded
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "back.wav")]) == 0
    back, rate = soundfile.read(tmp_path / "back.wav", dtype="int16")
    assert (rate, back.shape) == (44100, samples.shape)
    sound, told = through(coded, "decode", "-", "-", "--format", "s16le")
    assert sound == back.astype("<i2").tobytes()
    assert "44100 Hz stereo" in told
    floats, _ = through(coded, "decode", "-", "-", "--format", "f32le")
    np.testing.assert_allclose(np.frombuffer(floats, "<f4"), back.ravel() / 32768, atol=0.6 / 32768)
    assert main(["decode", str(tmp_path / "b.vpc"), "--format", "s16le"]) == 0
    assert (tmp_path / "b.raw").read_bytes() == sound


def test_from_pipe_to_pipe_raw_and_wav_are_the_same(tmp_path: Path) -> None:
    wave = speech_like(2.0)
    data = wav(tmp_path / "a.wav", wave).read_bytes()
    by_wav, _ = through(data, "encode", "-", "-", *MODEL)
    raw = soundfile.read(tmp_path / "a.wav", dtype="int16")[0].astype("<i2").tobytes()
    by_raw, _ = through(raw, "encode", "-", "-", *MODEL, *RAW)
    assert by_raw == by_wav
    sound, _ = through(by_raw, "decode", "-", "-", "--format", "s16le", "--rate", "48000")
    assert len(sound) == 3 * len(raw)


def test_a_raw_file_and_its_end_within_a_sample(tmp_path: Path) -> None:
    _, told = through(integers(speech_like(1.0)) + b"\1", "encode", "-", str(tmp_path / "a.vpc"), *MODEL, *RAW)
    assert "warning: standard input ends within a sample; its last 1 bytes are left out" in told
    assert describe_file(tmp_path / "a.vpc")["samples"] == 16000


def test_options_of_raw_samples_are_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(wav(tmp_path / "a.wav", tone(1000)))
    target = str(tmp_path / "a.vpc")
    assert main(["encode", source, target, *MODEL, "--format", "s16le"]) == 2
    assert "pass --rate HZ" in capsys.readouterr().err
    assert main(["encode", source, target, *MODEL, "--rate", "16000"]) == 2
    assert "--format" in capsys.readouterr().err
    assert main(["encode", source, target, *MODEL, *RAW]) == 4
    assert "begins with a WAV header" in capsys.readouterr().err
    assert main(["encode", source, target, *MODEL, *RAW, "--channels", "3"]) == 4
    assert main(["decode", source, "-", "--format", "s16le", "--subtype", "PCM_24"]) == 2
    assert not (tmp_path / "a.vpc").exists()


def test_a_live_pipe_of_raw_samples_gives_packets_as_they_are_ready() -> None:
    child = subprocess.Popen(
        command("encode", "-q", "-", "-", *MODEL, *RAW), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(integers(speech_like(1.0)) + b"\1")  # a lonely byte waits for its other half
    child.stdin.flush()
    received = b""
    while len(received) < 200:  # four packets, while the input is still open
        assert select.select([child.stdout], [], [], 100)[0], "nothing came"
        received += os.read(child.stdout.fileno(), 4096)
    child.stdin.close()
    assert child.wait(timeout=30) == 0
    child.stdout.close()


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
    sound, told = through(coded, "decode", "-", "-", "--format", "s16le")
    assert len(sound) == 2 * 16000
    assert "warning" not in told


def test_a_signal_ends_what_is_decoded_as_it_comes(tmp_path: Path) -> None:
    coded, _ = through(integers(speech_like(2.0)), "encode", "-", "-", *MODEL, *RAW)
    Live(coded[: len(coded) // 2], "decode", "-", str(tmp_path / "a.wav")).end(signal.SIGTERM)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert 0.5 < soundfile.info(tmp_path / "a.wav").duration < 1.5


@pytest.mark.parametrize(
    ("data", "arguments"), [(b"RIFF", ("encode", "-", "{}/a.vpc", *MODEL)), (MAGIC, ("decode", "-", "{}/a.wav"))]
)
def test_before_anything_came_a_signal_leaves_nothing(data: bytes, arguments: tuple[str, ...], tmp_path: Path) -> None:
    Live(data, *(word.format(tmp_path) for word in arguments)).end(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("timeout") is None, reason="no timeout")
def test_timeout_leaves_a_valid_file_of_an_endless_source(tmp_path: Path) -> None:
    arguments = command("encode", "-", str(tmp_path / "a.vpc"), *MODEL, *RAW)
    with open("/dev/zero", "rb") as endless:
        result = subprocess.run(["timeout", "4", *arguments], stdin=endless, capture_output=True, timeout=100)
    assert result.returncode == 124, result.stderr
    facts = describe_file(tmp_path / "a.vpc")
    assert facts["samples"] > 0
    assert facts["damaged_places"] == 0
    assert main(["decode", str(tmp_path / "a.vpc"), "/dev/null"]) == 0


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


def test_latency_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "speech-16k", "--latency", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["latency_ms"], facts["framing_ms"], facts["overlap_ms"]) == (30, 20, 10)
    assert 0 < facts["encoding_ms"]["p50"] <= facts["encoding_ms"]["p95"]
    assert 30 + facts["decoding_ms"]["p50"] < facts["end_to_end_ms"]["p50"] <= facts["end_to_end_ms"]["p95"]
    assert main(["info", "speech-16k", "--latency"]) == 0
    assert re.search(r"^end to end ms +p50 [\d.]+, p95 [\d.]+$", capsys.readouterr().out, re.MULTILINE)


def test_a_file_has_no_latency(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(wav(tmp_path / "a.wav", tone(100))), "--latency"]) == 2
    assert "name a model" in capsys.readouterr().err
