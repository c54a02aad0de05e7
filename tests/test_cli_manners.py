"""The command line's manners: light to start, one line for an error, an exit code for each kind, tidy at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audiocodec import errors
from audiocodec.cli import app as tree
from audiocodec.cli import main
from audiocodec.cli.places import audio_in, plan
from audiocodec.cli.transcoding import size
from audiocodec.output import OutputFile

HEAVY = ("pydantic", "torch", "numpy", "soundfile", "soxr", "yaml", "safetensors", "scipy", "rich", "audiocodec.config")


def test_help_and_the_package_import_nothing_heavy() -> None:
    code = (
        "import sys, audiocodec, audiocodec.errors, audiocodec.output\n"
        "from audiocodec.cli import main\n"
        "assert main(['--help']) == 0 and main(['encode', '--help']) == 0\n"
        f"found = [m for m in {HEAVY} if m in sys.modules]\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "Exit codes" in result.stdout


def commands() -> list[list[str]]:
    import typer.main

    tree.register([])
    root = typer.main.get_command(tree.app)
    found = []
    for name, item in root.commands.items():  # type: ignore[attr-defined]
        children = getattr(item, "commands", None)
        found += [[name, child] for child in children] if children else [[name]]
    return found


def test_the_commands_are_these() -> None:
    names = [" ".join(c) for c in commands()]
    assert sorted(names) == [
        "blind",
        "call",
        "codebook",
        "compare",
        "data pack",
        "decode",
        "demo",
        "doctor",
        "encode",
        "evaluate",
        "export",
        "info",
        "models",
        "score",
        "train",
    ]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"audiocodec {' '.join(words)}" in text.split("Example", 1)[1]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import audiocodec

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"audiocodec {audiocodec.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["encode"], ["encode", "--nonsense", "a.wav"], ["encode", "a.wav", "--bitrate", "x"], ["data", "x"]],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "--help" in captured.err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make ``audiocodec models`` raise what it is given."""

    def install(error: BaseException) -> None:
        def fail() -> None:
            raise error

        import audiocodec.describe

        monkeypatch.setattr(audiocodec.describe, "describe_models", fail)

    return install


ENDINGS: list[tuple[BaseException, int, str]] = [
    (errors.UsageError("u"), 2, "error: u"),
    (errors.BitstreamError("b", 77), 3, "error: b (at byte 77)"),
    (errors.AudioError("two\nlines"), 4, "error: two lines"),
    (errors.ModelError("m"), 5, "error: m"),
    (errors.OutputError("o"), 6, "error: o"),
    (errors.ConfigError("c"), 7, "error: c"),
    (errors.DataError("d"), 8, "error: d"),
    (errors.MissingExtraError("x"), 9, "error: x"),
    (PermissionError(13, "Permission denied", "/some/file"), 1, "refused /some/file: Permission denied"),
    (OSError(28, "No space left on device"), 1, "No space left on device"),
    (KeyboardInterrupt(), 130, ""),
    (ZeroDivisionError("oops"), 70, "ZeroDivisionError: oops"),
]


@pytest.mark.parametrize(("error", "code", "words"), ENDINGS, ids=[type(e[0]).__name__ for e in ENDINGS])
def test_every_exception_ends_in_one_line_and_its_exit_code(
    error: BaseException,
    code: int,
    words: str,
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert main(["models"]) == code
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == (1 if words else 0)


def test_every_documented_error_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.AudiocodecError)]
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(kinds)
    main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for code in codes:
        assert f" {code} " in text


def test_debug_shows_where(failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]) -> None:
    failing(ZeroDivisionError("oops"))
    assert main(["--debug", "models"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_pipe_that_closes_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = subprocess.run(
        [sys.executable, "-m", "audiocodec", "--help"], stdout=write_end, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write_end)
    assert result.returncode == 141
    assert result.stderr == b""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_leaves_no_partial_output(tmp_path: Path, name: str, code: int) -> None:
    body = (
        "import sys, time, typer\n"
        "from audiocodec.cli.app import app\nfrom audiocodec.cli import main\n"
        "from audiocodec.output import OutputFile\n"
        "@app.command()\n"
        "def wait():\n"
        f"    with OutputFile({str(tmp_path / 'out.vpc')!r}) as f:\n"
        "        f.write(b'half'); f.flush(); print('ready', flush=True); time.sleep(60)\n"
        "sys.exit(main(['wait']))"
    )
    child = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    assert len(list(tmp_path.iterdir())) == 1
    child.send_signal(getattr(signal, name))
    _, told = child.communicate(timeout=30)
    assert child.returncode == code, told
    assert list(tmp_path.iterdir()) == []
    assert b"Traceback" not in told


def test_inputs_and_outputs_are_told_apart() -> None:
    assert plan(["a/b.wav"], None, ".vpc", audio_in) == [("a/b.wav", "a/b.vpc")]
    assert plan(["a.wav", "b.vpc"], None, ".vpc", audio_in) == [("a.wav", "b.vpc")]
    assert plan(["-"], None, ".vpc", audio_in) == [("-", "-")]
    assert plan(["x/a.wav", "y/b.flac"], "out", ".vpc", audio_in) == [
        ("x/a.wav", "out/a.vpc"),
        ("y/b.flac", "out/b.vpc"),
    ]
    with pytest.raises(errors.UsageError, match="--out-dir"):
        plan(["a", "b", "c"], None, ".vpc", audio_in)
    with pytest.raises(errors.UsageError, match="would both become"):
        plan(["x/a.wav", "y/a.flac"], "out", ".vpc", audio_in)
    with pytest.raises(errors.UsageError, match="standard input"):
        plan(["-"], "out", ".vpc", audio_in)


def test_sizes_for_people() -> None:
    assert [size(n) for n in (0, 999, 1000, 999_999, 12_345_678)] == ["0 B", "999 B", "1.0 kB", "1000.0 kB", "12.3 MB"]


def test_two_recordings_are_not_input_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.wav").write_bytes(b"precious")
    assert main(["encode", "--force", str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]) == 2
    assert "--out-dir" in capsys.readouterr().err
    assert (tmp_path / "b.wav").read_bytes() == b"precious"
    assert main(["decode", str(tmp_path / "a.vpc"), str(tmp_path / "b.vpc")]) == 2


def test_outputs_are_refused_before_a_model_is_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    (tmp_path / "a.vpc").write_bytes(b"x")
    no_model = ["--model", str(tmp_path / "nowhere")]
    assert main(["encode", str(tmp_path / "a.wav"), *no_model]) == 6
    assert "--force" in capsys.readouterr().err
    assert main(["encode", str(tmp_path / "a.wav"), str(tmp_path / "no" / "a.vpc"), *no_model]) == 6
    assert "does not exist" in capsys.readouterr().err


def test_a_signal_as_the_output_is_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fdopen", interrupted)
    with pytest.raises(KeyboardInterrupt), OutputFile(tmp_path / "a.vpc"):
        pass
    assert list(tmp_path.iterdir()) == []
