"""A full disk: a clear error, nothing half under the output's name, and a recording kept as far as it went."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speech_like
from test_pipes import MODEL, RAW, command, integers, through

from audiocodec import Codec, StreamEncoder
from audiocodec.cli import main
from audiocodec.describe import describe_file
from audiocodec.errors import OutputError
from audiocodec.output import OutputFile
from audiocodec.salvage import finish

ROOM_BYTES = 4000


def in_little_room(*arguments: str, data: bytes = b"", code: int = OutputError.exit_code) -> str:
    """What a command tells that may write no file of more than ROOM_BYTES: what a full disk does, by its own means."""

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, ROOM_BYTES))

    done = subprocess.run(command(*arguments), input=data, capture_output=True, timeout=100, preexec_fn=limit)
    assert done.returncode == code, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stderr.decode()


def test_a_recording_is_kept_as_far_as_there_was_room(tmp_path: Path) -> None:
    target = tmp_path / "talk.vpc"
    data = integers(speech_like(60.0))
    told = in_little_room("encode", "-", str(target), *MODEL, *RAW, data=data)
    assert f"cannot write {target}" in told
    assert "what came until then is kept" in told
    assert [path.name for path in tmp_path.iterdir()] == ["talk.vpc"]
    facts = describe_file(target)
    assert facts["damaged_places"] == 0
    assert ROOM_BYTES / 2 < facts["bytes"] <= ROOM_BYTES
    assert main(["decode", str(target), str(tmp_path / "back.wav")]) == 0
    assert soundfile.info(tmp_path / "back.wav").frames == facts["samples"]
    (tmp_path / "first.raw").write_bytes(data[: 2 * facts["samples"]])
    assert main(["encode", str(tmp_path / "first.raw"), str(tmp_path / "first.vpc"), *MODEL, *RAW]) == 0
    assert main(["decode", str(tmp_path / "first.vpc"), str(tmp_path / "first.wav")]) == 0
    ours, theirs = (soundfile.read(tmp_path / name)[0] for name in ("back.wav", "first.wav"))
    np.testing.assert_allclose(ours[:-1000], theirs[:-1000], atol=1e-3)  # the end is another: there sound went on


def test_what_is_decoded_from_a_pipe_is_kept_as_far_as_there_was_room(tmp_path: Path) -> None:
    coded, _ = through(integers(speech_like(2.0)), "encode", "-", "-", *MODEL, *RAW)
    whole, _ = through(coded, "decode", "-", "-", "--format", "s16le")
    for name, options, header in (("a.wav", (), 80), ("a.raw", ("--format", "s16le"), 0)):
        told = in_little_room("decode", "-", str(tmp_path / name), *options, data=coded)
        assert f"cannot write {tmp_path / name}" in told
        assert "what came until then is kept" in told
        data = (tmp_path / name).read_bytes()
        assert len(data) == ROOM_BYTES
        assert whole.startswith(data[header:])
    assert soundfile.info(tmp_path / "a.wav").frames == (ROOM_BYTES - 80) / 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.raw", "a.wav"]


def test_with_no_room_for_a_packet_nothing_is_kept(tiny_codec: Codec, tmp_path: Path) -> None:
    def fail(data: bytes) -> None:
        with OutputFile(tmp_path / "a.vpc") as out:
            out.rescue = finish
            out.write(data)
            raise OutputError("no room")

    header = StreamEncoder(tiny_codec, tiny_codec.rates[0]).header
    for data in (b"", b"no such thing", header.pack()):
        with pytest.raises(OutputError, match=r"no room$"):
            fail(data)
    assert list(tmp_path.iterdir()) == []


def test_of_files_nothing_half_is_left(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", speech_like(60.0), 16000)
    before = (tmp_path / "in.wav").read_bytes()
    told = in_little_room("encode", str(tmp_path / "in.wav"), str(tmp_path / "out.vpc"), *MODEL)
    assert f"cannot write {tmp_path / 'out.vpc'}" in told
    assert "kept" not in told
    assert main(["encode", str(tmp_path / "in.wav"), str(tmp_path / "in.vpc"), *MODEL]) == 0
    for suffix in (".wav", ".flac", ".ogg", ".raw"):
        options = ("--format", "s16le") if suffix == ".raw" else ()
        told = in_little_room("decode", str(tmp_path / "in.vpc"), str(tmp_path / f"out{suffix}"), *options)
        assert f"cannot write {tmp_path / f'out{suffix}'}" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.vpc", "in.wav"]
    assert (tmp_path / "in.wav").read_bytes() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_device_is_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", speech_like(1.0), 16000)
    assert main(["encode", str(tmp_path / "in.wav"), str(tmp_path / "in.vpc"), *MODEL]) == 0
    with open("/dev/full", "wb") as full:
        for arguments in (("encode", str(tmp_path / "in.wav"), "-", *MODEL), ("decode", str(tmp_path / "in.vpc"), "-")):
            done = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, timeout=100)
            assert done.returncode == OutputError.exit_code
            assert b"cannot write standard output: No space left on device" in done.stderr
