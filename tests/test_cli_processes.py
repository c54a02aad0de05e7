"""The commands as processes: pipes, terminals, a full disk and signals leave nothing half."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from coding_helpers import codec, coded, header_bytes, model, tone, wav  # noqa: F401 (fixtures among them)

from audiocodec.audio import AudioReader
from audiocodec.cli import main


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "audiocodec", *arguments]


def test_through_pipes(model: str, tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(40000, 2, 44100), 44100)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # as ffmpeg writes it into a pipe
    coded = subprocess.run(command("encode", "-", "-", "-m", model, "-l", "3"), input=bytes(data), capture_output=True)
    assert coded.returncode == 0, coded.stderr
    assert b"kbps" in coded.stderr  # the report goes where the data does not
    decoded = subprocess.run(command("decode", "-", "-", "-m", model), input=coded.stdout, capture_output=True)
    assert decoded.returncode == 0, decoded.stderr
    (tmp_path / "b.wav").write_bytes(decoded.stdout)
    with AudioReader(tmp_path / "b.wav") as reader:
        assert (reader.sample_rate, reader.channels) == (44100, 2)
        assert sum(block.shape[1] for block in reader) == 40000


def test_a_live_pipe_gives_audio_back_before_it_ends(model: str) -> None:
    child = subprocess.Popen(
        command("encode", "-q", "-", "-", "-m", model, "-l", "3"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    header = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data\xff\xff\xff\xff"
    noise = np.random.default_rng(0).integers(-9999, 9999, 16000, dtype="<i2").tobytes()
    child.stdin.write(header + noise)
    child.stdin.flush()
    received = b""
    while len(received) < 100 or len(received) < header_bytes(received) + 50:  # while the input is still open
        assert select.select([child.stdout], [], [], 100)[0], "nothing came"
        received += os.read(child.stdout.fileno(), 4096)
    child.stdin.close()
    assert child.wait(timeout=30) == 0
    child.stdout.close()


def test_a_terminal_gets_a_progress_bar_and_a_pipe_none(model: str, tmp_path: Path) -> None:
    source = str(wav(tmp_path / "a.wav", tone(160000)))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    arguments = command("encode", source, "-m", model, "-l", "3")
    result = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=100)
    os.close(theirs)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert result.returncode == 0, shown
    assert b"x real time" in shown
    assert result.stdout.count(b"\n") == 1


def limited(megabytes: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may not let any file grow beyond so much: it fails as on a full disk."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({int(megabytes * 1e6)},) * 2)\n"
        "from audiocodec.cli import main\n"
        f"sys.exit(main({list(arguments)!r}))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_a_full_disk_leaves_nothing(model: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (64000, 1))
    source = str(wav(tmp_path / "a.wav", noise))
    assert main(["encode", source, "-m", model, "-l", "3"]) == 0
    result = limited(0.03, "decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.wav"), "-m", model)
    assert (result.returncode, result.stdout) == (6, "")
    assert result.stderr.startswith(f"error: cannot write {tmp_path / 'b.wav'}: ")
    result = limited(0.0005, "encode", source, str(tmp_path / "b.vpc"), "-m", model, "-l", "17")
    assert result.returncode == 6, result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vpc", "a.wav"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_encoder_of_a_file_leaves_nothing(model: str, tmp_path: Path, number: int, code: int) -> None:
    """Streams are in test_endings: they end as whole as they would by themselves."""
    target, source = tmp_path / "out" / "a.vpc", tmp_path / "long.wav"
    target.parent.mkdir()
    wav(source, np.tile(tone(160_000), (360, 1)))
    child = subprocess.Popen(
        command("encode", str(source), str(target), "-m", model, "-l", "3"), stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list(target.parent.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(target.parent.iterdir())) == 1  # the temporary file
    child.send_signal(number)
    _, told = child.communicate(timeout=30)
    assert child.returncode == code, told
    assert b"Traceback" not in told
    assert list(target.parent.iterdir()) == []


def test_a_binary_is_not_written_to_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["encode", "-", "-"]) == 2


# Descriptions
