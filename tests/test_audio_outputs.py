"""Audio outputs that cannot be, or not whole: what is refused, what is left behind, what of a recording is kept."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import pytest
from audio_helpers import read, run_python, tone, write

from audiocodec.audio import AudioWriter
from audiocodec.audio.writer import _empty_flac, _Sink
from audiocodec.errors import OutputError
from audiocodec.output import OutputFile


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    target = tmp_path / "a.wav"
    target.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--force"):
        write(target, tone(10))
    assert target.read_bytes() == b"precious"
    write(target, tone(10), force=True)
    assert read(target).shape == (1, 10)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.bin"])
def test_a_failure_leaves_nothing_behind(tmp_path: Path, name: str) -> None:
    def fail() -> None:
        out = AudioWriter(tmp_path / name, 16000, 1) if name != "a.bin" else OutputFile(tmp_path / name)
        with out:
            out.write(tone(1000) if isinstance(out, AudioWriter) else b"abc")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def on_a_full_disk(room: int, arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Twenty seconds of noise go to an AudioWriter where files cannot grow beyond ``room`` bytes, as on a full disk."""
    return run_python(
        "import resource, signal, numpy as np\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from audiocodec.audio import AudioWriter\nfrom audiocodec.errors import OutputError\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "noise = np.random.default_rng(0).uniform(-1, 1, (1, 16000)).astype('f4')\n"
        "try:\n"
        f"    with AudioWriter({arguments}) as w:\n"
        "        for _ in range(20): w.write(noise)\n"
        "except OutputError as e: print('refused:', e)\n"
    )


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_full_disk_is_one_error_and_no_file(tmp_path: Path, name: str) -> None:
    result = on_a_full_disk(20000, f"{str(tmp_path / name)!r}, 16000, 1")
    assert result.stdout.startswith(b"refused: cannot write"), (result.stdout, result.stderr)
    assert result.stderr == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_U8"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.wav", "ULAW"), ("a.ogg", None), ("a.mp3", None)],
)
def test_a_recording_is_kept_as_far_as_there_was_room(tmp_path: Path, name: str, subtype: str | None) -> None:
    result = on_a_full_disk(20001, f"{str(tmp_path / name)!r}, 16000, 1, {subtype!r}, recording=True")
    assert result.stdout.strip().endswith(b"File too large; what came until then is kept in it"), result.stderr
    kept = read(tmp_path / name)
    assert kept.shape[1] > 4900
    if subtype in ("PCM_U8", "PCM_24", "FLOAT"):
        data = (tmp_path / name).read_bytes()
        assert int.from_bytes(data[4:8], "little") == len(data) - 8
        assert len(data) in (19998, 20000)
    if subtype in ("PCM_24", "FLOAT"):
        noise = np.random.default_rng(0).uniform(-1, 1, (1, 16000)).astype("f4")
        assert np.abs(kept - noise[:, : kept.shape[1]]).max() < 1e-6
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_behind_a_failure_nothing_is_written() -> None:
    """It would go wherever the failure left the file."""

    class Full:
        written: ClassVar[list[bytes]] = []

        def write(self, data: bytes) -> int:
            self.written.append(data)
            raise OutputError("full")

    sink = _Sink(cast("OutputFile", Full()))
    assert (sink.write(b"a"), sink.write(b"b")) == (0, 0)
    assert Full.written == [b"a"]
    with pytest.raises(OutputError, match="full"):
        sink.check()


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("a.wav", b""),
        ("a.wav", b"RIFF"),
        ("a.wav", bytes(80)),
        ("a.flac", b"fLaC"),
        ("a.raw", b""),
        ("a.flac", _empty_flac(16000, 1, 16)),
    ],
)
def test_with_room_for_no_sample_no_recording_is_kept(tmp_path: Path, name: str, there: bytes) -> None:
    def fail() -> None:
        with AudioWriter(tmp_path / name, 16000, 1, raw="s16le" if name == "a.raw" else None, recording=True):
            next(tmp_path.iterdir()).write_bytes(there)
            raise OutputError("no room")

    with pytest.raises(OutputError, match=r"no room$"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff"])
def test_with_no_room_at_all_no_recording_is_kept(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: OutputFile, data: bytes) -> int:
        raise OutputError("no room")

    monkeypatch.setattr(OutputFile, "write", fail)
    with pytest.raises(OutputError, match=r"no room$"):
        write(tmp_path / name, tone(1000), recording=True)
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_written_directly_and_never_replaced(tmp_path: Path) -> None:
    write("/dev/null", tone(1000))
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutputError, match="No space left"):
        write("/dev/full", tone(1000))


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    for target, words in {
        tmp_path / "missing" / "a.wav": "does not exist",
        tmp_path: "is a folder",
        tmp_path / "a.xyz": "names no audio format",
        tmp_path / "noextension": "names no audio format",
    }.items():
        with pytest.raises(OutputError, match=words):
            write(target, tone(10))
    with pytest.raises(OutputError, match="no subtype PCM_77"):
        write(tmp_path / "a.wav", tone(10), subtype="PCM_77")
    with pytest.raises(OutputError, match=r"cannot hold 44100 Hz.*write \.wav"):
        write(tmp_path / "a.opus", tone(10), 44100)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "real.wav", tone(10))
    (tmp_path / "link.wav").symlink_to(tmp_path / "folder" / "real.wav")
    write(tmp_path / "link.wav", tone(20), force=True)
    assert (tmp_path / "link.wav").is_symlink()
    assert read(tmp_path / "folder" / "real.wav").shape == (1, 20)
