"""Several files by ``encode`` and ``decode``: folders, processes side by side, and what is told of them."""

# ruff: noqa: F811 (arguments that are named as the fixtures imported)

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from coding_helpers import codec, model, tone, wav  # noqa: F401 (fixtures among them)

from audiocodec.cli import jobs, main
from audiocodec.cli.loading import Placing
from audiocodec.cli.places import audio_in, check_jobs, coded_in, plan
from audiocodec.cli.works import Decoding, Encoding
from audiocodec.errors import AudioError, DataError, OutputError, UsageError


def recordings(folder: Path) -> Path:
    """Three files that can be encoded and one that cannot, in folders."""
    (folder / "sub" / "deep").mkdir(parents=True)
    wav(folder / "a.wav", tone(50_000))
    (folder / "b.wav").write_text("no audio")
    wav(folder / "sub" / "a.flac", tone(3_000, 2, 44100), 44100)
    wav(folder / "sub" / "deep" / "c.wav", tone(2_000))
    (folder / "sub" / "notes.txt").write_text("no audio either")
    (folder / ".hidden.wav").write_text("nor this")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def without_speed(text: str) -> str:
    return re.sub(r"\d+x real", "x real", text)


def test_side_by_side_is_as_one_by_one(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = recordings(tmp_path / "in")
    told = []
    for count in ("1", "2"):
        out = tmp_path / "out"
        assert main(["encode", str(source), "-d", str(out), "-m", model, "-l", "3", "--jobs", count]) == 4
        back = tmp_path / "back"
        assert main(["decode", str(out), "-d", str(back), "-m", model, "-j", count]) == 0
        told.append((contents(out), contents(back), without_speed(str(capsys.readouterr()))))
        out.rename(tmp_path / f"out{count}")
        back.rename(tmp_path / f"back{count}")
    assert told[0] == told[1]
    assert list(told[0][0]) == ["a.vpc", "sub/a.vpc", "sub/deep/c.vpc"]
    assert list(told[0][1]) == ["a.wav", "sub/a.wav", "sub/deep/c.wav"]
    assert "error: 1 of 4 files failed" in told[0][2]


def test_what_is_wrong_with_all_is_one_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = recordings(tmp_path / "in")
    for options, code in ((["-m", str(tmp_path / "nowhere")], 5), (["-m", model, "-l", "4"], 2)):
        assert main(["encode", str(source), "-d", str(tmp_path / "out"), "-j", "2", *options]) == code
        told = capsys.readouterr()
        assert told.err.count("\n") == 1
        assert told.out == ""
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_in_the_midst_it_leaves_nothing(model: str, tmp_path: Path, number: int, code: int) -> None:
    for name in "ab":
        wav(tmp_path / f"{name}.wav", tone(16000 * 600))
    out = tmp_path / "out"
    arguments = ["encode", str(tmp_path), "-d", str(out), "-m", model, "-l", "17", "-j", "2"]
    child = subprocess.Popen(
        [sys.executable, "-m", "audiocodec", *arguments], stderr=subprocess.PIPE, start_new_session=True
    )
    end = time.monotonic() + 60
    while len(contents(out)) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    assert all(name.endswith(".part") for name in contents(out))
    os.killpg(child.pid, number)  # as a terminal sends Ctrl-C
    _, told = child.communicate(timeout=30)
    assert (child.returncode, told) == (code, b"")
    assert contents(out) == {}


def test_a_terminal_has_one_bar_for_all(model: str, tmp_path: Path) -> None:
    for name in "abc":
        wav(tmp_path / f"{name}.wav", tone(320_000))
    arguments = ["encode", str(tmp_path), "-d", str(tmp_path / "out"), "-m", model, "-l", "3", "-j", "2"]
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "audiocodec", *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while more := os.read(ours, 65536):
            shown += more
    os.close(ours)
    told = child.communicate(timeout=30)[0].splitlines()
    assert child.returncode == 0, shown
    assert b"0/3 files" in shown
    assert b"x real time" in shown
    assert [line.split(b" -> ")[0][-5:] for line in told] == [b"a.wav", b"b.wav", b"c.wav"]


def test_batches_are_files_too(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, back = recordings(tmp_path / "in"), tmp_path / "out", tmp_path / "back"
    assert main(["encode", str(source), "-d", str(out), "-m", model, "-l", "3", "--batch", "2"]) == 4
    assert list(contents(out)) == ["a.vpc", "sub/a.vpc", "sub/deep/c.vpc"]
    told = capsys.readouterr()
    assert [line.split(" -> ")[0][-5:] for line in told.out.splitlines()] == ["a.wav", ".flac", "c.wav"]
    assert "1 of 4 files failed" in told.err
    assert main(["decode", str(out), "-d", str(back), "-m", model, "--batch", "2"]) == 0
    assert list(contents(back)) == ["a.wav", "sub/a.wav", "sub/deep/c.wav"]
    nothing = ["encode", str(source), "-d", str(tmp_path / "none"), "-m", model]
    assert main([*nothing, "--batch", "2", "--runtime", "onnx"]) == 2
    capsys.readouterr()
    assert main([*nothing, "--device", "nonsense"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# What is planned


def test_a_folder_stands_for_what_is_in_it(tmp_path: Path) -> None:
    source, out = recordings(tmp_path / "in"), tmp_path / "out"
    pairs = plan([str(source)], str(out), ".vpc", audio_in)
    assert [Path(target).relative_to(out).as_posix() for _, target in pairs] == [
        "a.vpc",
        "b.vpc",
        "sub/a.vpc",
        "sub/deep/c.vpc",
    ]
    with pytest.raises(UsageError, match="would both become"):
        plan([str(source), str(source / "a.wav")], str(out), ".vpc", audio_in)
    with pytest.raises(AudioError, match="--out-dir"):
        plan([str(source)], None, ".vpc", audio_in)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio"):
        plan([str(tmp_path / "empty")], str(out), ".vpc", audio_in)
    with pytest.raises(DataError, match=r"no \.vpc"):
        plan([str(source)], str(out), ".wav", coded_in)


def test_folders_are_made_once_nothing_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    wav(tmp_path / "a.wav", tone(10))
    pairs = [(str(tmp_path / "a.wav"), str(out / "a.vpc")), ("b/a.wav", str(out / "b" / "a.vpc"))]
    check_jobs(pairs, False, str(out))
    assert (out / "b").is_dir()
    (out / "a.vpc").touch()
    with pytest.raises(OutputError, match="--force"):
        check_jobs([*pairs, ("c", str(out / "c" / "a.vpc"))], False, str(out))
    assert not (out / "c").exists()
    far = tmp_path / "no" / "out"
    with pytest.raises(OutputError, match="does not exist"):
        check_jobs([("a.wav", str(far / "a.vpc"))], False, str(far))


# When processes pay


@pytest.mark.parametrize(
    ("cores", "lengths", "count"),
    [(1, [999] * 9, 1), (4, [999], 1), (4, [20, 20, 20], 1), (4, [70, 70], 2), (4, [20] * 9, 3), (4, [999] * 9, 4)],
)
def test_as_many_processes_as_pay(monkeypatch: pytest.MonkeyPatch, cores: int, lengths: list[int], count: int) -> None:
    monkeypatch.setattr(jobs, "usable_cores", lambda: cores)

    class Work:
        placing = Placing()

        def __call__(self, load: object = None) -> None: ...

        def seconds(self, source: str) -> float:
            return float(source)

    assert jobs._worthwhile([(str(length), "") for length in lengths], Work()) == count


def test_lengths_are_those_that_headers_state(model: str, tmp_path: Path) -> None:
    source = wav(tmp_path / "a.wav", tone(40_000))
    encoding = Encoding("auto", None, None, "range", "auto", False, Placing(), True)
    assert encoding.seconds(str(source)) == 2.5
    assert main(["encode", "-q", str(source), "-m", model, "-l", "3"]) == 0
    assert Decoding(None, None, False, Placing()).seconds(str(tmp_path / "a.vpc")) == 2.5
    (tmp_path / "bad").write_text("nothing")
    os.mkfifo(tmp_path / "pipe")
    for name in ("bad", "none", "pipe"):
        assert encoding.seconds(str(tmp_path / name)) == 0
        assert Decoding(None, None, False, Placing()).seconds(str(tmp_path / name)) == 0
