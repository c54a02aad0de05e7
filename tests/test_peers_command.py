"""Any codec as a pair of commands: run without a shell, ended when it takes too long, absent when it is not there."""

from __future__ import annotations

import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiocodec.config import parse
from audiocodec.errors import AudioError, ConfigError
from audiocodec.evaluate.peers import CommandPeer, command_systems
from audiocodec.evaluate.peers.command import fill
from tests.conftest import speech_like

COPY = f"{sys.executable} -c 'import shutil, sys; shutil.copy(*sys.argv[1:3])' {{input}} {{output}}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a recording; $(touch no).wav"
    soundfile.write(path, speech_like(1.0, 22_050), 22_050)
    return path


def peer(**changes: object) -> CommandPeer:
    return parse(CommandPeer, {"name": "copy", "encode": COPY, "decode": COPY, **changes}, "recipe.yaml")


def run(folder: Path, source: Path, **changes: object):
    (system,), absent = command_systems([peer(**changes)])
    assert absent == {}
    return pickle.loads(pickle.dumps(system)).run(source, folder)


def test_a_pair_of_commands_codes_through_paths_with_spaces(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "work folder {rate}"
    folder.mkdir()
    coded = run(folder, source, sample_rate=8_000, header_bytes=44, rate=12, suffix=".wave")
    assert (coded.sample_rate, len(coded.samples)) == (8_000, 8_000)
    assert coded.file_bytes == 44 + 2 * 8_000
    assert coded.payload_bytes == 2 * 8_000
    assert (coded.delay_s, coded.max_delay_s) == (None, 0.1)
    assert np.abs(coded.samples).max() > 0.05
    assert (folder / "command.wave").exists()
    assert not list(tmp_path.rglob("no"))
    assert coded.encode_seconds > 0.0


def test_rate_and_setting_reach_the_commands_and_the_tables() -> None:
    values = {"input": "/a b/{rate}", "rate": "9", "output": "o"}
    assert fill("tool -r{rate} '{input}' {output} {print}", values) == ["tool", "-r9", "/a b/{rate}", "o", "{print}"]
    (first, second), _ = command_systems([peer(rate=9.5), peer(rate=9.5, setting="fast")])
    assert (first.codec, first.setting, second.setting) == ("copy", "9.5", "fast")
    assert first.identity()["encode"] == COPY
    assert len(first.identity()["encoder"]) == 16
    assert first.identity() != command_systems([peer(rate=8)])[0][0].identity()


def test_a_pipeline_is_a_shell_of_its_own(tmp_path: Path, source: Path) -> None:
    coded = run(tmp_path, source, encode="""sh -c 'cat "$1" | cat > "$2"' sh {input} {output}""")
    assert len(coded.samples) == 16_000


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("sh -c 'echo one >&2; echo the codec is upset >&2; exit 3' {input} {output}", "status 3: the codec is upset"),
        ("sh -c 'exit 1' {input} {output}", "status 1: it said nothing"),
        ("sh -c 'kill -9 $$' {input} {output}", "failed with exit status -9"),
        ("true {input} {output}", "wrote no command.bin"),
        ("sh -c 'printf rubbish > \"$1\"' sh {output} {input}", "cannot be read as audio"),
    ],
)
def test_a_failing_command_is_told_in_one_line(command: str, said: str, tmp_path: Path, source: Path) -> None:
    for key in ("encode", "decode"):
        if (key, said) == ("encode", "cannot be read as audio"):
            continue  # the copying decoder passes the rubbish on: the same message
        with pytest.raises(AudioError) as error:
            run(tmp_path, source, **{key: command})
        expected = said.replace("command.bin", "decoded.wav") if key == "decode" else said
        assert expected in str(error.value)
        assert "\n" not in str(error.value)


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path, source: Path) -> None:
    pids = tmp_path / "pids"
    command = f"""sh -c 'sleep 60 & echo $! > {pids}; sleep 60' {{input}} {{output}}"""
    start = time.monotonic()
    with pytest.raises(AudioError, match=r"stopped after 0\.5 s; raise its timeout_s"):
        run(tmp_path, source, encode=command, timeout_s=0.5)
    assert time.monotonic() - start < 10
    stat = Path(f"/proc/{pids.read_text().strip()}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":  # gone, or waiting to be reaped
        assert time.monotonic() - start < 10
        time.sleep(0.01)


def test_a_program_that_is_not_there_makes_a_codec_absent(tmp_path: Path) -> None:
    systems, absent = command_systems(
        [peer(), peer(name="other", rate=6, decode="no-such-decoder {input} {output}"), peer(name="third")]
    )
    assert [system.codec for system in systems] == ["copy", "third"]
    assert absent == {"other 6": "no-such-decoder not found on PATH; install it, or correct the command"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encode": "tool {input}"}, "{output}"),
        ({"decode": "tool 'in {input} {output}"}, "No closing quotation"),
        ({"decode": "{input} {output}"}, "{input}"),
        ({"suffix": "../x"}, "suffix"),
        ({"timeout": 3}, "did you mean 'timeout_s'"),
        ({"name": ""}, "name"),
    ],
)
def test_commands_that_cannot_work_are_refused_when_read(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        peer(**changes)
    assert said in str(error.value)
