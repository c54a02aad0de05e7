"""Programs started without standard input, output or error: what needs none of them works, and ``-`` is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from coding_helpers import wav
from conftest import speech_like
from test_pipes import MODEL, command, through

from audiocodec.cli import main

pytestmark = pytest.mark.skipif(os.name == "nt", reason="descriptors of POSIX")


def without(
    *closed: int, arguments: tuple[str, ...], data: bytes = b"", code: int = 0, program: Callable = command
) -> tuple[bytes, str]:
    """Standard output and error, as far as it has them, of a command that is started without these descriptors."""

    def close() -> None:
        for number in closed:
            os.close(number)

    done = subprocess.run(program(*arguments), input=data, capture_output=True, timeout=100, preexec_fn=close)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr.decode()


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    wav(tmp_path / "a.wav", speech_like(1.0))
    assert main(["encode", str(tmp_path / "a.wav"), *MODEL]) == 0
    return tmp_path / "a.vpc"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_files_are_coded_without_them(closed: tuple[int, ...], coded: Path, tmp_path: Path) -> None:
    without(*closed, arguments=("encode", str(tmp_path / "a.wav"), str(tmp_path / "b.vpc"), *MODEL))
    assert (tmp_path / "b.vpc").read_bytes() == coded.read_bytes()
    without(*closed, arguments=("decode", str(coded), str(tmp_path / "b.wav")))
    assert soundfile.info(tmp_path / "b.wav").frames == 16000


def test_no_file_is_opened_in_their_place() -> None:
    """What a library prints, to a number rather than by Python, would go into it."""
    opens = "import os; from audiocodec.stdio import fill_in; fill_in(); os._exit(os.open(os.devnull, os.O_RDONLY) < 3)"
    assert without(0, 1, 2, arguments=("-c", opens), program=lambda *words: [sys.executable, *words]) == (b"", "")


def test_a_program_without_them_writes_files(tmp_path: Path) -> None:
    writes = (
        f"from audiocodec.output import OutputFile\nwith OutputFile({str(tmp_path / 'a')!r}) as out: out.write(b'x')"
    )
    without(0, 1, arguments=("-c", writes), program=lambda *words: [sys.executable, *words])
    assert (tmp_path / "a").read_bytes() == b"x"


def test_what_has_only_to_tell_is_no_fault(coded: Path) -> None:
    for arguments in (("--version",), ("models",), ("info", str(coded))):
        assert without(1, arguments=arguments) == (b"", "")


@pytest.mark.parametrize(
    ("number", "arguments"),
    [(0, ("encode", "-", "{}/b.vpc", *MODEL)), (0, ("decode", "-", "{}/b.wav")), (1, ("encode", "{}/a.wav", "-")),
     (1, ("decode", "{}/a.vpc", "-"))],
)  # fmt: skip
def test_what_is_closed_cannot_be_asked_for(number: int, arguments: tuple[str, ...], coded: Path, tmp_path) -> None:
    _, told = without(number, arguments=tuple(word.format(tmp_path) for word in arguments), code=2)
    assert told.startswith(f"error: standard {('input', 'output')[number]} is closed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.vpc", "a.wav"]


def test_without_standard_error_what_is_told_is_not_among_the_data(coded: Path, tmp_path: Path) -> None:
    data = (tmp_path / "a.wav").read_bytes()
    piped, _ = through(data, "encode", "-", "-", *MODEL)
    assert without(2, arguments=("encode", "-", "-", *MODEL), data=data)[0] == piped
